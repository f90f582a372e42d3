"""What a process with secrets in its memory does first."""

from __future__ import annotations

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def no_core_dumps() -> None:
    """A crash must not write the memory to the disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def not_for_debuggers() -> None:
    """Other processes of the same user may neither trace this one nor read its memory (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
