"""The service is killed at every point, the first time and the second; then ledger and chain are compared.

A chain of lives on one database: each ends where the next point of the list says, and the next one finishes the work.
What the points are is said in `crash_points.py`.
"""

from __future__ import annotations

import ast
import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from commands.permissions import FORWARDING_METHODS, RPC_METHODS
from regtest.agreement import agree, swept
from regtest.bitcoind_source import BitcoindPrograms
from regtest.command_line import ROOT
from regtest.conftest import COMBINATIONS, MakeUrl, SteadyNode
from regtest.crash_days import DEPTH, PATIENCE_SECONDS, SETTINGS, SOLD, Street
from regtest.crashing_service import Armed, CrashingService, Nursery
from regtest.node import RegtestNode
from storage.database import Database
from tests.storage import invariants


class Way(NamedTuple):
    """How a life is led to a point: what happens before it begins, what during it, and how often it gets there."""

    day: Callable[[Street], object]
    before: Callable[[Street], object] = Street.nothing
    hits: int = 2
    engines: tuple[str, ...] = ("sqlite", "postgres")


START = Way(Street.morning)
ONCE = Way(Street.morning, hits=1)
SALE = Way(Street.sale)
EXPIRED = Way(Street.expiry)

WRITES = {
    "claim": ONCE,  # once a start
    "keychain": ONCE,  # once a start
    "begin_at": ONCE,  # once a database
    "report_health": START,
    "mark_used": SALE,
    "open_in": SALE,
    "record_seen": Way(Street.replacement),
    "connect": SALE,
    "book": SALE,
    "store_sweep": SALE,
    "record_broadcast": SALE,
    "close_deep_sweeps": SALE,
    "spend_credits": Way(Street.spending),
    "record_missing": EXPIRED,
    "disconnect": Way(Street.reorganisation),
    "settle": Way(Street.morning, Street.sold_and_undone),
    "close_windows": Way(Street.closing, Street.short_windows),
    "finish": Way(Street.elsewhere, engines=("postgres",)),
    "step_over": Way(Street.stranger),
    "record_refused": Way(Street.refusal),
    "store_replacement": Way(Street.stuck),
    "record_late": Way(Street.late, Street.no_patience),
    "record_arrived": Way(Street.late, Street.no_patience),
    "answer_order": Way(Street.ordering),
}
"""Every write of a running service, by the name of its body, in this order: it begins with an empty database."""

EXCHANGES = {
    "preflight": START,
    "getblockchaininfo": START,
    "getnetworkinfo": SALE,
    "deriveaddresses": ONCE,  # at first contact
    "getbestblockhash": START,
    "getblockheader": START,
    "getrawmempool": START,
    "getrawtransaction": SALE,
    "getmempoolentry": SALE,
    "rest": Way(Street.sale, hits=1),  # this node has no REST, and is not asked for it again
    "getblock": SALE,
    "gettxout": SALE,
    "estimatesmartfee": SALE,
    "testmempoolaccept": SALE,
    "sendrawtransaction": SALE,
    "getmempoolinfo": EXPIRED,
    "gettxspendingprevout": EXPIRED,
    "listwallets": Way(Street.unloading),
    "loadwallet": Way(Street.unloading, Street.unload),
    "createwallet": Way(Street.morning, Street.another_wallet, hits=1),  # then it is there
    "importdescriptors": Way(Street.morning, Street.another_wallet, hits=1),  # enough for 1,000 payments
    "listdescriptors": Way(Street.unloading),
    "listsinceblock": START,
}
"""Every exchange with the node."""

BY_CHANCE = {
    "_record_missed": "the second witness was faster than the chain loop, and then it writes nothing; else a defect",
    "gettransaction": "asked by the second witness before that",
    "getchaintips": "asked in the moment in which a branch was given up and no longer one is there",
    "getblockhash": "within a batch, which has the name of its first call (getnetworkinfo)",
    "getzmqnotifications": "asked by the preflight only",
    "adopt": "only where an older copy of the database was put back: regtest/test_restore.py does",
    "want": "a counter of an API process that stands alone: no money and no state of a payment",
    "fail": "the same counter, when the node is away",
}
"""Points that no life is led to, though some pass them; and why."""


OTHERWISE_IN_WATCH_ONLY = ("connect", "book", "disconnect", "settle")
"""Writes that do other things in watch-only mode. All else is the same there, and is left to forwarding mode."""


def lives(engine: str, mode: str) -> list[tuple[Armed, Way]]:
    """One for each point and hit."""
    ways = {**WRITES, **EXCHANGES}
    return [
        (Armed(f"{moment} {name}", hit), way)
        for name, way in ways.items()
        if engine in way.engines and (mode == "forwarding" or name in OTHERWISE_IN_WATCH_ONLY)
        for moment in (("before", "inside", "after") if name in WRITES else ("before", "after"))
        for hit in range(1, way.hits + 1)
    ]


def test_no_write_and_no_method_is_forgotten() -> None:
    rooms = ("api", "node_watcher", "node_watcher/forwarding", "node_watcher/signing")
    sources = [source for room in rooms for source in (ROOT / room).glob("*.py")] + [ROOT / "commands/service.py"]
    writes = {name for source in sources for name in bodies_in(source)}
    assert {"book", "open_in", "finish", "claim"} < writes
    assert writes - BY_CHANCE.keys() == WRITES.keys()
    assert {*RPC_METHODS, *FORWARDING_METHODS} - BY_CHANCE.keys() == EXCHANGES.keys() - {"preflight", "rest"}


def bodies_in(source: Path) -> Iterator[str]:
    """What is passed to `database.write(…)` in a file, by the last word of its name."""
    for call in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(call, ast.Call) and re.search(r"database\.write$", ast.unparse(call.func)):
            body = call.args[0]
            for one in (body.body, body.orelse) if isinstance(body, ast.IfExp) else (body,):
                yield ast.unparse(one).rpartition(".")[2]


@pytest.fixture(scope="module")
def calm_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    with SteadyNode(bitcoind_binary, extra_args=["-mempoolexpiry=1"]) as node:
        yield node.fund(200)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


@pytest.fixture
def make_street(
    calm_node: RegtestNode, nursery: Nursery, make_database: MakeUrl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, Any], Street]]:
    made: list[CrashingService] = []

    def make(engine: str, mode: Any) -> Street:
        folder = tmp_path_factory.mktemp("crashing")
        url = make_database(engine)
        made.append(CrashingService(nursery, calm_node, url, mode=mode, settings=SETTINGS, folder=folder))
        return Street(made[-1])

    yield make
    for till in made:
        till.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", COMBINATIONS, ids="-".join)
def test_killed_at_every_point(
    kind: tuple[str, str], make_street: Callable[[str, Any], Street], show_progress: Callable[[str], None]
) -> None:
    street = make_street(*kind)
    till, begin = street.till, street.node.height
    chain, passed, began = lives(*kind), Counter[str](), time.monotonic()
    for number, (armed, way) in enumerate(chain, 1):
        live(street, armed, way)
        passed += till.passed()
        if number % 40 == 0:
            show_progress(f"{'-'.join(kind)}: {number} of {len(chain)} kills in {time.monotonic() - began:.0f} s")
    till.arm(None)
    till.start(ready=False)
    for order in street.orders:
        street.ask(order)
    for user, reference in street.spends:
        street.spend(user, reference)
    street.node.mine(DEPTH)
    till.wait_level(timeout=60)
    orders = [order.answer for order in street.orders if order.answer is not None]
    assert len(orders) == len(street.orders)
    paid_for = agree(till, orders, SOLD, begin, Counter(user for user, _ in street.spends))
    sweeps = 0
    if till.mode == "forwarding":
        street.node.mine(1)
        sweeps = swept(till, orders, SOLD, begin)
    passed += till.passed()
    unknown = {name.split(" ", 1)[1] for name in passed} - WRITES.keys() - EXCHANGES.keys() - BY_CHANCE.keys()
    assert not unknown, f"points of the service at which no life ends; put them in the lists above: {unknown}"
    show_progress(
        f"{'-'.join(kind)}: {len(chain)} kills in {time.monotonic() - began:.0f} s; {len(orders)} orders, "
        f"{paid_for} paid, {sweeps} sweeps, {len(street.spends)} spends agree with the chain"
    )


def live(street: Street, armed: Armed, way: Way) -> None:
    """One life, that must end where it was armed to end, and then what must always be true."""
    till = street.till
    way.before(street)
    till.arm(armed)
    till.launch()
    end = time.monotonic() + PATIENCE_SECONDS
    if street.open_the_door():
        while till.running and time.monotonic() < end:
            way.day(street)
    passed = till.passed()
    assert not till.running, f"{armed} was not reached in its life, which passed {passed}"
    assert till.exit_code == -signal.SIGKILL, f"before {armed} it ended by itself:\n{till.last_words()}"
    assert passed[armed.point] == armed.hit
    till.kill()
    asyncio.run(check_snapshot(till.database_url, armed))
    street.usual()
    street.behind_its_back()


async def check_snapshot(url: str, armed: Armed) -> None:
    async with Database(url, read_only=True) as database:
        try:
            await database.read(invariants.check)
        except AssertionError as broken:
            raise AssertionError(f"killed at {armed}: {broken}") from broken
