"""A lock that ends with its process, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_STEP_SECONDS = 0.05


class Held(Exception):
    """Another process has the lock."""


class FileLock:
    """Held from its making until `release`. The file is left there: removing it would let two hold one lock."""

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        """Wait up to `patience` seconds, for a process that is just ending. Raises `Held`, or `OSError`."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        end = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= end:
                    os.close(self._descriptor)
                    raise Held(str(path)) from None
                time.sleep(_STEP_SECONDS)

    def release(self) -> None:
        os.close(self._descriptor)
