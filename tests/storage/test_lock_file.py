"""One holder at a time, and nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import pytest

from storage.lock_file import HeldByAnother, LockFile


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "till.db.lock"
    first, second = LockFile(path), LockFile(path)
    first.take()
    with pytest.raises(HeldByAnother, match=str(os.getpid())):
        second.take()
    first.release()
    assert not path.exists()
    second.take()
    with pytest.raises(HeldByAnother):
        first.take()
    first.release()  # it holds nothing, and takes nothing away
    assert path.exists()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_dead_holder_s_file_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "till.db.lock"
    path.write_text("4242")
    lock = LockFile(path)
    lock.take()
    assert path.read_text() == str(os.getpid())
    lock.release()


def test_a_file_that_was_removed_meanwhile_is_not_held(tmp_path: Path) -> None:
    """Between our opening and our locking its holder leaves, and a newcomer takes the place with a new file."""
    path = tmp_path / "till.db.lock"
    holder, newcomer = LockFile(path), LockFile(path)
    holder.take()

    class Slow(LockFile):
        def _lock(self, held: IO[str]) -> None:
            if not newcomer.held:
                holder.release()
                newcomer.take()
            super()._lock(held)

    with pytest.raises(HeldByAnother):
        Slow(path).take()
    newcomer.release()
    assert list(tmp_path.iterdir()) == []
