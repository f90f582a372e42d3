"""A file that one process at a time holds; the kernel frees it however that process ends."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO


class HeldByAnother(Exception):
    """Another process holds the file. The text is that process's number, or empty."""


class LockFile:
    """`take()` once, `release()` leaves no file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: IO[str] | None = None

    @property
    def held(self) -> bool:
        return self._held is not None

    def take(self) -> None:
        """Raises `HeldByAnother`, and `OSError` when the file cannot be made."""
        while True:
            held = self.path.open("a+", encoding="ascii")
            try:
                self._lock(held)
                if self._is_ours(held):
                    break
            except BaseException:
                held.close()
                raise
            held.close()  # its last holder removed it between our opening it and our locking it
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        self._held = held

    def _lock(self, held: IO[str]) -> None:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.seek(0)
            raise HeldByAnother(held.read().strip()) from None

    def _is_ours(self, held: IO[str]) -> bool:
        try:
            return os.path.samestat(os.fstat(held.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove the file, while it is still ours, and free it. Without effect when it is not held."""
        if self._held is not None:
            with suppress(OSError):
                self.path.unlink()
            self._held.close()
            self._held = None
