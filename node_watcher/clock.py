"""The wall clock, read in this one place of the package."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Where a part takes the time from: milliseconds since the epoch, UTC. `now_ms`, but where time is simulated."""


def now_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000
