"""The real service, killed by itself at a named point: one life after another, on the same database."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from regtest.command_line import ROOT, clean_environment
from regtest.crash_points import Armed
from regtest.service import RunningService

__all__ = ["Armed", "CrashingService", "Nursery"]


class Life:
    """One process of the service, from its birth to its end: a `regtest.child_server.Process`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery, self.pid = nursery, pid
        self._ended: int | None = None

    @property
    def exit_code(self) -> int | None:
        if self._ended is None:
            self._ended = self._nursery.ask("wait")
        return self._ended

    @property
    def running(self) -> bool:
        return self.exit_code is None

    def send(self, what: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, what)

    def stop(self, timeout: float = 30.0) -> None:
        self.send(signal.SIGTERM)
        end = time.monotonic() + timeout
        while self.running and time.monotonic() < end:
            time.sleep(0.01)
        self.kill()

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        while self.running:
            time.sleep(0.005)


class Nursery:
    """The process that has loaded the service once and forks it (`crash_nursery.py`). It ends with us."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "regtest.crash_nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=clean_environment(),
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait(30)

    def ask(self, command: object) -> Any:
        """One command, and its answer."""
        there, back = self._process.stdin, self._process.stdout
        if there is None or back is None:
            raise RuntimeError("the nursery has no pipes")
        there.write(json.dumps(command).encode() + b"\n")
        there.flush()
        if not (line := back.readline()):
            raise RuntimeError("the nursery has ended; its words are above")
        return json.loads(line)


class CrashingService(RunningService):
    """`arm(Armed("after book", 2))`, `launch()`, and it dies when it books for the second time."""

    def __init__(self, nursery: Nursery, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._nursery = nursery
        self._armed: Armed | None = None
        self.passed_file = self.folder / "passed"

    def arm(self, armed: Armed | None) -> None:
        """Where the next life ends; None: nowhere."""
        self._armed = armed

    def _spawn(self) -> Life:
        self.passed_file.unlink(missing_ok=True)
        born = self._nursery.ask(
            {
                "config": str(self.config),
                "log": str(self.log_file),
                "passed": str(self.passed_file),
                "armed": self._armed,
            }
        )
        return Life(self._nursery, born)

    def passed(self) -> Counter[str]:
        """How often each point was passed in the newest life."""
        file = Path(self.passed_file)
        return Counter(file.read_text("utf-8").splitlines()) if file.exists() else Counter()
