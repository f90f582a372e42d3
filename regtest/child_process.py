"""A program that we started and that never outlives us, however we end.

`PR_SET_PDEATHSIG` would be shorter, but it fires when the *thread* that started the child ends,
and tests start nodes from worker threads. So a small shell holds the other end of a pipe: the
pipe closes when we are gone (also by `kill -9`), and the shell ends the program.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

# $1 pid, $2 polite signal, $3 a temporary folder to remove, or empty.
_GUARD = """
trap '' INT TERM HUP
read -r verdict
[ "$verdict" = dismissed ] && exit 0
kill -CONT "$1" 2>/dev/null; kill -"$2" "$1" 2>/dev/null
tries=0
while kill -0 "$1" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -KILL "$1" 2>/dev/null
[ -z "$3" ] || rm -rf "$3"
"""

_living: weakref.WeakSet[ChildProcess] = weakref.WeakSet()


class ChildProcess:
    """One running program, its log file and its guard."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_file: Path,
        polite: signal.Signals = signal.SIGTERM,
        remove_on_orphan: Path | None = None,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        group: int | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start `command` with output appended to `log_file`, in a session of its own.

        A session of its own, so that Ctrl-C reaches us and we stop things in our order.
        `polite` is the signal that asks it to end; `remove_on_orphan` is deleted should we die.
        """
        self.log_file = log_file
        self._polite = polite
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder,
                env=None if environment is None else dict(environment),
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        remove = "" if remove_on_orphan is None else str(remove_on_orphan)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.pid), polite.name.removeprefix("SIG"), remove],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _living.add(self)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def send(self, what: signal.Signals) -> None:
        """Send a signal; nothing happens when the program has ended."""
        self._process.send_signal(what)

    def stop(self, timeout: float = 30.0) -> None:
        """Ask politely, wait up to `timeout` seconds, then kill."""
        if self.running:
            self.send(signal.SIGCONT)
            self.send(self._polite)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._reap()

    def kill(self) -> None:
        """`kill -9`: what a power cut does."""
        if self.running:
            self._process.kill()
        self._reap()

    def _reap(self) -> None:
        self._process.wait()
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.write(b"dismissed\n")
                self._guard.stdin.flush()
            with contextlib.suppress(BrokenPipeError):
                self._guard.stdin.close()
        self._guard.wait()
        _living.discard(self)


def last_lines(log_file: Path, lines: int = 15) -> str:
    """The end of a log, for error messages; empty when there is none."""
    if not log_file.exists():
        return ""
    with log_file.open("rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 8192))
        text = log.read().decode("utf-8", "replace")
    return "\n".join(text.strip().splitlines()[-lines:])


@atexit.register
def _stop_all() -> None:
    for child in list(_living):
        child.stop(timeout=10.0)
