"""API and watcher as two processes on PostgreSQL: a confirmation request asks the node all the same.

No hints, and an hour between the watcher's passes: what is seen here was asked for.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from regtest.child_process import ChildProcess
from regtest.command_line import ROOT, clean_environment
from regtest.conftest import MakeTill
from regtest.free_ports import free_port
from regtest.http_json import Answer
from regtest.node import RegtestNode
from regtest.service import RunningService

BOUND_SECONDS = 13.0
"""The API waits 10 seconds for the watcher; the rest is for a machine that is busy."""


class TwoProcesses:
    """The same settings, started twice: an API, and beside it a watcher or a whole service."""

    def __init__(self, till: RunningService, folder: Path, watching: str = "watcher") -> None:
        self.till, self._folder, self._watching = till, folder, watching
        self.api = self._start("api")
        self.watcher = self._start(watching, NODETILL_API__PORT=str(free_port()))
        till.wait("both processes", self._ready, timeout=60)

    def _start(self, role: str, **environ: str) -> ChildProcess:
        command = [sys.executable, str(ROOT / "main.py"), "serve", "--role", role, "--config", str(self.till.config)]
        return ChildProcess(
            command, log_file=self._folder / f"{role}.log", environment=clean_environment() | environ, folder=ROOT
        )

    def _ready(self) -> bool:
        for part in (self.api, self.watcher):
            assert part.running, part.log_file.read_text()
        try:
            return self.till.not_ready() == []
        except OSError:
            return False

    def start_watcher(self) -> None:
        """A new one; what the last one reported does not count as its being ready."""
        self.watcher = self._start(self._watching)

    def confirm(self, payment_id: str) -> tuple[Answer, float]:
        """The answer of POST /confirm, and how many seconds it took."""
        began = time.monotonic()
        answer = self.till.ask("POST", f"confirm/{payment_id}")
        return answer, time.monotonic() - began

    def close(self) -> None:
        for part in (self.api, self.watcher):
            part.stop()
            assert part.exit_code == 0, part.log_file.read_text()


MakeTwo = Callable[..., TwoProcesses]


@pytest.fixture(scope="module")
def make_two(node: RegtestNode, make_till: MakeTill, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeTwo]:
    made: list[TwoProcesses] = []

    def make(watching: str = "watcher") -> TwoProcesses:
        settings = {"payments": {"check_interval_seconds": 3600}}
        till = make_till(node, "postgres", zmq=False, settings=settings, start=False)
        made.append(TwoProcesses(till, tmp_path_factory.mktemp("two"), watching))
        return made[-1]

    yield make
    for both in made:
        both.close()


@pytest.fixture(scope="module")
def two(make_two: MakeTwo) -> TwoProcesses:
    return make_two()


def test_a_confirmation_request_makes_the_other_process_look(two: TwoProcesses, node: RegtestNode) -> None:
    payment = two.till.create("small", "apart")
    payment_id = payment["payment_id"]
    node.pay(payment["address"], 40_000)
    assert two.till.payment(payment_id)["status"] == "pending", "nothing else may have looked"
    seen, _ = two.confirm(payment_id)
    problem = seen.json()
    assert (seen.status, problem["payment"]["status"]) == (409, "confirming"), problem
    assert problem["detail"] == "The full amount was seen and has 0 of 3 confirmations."
    node.mine(3)
    assert two.till.payment(payment_id)["confirmations"] == 0, "nothing else may have looked"
    done, seconds = two.confirm(payment_id)
    told = done.expect(200)
    assert (told["status"], told["credited"], told["message"]) == ("forwarded", 400, "Payment confirmed")
    assert seconds < 5
    assert two.till.balance("apart") == 400


def test_beside_a_whole_service(make_two: MakeTwo, node: RegtestNode) -> None:
    two = make_two("all")
    payment = two.till.create("small", "beside")
    node.pay(payment["address"], 40_000)
    seen, seconds = two.confirm(payment["payment_id"])
    assert seen.json()["payment"]["status"] == "confirming"
    assert seconds < 5


def test_many_requests_at_once(two: TwoProcesses, node: RegtestNode) -> None:
    opened = [two.till.create("small", f"many{n}") for n in range(10)]
    for payment in opened:
        node.pay(payment["address"], 40_000)
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda n: two.confirm(opened[n % 10]["payment_id"]), range(30)))
    assert {answer.json()["payment"]["status"] for answer, _ in answers} == {"confirming"}
    assert max(seconds for _, seconds in answers) < 8


def kill(watcher: ChildProcess) -> None:
    watcher.kill()


def suspend(watcher: ChildProcess) -> None:
    """It keeps its connections and its place, and says nothing."""
    watcher.send(signal.SIGSTOP)


@pytest.mark.parametrize("stop", [suspend, kill])
def test_without_a_watcher_the_answer_comes_and_says_so(
    two: TwoProcesses, node: RegtestNode, stop: Callable[[ChildProcess], None]
) -> None:
    payment = two.till.create("small", f"alone-{stop.__name__}")
    node.pay(payment["address"], 40_000)
    stop(two.watcher)
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: two.confirm(payment["payment_id"]), range(5)))
    for answer, seconds in answers:
        problem = answer.json()
        assert (answer.status, problem["code"]) == (409, "payment-not-confirmed"), problem
        assert problem["payment"]["status"] == "pending"
        for words in ("Nothing was seen", "watcher did not look at the node within 10 seconds", "/readyz"):
            assert words in problem["detail"]
        assert seconds < BOUND_SECONDS
    if two.watcher.running:
        two.watcher.send(signal.SIGCONT)
    else:
        two.start_watcher()
    late, _ = two.confirm(payment["payment_id"])
    problem = late.json()
    assert problem["payment"]["status"] == "confirming"
    assert "watcher" not in problem["detail"]
