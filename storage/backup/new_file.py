"""A file that is there whole or not at all, and replaces nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""What file systems without hard links (a memory stick) say."""


def put_in_place(beside: Path, path: Path) -> None:
    """Give the finished file `beside`, in the same folder, the name `path`, durably. Raises `FileExistsError`
    where something has it, be it a broken link, and other `OSError`."""
    _sync(beside)
    try:
        os.link(beside, path)  # which never replaces anything
        beside.unlink()
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        beside.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
