"""The signer's time: it never goes back, so that setting the clock does not empty the daily cap."""

from __future__ import annotations

import time
from collections.abc import Callable


def wall_ms() -> int:
    """Milliseconds UTC, as the machine's clock has it."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """Milliseconds since some moment; goes on while the machine sleeps (Linux) and cannot be set."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


class SigningClock:
    """Begins at the wall clock, or at the journal's newest time where the wall clock is behind it, and then counts.

    While the signer runs the wall clock may be set to what it likes: nothing moves but by real time.
    """

    def __init__(
        self, newest_ms: int, *, wall: Callable[[], int] = wall_ms, steady: Callable[[], int] = steady_ms
    ) -> None:
        self._began = max(wall(), newest_ms)
        self._steady, self._zero = steady, steady()

    def __call__(self) -> int:
        """Milliseconds UTC, never less than before."""
        return self._began + self._steady() - self._zero
