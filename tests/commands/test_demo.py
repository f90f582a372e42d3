"""The demo ended in each of its phases: no process and no folder is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.demo import Interruptions
from regtest.bitcoind_source import BitcoindPrograms
from regtest.free_ports import free_port
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


class RunningDemo:
    """`./nodetill demo --no-browser` with a folder of its own for everything temporary."""

    def __init__(self, programs: BitcoindPrograms, folder: Path) -> None:
        self.folder, self.port = folder / "tmp", free_port()
        self.folder.mkdir()
        self.output = folder / "output"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NODETILL_")}
        environment |= {"TMPDIR": str(self.folder), "BITCOIND": str(programs.bitcoind)}
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "main.py"), "demo", "--no-browser", "--port", str(self.port)],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str) -> None:
        wait_for(lambda: words in self.said() or self.process.poll() is not None, 60, words)
        assert words in self.said(), self.said()

    def processes(self) -> list[str]:
        """Command lines of everything that was started with our folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                except OSError:
                    continue
                if str(self.folder) in line:
                    found.append(line)
        return found

    def gone(self) -> None:
        """It ends within ten seconds, and nothing is left."""
        assert self.process.wait(15) == 0, self.said()
        wait_for(lambda: not self.processes(), 5, "the demo's processes to end")
        assert list(self.folder.iterdir()) == []
        assert "Traceback" not in self.said()
        assert self.said().rstrip().endswith("Stopped; nothing is left behind.")


@pytest.mark.parametrize(
    "phase, later, signum",
    [
        ("[1/3]", 0.0, signal.SIGINT),
        ("[2/3]", 0.0, signal.SIGTERM),
        ("[2/3]", 0.15, signal.SIGINT),
        ("[3/3]", 0.0, signal.SIGHUP),
        ("[3/3]", 0.4, signal.SIGINT),
        ("Ready", 0.0, signal.SIGINT),
    ],
)
def test_ended_in_the_middle(
    bitcoind_binary: BitcoindPrograms, tmp_path: Path, phase: str, later: float, signum: signal.Signals
) -> None:
    demo = RunningDemo(bitcoind_binary, tmp_path)
    try:
        demo.wait_for(phase)
        time.sleep(later)
        demo.process.send_signal(signum)
        time.sleep(0.05)
        if demo.process.poll() is None:
            demo.process.send_signal(signum)  # people press it twice
        demo.gone()
    finally:
        demo.process.kill()
        demo.process.wait()


@pytest.mark.parametrize("phase", ["[2/3]", "Ready"])
def test_killed(bitcoind_binary: BitcoindPrograms, tmp_path: Path, phase: str) -> None:
    demo = RunningDemo(bitcoind_binary, tmp_path)
    try:
        demo.wait_for(phase)
        wait_for(lambda: len(demo.processes()) >= 2, 20, "the node and its guard")
        demo.process.kill()
        demo.process.wait()
        wait_for(lambda: not demo.processes(), 10, "the node to end")
        wait_for(lambda: list(demo.folder.iterdir()) == [], 5, "the folder to go")
    finally:
        demo.process.kill()
        demo.process.wait()


def test_the_page_answers_until_the_end(bitcoind_binary: BitcoindPrograms, tmp_path: Path) -> None:
    demo = RunningDemo(bitcoind_binary, tmp_path)
    try:
        demo.wait_for("Ready")
        assert f"http://127.0.0.1:{demo.port}" in demo.said()
        with urllib.request.urlopen(f"http://127.0.0.1:{demo.port}/", timeout=5) as page:
            assert page.status == 200
        second = subprocess.run(
            [sys.executable, str(ROOT / "main.py"), "demo", "--no-browser", "--port", str(demo.port)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr.startswith(f"nodetill: --port {demo.port} is taken")
        demo.process.send_signal(signal.SIGTERM)
        demo.gone()
    finally:
        demo.process.kill()
        demo.process.wait()


@pytest.fixture
def interruptions() -> Iterator[Interruptions]:
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield Interruptions()
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_interruption_waits_until_it_is_let(interruptions: Interruptions) -> None:
    signal.raise_signal(signal.SIGINT)  # nothing happens in the middle of starting
    with pytest.raises(KeyboardInterrupt), interruptions.let():
        pytest.fail("it came before")


def test_interruption_raises_once(interruptions: Interruptions) -> None:
    with pytest.raises(KeyboardInterrupt), interruptions.let():
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # cleaning up is not disturbed


def test_interruption_is_told_where_somebody_listens(interruptions: Interruptions) -> None:
    told: list[int] = []
    with interruptions.let(), interruptions.told(lambda: told.append(1)):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGHUP)
    assert told == [1, 1]
