"""kill -9 at random moments while payments flow; then the ledger is compared with the chain.

KILLS says how often (for each combination), KILL_SEED where the dice begin.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from regtest.agreement import Sold, agree, swept
from regtest.bitcoind_source import BitcoindPrograms
from regtest.conftest import COMBINATIONS, MakeTill, SteadyNode
from regtest.node import NodeError, RegtestNode
from regtest.service import RunningService

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("KILL_SEED", "1"))
_IMPATIENT = 50
SOLD = Sold(price_sat=40_000, credits=400, depth=3)


@pytest.fixture(scope="module")
def busy_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    with SteadyNode(bitcoind_binary) as node:
        yield node.fund(200 + 3 * KILLS)  # what a killed node forgets stays spent in its wallet


@dataclass
class Customers:
    """People who buy, pay and bump, whether the service lives or not; and miners who do not care."""

    till: RunningService
    dice: random.Random
    begin: int
    """Height of the node when they came; all later blocks are theirs."""
    payments: list[dict[str, Any]] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    unanswered: int = 0
    bought: int = 0
    _unmined: int = 0

    def act(self) -> None:
        """One thing that somebody does, after a moment."""
        time.sleep(self.dice.uniform(0, 0.15))
        if self._unmined >= 15:
            return self.mine()
        self.dice.choice(
            [self.buy, self.buy, self.pay, self.pay, self.pay_in_two, self.overpay, self.bump, self.mine]
        )()
        return None

    def buy(self) -> None:
        if self.unanswered >= _IMPATIENT and not answers(self.till):
            return  # enough of them have pressed the button in vain
        self.bought += 1
        try:
            self.payments.append(self.ask_for(self.bought))
        except OSError:
            self.unanswered += 1  # the customer will press the button again

    def ask_for(self, number: int) -> dict[str, Any]:
        body = {"package_id": "small", "user_id": f"user-{number}"}
        headers = {"Idempotency-Key": f"order-{number}"}
        answer = self.till.ask("POST", "payments", body, headers=headers)
        if answer.status == 503:
            raise ConnectionRefusedError("it reads the blocks that it missed")
        made: dict[str, Any] = answer.expect(201)
        return made

    def _one(self) -> str:
        return str(self.dice.choice(self.payments[-8:])["address"])

    def _send(self, *values: int) -> None:
        if self.payments:
            address = self._one()
            for value in values:
                self.last = self.till.node.pay(address, value)
                self._unmined += 1

    def pay(self) -> None:
        self._send(SOLD.price_sat)

    def pay_in_two(self) -> None:
        self._send(15_000, 25_000)

    def overpay(self) -> None:
        self._send(57_123)

    last = ""

    def bump(self) -> None:
        # The wallet says no to some: already bumped that high, or its change is spent.
        with contextlib.suppress(NodeError):
            self.last = self.till.node.bump(self.last, self.dice.randint(15, 60))

    def mine(self) -> None:
        node = self.till.node
        self.blocks += [node.rpc("getblock", block, 0) for block in node.mine(self.dice.choice([1, 1, 2, 3]))]
        self._unmined = 0

    def all_orders(self) -> list[dict[str, Any]]:
        """Everybody asks again; whoever had an answer before must get the same one."""
        orders = [self.ask_for(number) for number in range(1, self.bought + 1)]
        for before in self.payments:
            assert before in orders
        return orders


def kill_the_service(till: RunningService, customers: Customers, *, at_work: bool) -> None:
    """Start it, and kill it at some moment: while it starts, or some time after it has begun to answer."""
    till.launch()
    while at_work and till.running and not answers(till):
        customers.act()
    killer = threading.Timer(customers.dice.uniform(0.3, 2.5), till.signal, (signal.SIGKILL,))
    killer.start()
    try:
        while till.running:
            customers.act()
    finally:
        killer.join()
    assert till.exit_code == -signal.SIGKILL, f"it ended by itself:\n{till.last_words()}"
    till.kill()
    for _ in range(customers.dice.randint(0, 3)):
        customers.act()


def answers(till: RunningService) -> bool:
    try:
        return bool(till.ask("GET", "/healthz", key=None).status == 200)
    except OSError:
        return False


def kill_the_node(customers: Customers) -> None:
    node = customers.till.node
    node.kill()
    node.start()
    for block in customers.blocks[node.height - customers.begin :]:  # peers have what it had not written to disk
        node.rpc("submitblock", block)
    assert node.height == customers.begin + len(customers.blocks)


@pytest.mark.timeout(60 + 20 * KILLS)
@pytest.mark.parametrize("kind", COMBINATIONS, ids="-".join)
def test_ledger_and_chain_agree_after_many_kills(
    kind: tuple[str, str], busy_node: RegtestNode, make_till: MakeTill, show_progress: Callable[[str], None]
) -> None:
    busy_node.restart()  # everything so far is on its disk: a kill makes it forget what comes from here on
    till = make_till(busy_node, *kind, start=False, settings={"payments": {"check_interval_seconds": 0.2}})
    begin, began = busy_node.height, time.monotonic()
    customers = Customers(till, random.Random(f"{SEED}-{kind}"), begin)  # dice that fall the same way each time
    assert till.key
    kills = KILLS if kind[1] == "forwarding" else max(1, KILLS // 3)
    for number in range(1, kills + 1):
        kill_the_service(till, customers, at_work=number % 3 != 0)
        if number % 4 == 0:
            kill_the_node(customers)
        if number % 10 == 0:
            took = time.monotonic() - began
            show_progress(f"{'-'.join(kind)}: {number} of {kills} kills, {took / number:.1f} s each")
    till.start(ready=False)
    till.wait_level(timeout=60)
    orders = customers.all_orders()
    busy_node.mine(SOLD.depth)
    till.wait_level(timeout=60)
    paid_for = agree(till, orders, SOLD, begin)
    told = Counter(event["data"]["payment_id"] for event in till.all_events() if event["type"] == "payment.confirmed")
    assert set(told.values()) == {1}
    for order in orders:
        assert {kind for kind, _ in till.entries(order["user_id"])} <= {"payment"}
    sweeps = 0
    if till.mode == "forwarding":
        busy_node.mine(1)
        sweeps = swept(till, orders, SOLD, begin)
    till.stop()
    show_progress(
        f"{'-'.join(kind)}: {kills} kills in {time.monotonic() - began:.0f} s; {len(orders)} orders, {paid_for} paid, "
        f"{customers.unanswered} not answered, {len(customers.blocks)} blocks, {sweeps} sweeps agree with the chain"
    )
