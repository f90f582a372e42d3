"""The real service under a wall clock that is moved while it runs: `python -m regtest.shifted_service FILE ARGUMENTS`.

FILE holds the nanoseconds to add. What measures durations (`time.monotonic`) goes on as ever, as it does on a machine
whose clock is set.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path
from typing import Any

from regtest.child_process import ChildProcess
from regtest.command_line import ROOT, clean_environment
from regtest.service import RunningService

_SECOND = 1_000_000_000


class ShiftedService(RunningService):
    """A service whose clock is set by `shift`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._shift = self.folder / "shift"
        self.shift(0)

    def shift(self, seconds: float) -> None:
        """Its clock is the machine's plus this, from now on."""
        new = self._shift.with_suffix(".new")
        new.write_text(str(int(seconds * _SECOND)))
        new.replace(self._shift)

    def _spawn(self) -> ChildProcess:
        serve = [str(ROOT / "main.py"), "serve", "--config", str(self.config)]
        return ChildProcess(
            [sys.executable, "-m", "regtest.shifted_service", str(self._shift), *serve],
            log_file=self.log_file,
            environment=clean_environment(),
            folder=ROOT,
            remove_on_orphan=self.remove_on_orphan,
        )


def _run(shift: Path, program: str) -> None:
    real = time.time_ns

    def shifted() -> int:
        return real() + int(shift.read_text())

    time.time_ns = shifted
    time.time = lambda: shifted() / _SECOND
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    file, *sys.argv = sys.argv[1:]
    _run(Path(file), sys.argv[0])
