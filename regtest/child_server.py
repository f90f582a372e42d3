"""A server as a child process: started until it answers, stopped, killed, started again."""

from __future__ import annotations

import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from regtest.child_process import last_lines

_STEP = 0.02


class DidNotStart(RuntimeError):
    """The server ended, or stayed silent, instead of answering; its last words are in the message."""


class Process(Protocol):
    """What runs: a `ChildProcess`, or what behaves like one."""

    @property
    def pid(self) -> int: ...
    @property
    def running(self) -> bool: ...
    @property
    def exit_code(self) -> int | None: ...
    def send(self, what: signal.Signals) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class ChildServer(ABC):
    """What node, database and service have in common. Its folder and ports stay the same over stop and start."""

    called = "the server"
    """How error messages name it."""

    def __init__(self, folder: Path, *, temporary: bool) -> None:
        """Nothing runs before `start()`. A `temporary` folder goes with `close()`, and should we die."""
        self.folder, self._temporary = folder, temporary
        self.remove_on_orphan = folder if temporary else None
        """What its guard removes should we die before it."""
        self.log_file = folder / "output.log"
        self._process: Process | None = None

    @abstractmethod
    def _spawn(self) -> Process:
        """The new process."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it is ready for work; asked again and again while it starts."""

    # ------------------------------------------------------------------ life and death

    @property
    def process(self) -> Process:
        """The process, perhaps ended. Raises `RuntimeError` before the start and after the stop."""
        if self._process is None:
            raise RuntimeError(f"{self.called} is not running: call start()")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def exit_code(self) -> int | None:
        """Negative: the signal that ended it. None while it runs, and when it was never started, or was stopped."""
        return None if self._process is None else self._process.exit_code

    def launch(self) -> None:
        """Start without waiting for anything. Nothing happens when it runs already."""
        if not self.running:
            self._process = self._spawn()

    def start(self, timeout: float = 60.0) -> Self:
        """Start, and wait until it answers. Raises `DidNotStart`, and then nothing runs."""
        self.launch()
        try:
            self.wait("its first answer", self._answers_or_ended, timeout=timeout)
        except TimeoutError as slow:
            self.kill()
            raise DidNotStart(str(slow)) from slow
        except BaseException:
            self.kill()
            raise
        return self

    def _answers_or_ended(self) -> bool:
        if not self.process.running:
            raise DidNotStart(f"{self.called} ended with code {self.exit_code}: {self.last_words()}")
        return self._answers()

    def signal(self, what: signal.Signals) -> None:
        """Send a signal; nothing happens when the server has ended."""
        if self._process is not None:
            self._process.send(what)

    def stop(self) -> int | None:
        """Ask it to end, and wait; the exit code. The folder stays."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.stop()
        return process.exit_code

    def kill(self) -> None:
        """`kill -9`; the folder stays as it is."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop, and remove the folder if it was a temporary one."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ waiting

    def wait(self, what: str, condition: Callable[[], object], *, timeout: float = 30.0) -> None:
        """Ask every 20 ms until it is true. Raises `TimeoutError` with the server's last words."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                words = self.last_words() or "(none)"
                raise TimeoutError(f"waited {timeout:g} s for {what}; last words of {self.called}:\n{words}")
            time.sleep(_STEP)

    def last_words(self) -> str:
        """The end of its log, empty when there is none."""
        return last_lines(self.log_file)
