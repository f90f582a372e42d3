"""How far a command is, for whoever waits for it more than a second."""

from __future__ import annotations

import sys
import time

_QUIET_SECONDS, _EVERY_SECONDS = 1.0, 0.5


class Progress:
    """One line on standard error that moves, once it takes more than a second; a new line each where there is
    no terminal."""

    def __init__(self) -> None:
        self._told_at = time.monotonic() + _QUIET_SECONDS - _EVERY_SECONDS
        self._terminal = sys.stderr.isatty()
        self._open = False

    def step(self, what: str, done: int, of: int) -> None:
        if time.monotonic() >= self._told_at + _EVERY_SECONDS:
            self._tell(f"Reading {what}: {done} of {of}")

    def say(self, sentence: str) -> None:
        self._tell(f"{sentence} …")

    def _tell(self, text: str) -> None:
        self._told_at = time.monotonic() + (0.0 if self._terminal else 4 * _EVERY_SECONDS)
        self._open = self._terminal
        print(
            f"\r\033[K{text}" if self._terminal else text, end="" if self._open else "\n", file=sys.stderr, flush=True
        )

    def end(self) -> None:
        if self._open:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
