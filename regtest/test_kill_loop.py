"""kill -9 at random moments while payments flow; then the ledger is compared with the chain.

KILLS says how often (for each combination), KILL_SEED where the dice begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from regtest.bitcoind_source import BitcoindPrograms
from regtest.chain_oracle import ChainOracle
from regtest.command_line import main
from regtest.conftest import COMBINATIONS, MakeTill, SteadyNode
from regtest.node import NodeError, RegtestNode
from regtest.service import RunningService
from storage.database import Database
from tests.storage import invariants

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("KILL_SEED", "1"))
PRICE, CREDITS, DEPTH = 40_000, 400, 3


@pytest.fixture(scope="module")
def busy_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    with SteadyNode(bitcoind_binary) as node:
        yield node.fund(200)


@dataclass
class Customers:
    """People who buy, pay and bump, whether the service lives or not; and miners who do not care."""

    till: RunningService
    dice: random.Random
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
        self.bought += 1
        try:
            self.payments.append(self.ask_for(self.bought))
        except OSError:
            self.unanswered += 1  # the customer will press the button again

    def ask_for(self, number: int) -> dict[str, Any]:
        body = {"package_id": "small", "user_id": f"user-{number}"}
        headers = {"Idempotency-Key": f"order-{number}"}
        answer: dict[str, Any] = self.till.ask("POST", "payments", body, headers=headers).expect(201)
        return answer

    def _one(self) -> str:
        return str(self.dice.choice(self.payments[-8:])["address"])

    def _send(self, *values: int) -> None:
        if self.payments:
            address = self._one()
            for value in values:
                self.last = self.till.node.pay(address, value)
                self._unmined += 1

    def pay(self) -> None:
        self._send(PRICE)

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
    for block in customers.blocks:  # peers have what it had not written to disk
        node.rpc("submitblock", block)


@pytest.mark.timeout(60 + 20 * KILLS)
@pytest.mark.parametrize("kind", COMBINATIONS, ids="-".join)
def test_ledger_and_chain_agree_after_many_kills(
    kind: tuple[str, str], busy_node: RegtestNode, make_till: MakeTill
) -> None:
    busy_node.restart()  # everything so far is on its disk: a kill makes it forget what comes from here on
    till = make_till(busy_node, *kind, start=False, settings={"payments": {"check_interval_seconds": 0.2}})
    begin = busy_node.height
    customers = Customers(till, random.Random(f"{SEED}-{kind}"))  # dice that fall the same way each time
    assert till.key
    kills = KILLS if kind[1] == "forwarding" else max(1, KILLS // 3)
    for number in range(1, kills + 1):
        kill_the_service(till, customers, at_work=number % 3 != 0)
        if number % 4 == 0:
            kill_the_node(customers)
    till.start(ready=False)
    orders = customers.all_orders()
    print(f"{kills} kills, {len(orders)} orders, {customers.unanswered} not answered, {len(customers.blocks)} blocks")
    busy_node.mine(DEPTH)
    till.wait_level(timeout=60)
    agree(till, orders, ChainOracle(busy_node, begin), begin)
    till.stop()


def agree(till: RunningService, orders: list[dict[str, Any]], before_sweeps: ChainOracle, begin: int) -> None:
    paid_for, told = 0, Counter[str]()
    for order in orders:
        coins = before_sweeps.paid_to(order["address"])
        final = sum(coin.value_sat for coin in coins.values() if coin.depth >= DEPTH)
        due = 0 if final < PRICE else CREDITS * final // PRICE
        paid_for += due > 0
        wanted = "forwarded" if due else "pending"
        shown = till.wait_payment(order["payment_id"], partial(is_at, due, wanted))
        live = {(t["txid"], t["vout"]): t["amount_sat"] for t in shown["transactions"] if t["state"] == "confirmed"}
        assert live == {coin: paid.value_sat for coin, paid in coins.items()}
        entries = till.entries(order["user_id"])
        assert {kind for kind, _ in entries} <= {"payment"}
        assert sum(amount for _, amount in entries) == till.balance(order["user_id"]) == due
        told[order["payment_id"]] = 1 if due else 0
        assert len(till.get(f"payments?user_id={order['user_id']}")["payments"]) == 1
    confirmed = (event["data"]["payment_id"] for event in till.all_events() if event["type"] == "payment.confirmed")
    assert Counter(confirmed) == +told
    assert paid_for >= 1, "nobody paid: the dice fell badly, this proves nothing"
    asyncio.run(check_invariants(till.database_url))
    audited = main("audit", "--full", "--config", str(till.config))
    assert audited.code == 0, audited.out + audited.err
    assert [line for line in till.log() if line["level"] == "critical" or "exception" in line] == []
    assert till.log_says("knew payment transaction") == 0, "the second witness found something we had missed"
    if till.mode == "forwarding":
        till.node.mine(1)
        swept(till, orders, ChainOracle(till.node, begin))


def is_at(credits: int, status: str, payment: dict[str, Any]) -> bool:
    return bool(payment["credited"] == credits and payment["status"] == status)


async def check_invariants(url: str) -> None:
    async with Database(url) as database:
        await database.read(invariants.check_quiet)


def swept(till: RunningService, orders: list[dict[str, Any]], oracle: ChainOracle) -> None:
    """Each credited coin left once, for the owner, and nothing is missing but the fee."""
    coins_in, sweeps = 0, set()
    for order in orders:
        shown = till.payment(order["payment_id"])
        for coin, paid in oracle.paid_to(order["address"]).items():
            if shown["status"] != "forwarded":
                assert coin not in oracle.spenders
                continue
            sweeps.add(oracle.spenders[coin])
            coins_in += paid.value_sat
    assert till.forward_to is not None
    arrived = oracle.paid_to(till.forward_to)
    assert {txid for txid, _ in arrived} == sweeps
    assert len(arrived) == len(sweeps)
    assert all(len(oracle.transactions[txid]["vout"]) == 1 for txid in sweeps)
    fees = sum(oracle.fee_of(txid) for txid in sweeps)
    assert sum(paid.value_sat for paid in arrived.values()) + fees == coins_in
    assert till.owner.received().keys() >= arrived.keys()
    dearest = 50  # forwarding.max_feerate, sat/vB
    assert all(0 < oracle.fee_of(txid) <= dearest * oracle.transactions[txid]["vsize"] for txid in sweeps)
