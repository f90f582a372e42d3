"""What node, database and service do alike: start, fail to start, stop, and leave nothing behind."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import pytest

from regtest.child_process import ChildProcess
from regtest.child_server import ChildServer, DidNotStart


class Shell(ChildServer):
    """A shell script that answers by writing a file."""

    called = "the shell"

    def __init__(self, script: str) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="nodetill-shell-")), temporary=True)
        self.script = script

    def _spawn(self) -> ChildProcess:
        (self.folder / "answer").unlink(missing_ok=True)  # of the run before
        command = ["/bin/sh", "-c", self.script]
        return ChildProcess(command, log_file=self.log_file, folder=self.folder, remove_on_orphan=self.remove_on_orphan)

    def _answers(self) -> bool:
        return (self.folder / "answer").exists()


def test_starts_stops_and_leaves_nothing() -> None:
    with Shell("trap 'exit 7' TERM; touch answer; while :; do sleep 0.05; done") as shell:
        first = shell.pid
        assert shell.start().pid == first, "it runs already"
        assert shell.restart().pid != first
        assert (shell.running, shell.exit_code) == (True, None)
        assert shell.stop() == 7
        assert (shell.running, shell.exit_code) == (False, None)
        with pytest.raises(RuntimeError, match="the shell is not running"):
            _ = shell.pid
        shell.start()
        shell.signal(signal.SIGKILL)
        shell.wait("its end", lambda: not shell.running)
        assert shell.exit_code == -signal.SIGKILL
    assert not shell.folder.exists()


def test_says_with_which_words_it_ended() -> None:
    shell = Shell("echo no money >&2; exit 3")
    with pytest.raises(DidNotStart, match="the shell ended with code 3: no money"), shell:
        pytest.fail("it never answers")
    assert not shell.folder.exists()


def test_a_silent_one_is_not_left_running() -> None:
    shell = Shell("echo thinking; echo $$ >pid; exec sleep 60")
    try:
        with pytest.raises(DidNotStart, match=r"waited 0\.5 s for its first answer(.|\n)*thinking"):
            shell.start(timeout=0.5)
        assert not shell.running
        assert not Path(f"/proc/{(shell.folder / 'pid').read_text().strip()}").exists()
    finally:
        shell.close()
