"""The folder of a demo. Nothing stays behind, whichever way a demo ends.

A demo that ends removes its folder; one that is killed leaves that to the guard of its node; and what
was left when all of them went at once (a power cut) the next demo removes. It knows the living by a
lock on the folder itself, which the kernel lets go with the process that holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "nodetill-demo-"


@contextlib.contextmanager
def demo_folder() -> Iterator[Path]:
    """A new empty folder for one demo, removed at the end; those of dead demos are removed before."""
    _remove_left_behind()
    path, lock = _locked_folder()
    try:
        yield path
    finally:
        shutil.rmtree(path)
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # A demo that starts beside us may take it for a dead one's before we have the lock: then again.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path, lock
            os.close(lock)


def _remove_left_behind() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another user's cannot be opened, one that has just gone neither, and a living one is locked.
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
