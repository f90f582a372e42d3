"""Blocks that are right and unusual: newly made coins, clocks that run back, transactions of every shape."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from payments.address import script_pubkey
from regtest.conftest import MakeTill
from regtest.free_coins import ANYBODYS_SCRIPT, free_coins
from regtest.node import RegtestNode
from regtest.service import RunningService

MATURITY = 100
AN_HOUR = 3600


@pytest.fixture(scope="module")
def till(own_node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    service = make_till(own_node)
    yield service
    service.stop()


def test_newly_made_coins_wait_for_a_hundred_blocks(till: RunningService, own_node: RegtestNode) -> None:
    """A miner may pay with what he mines; it can be spent, and is final, 100 blocks later."""
    payment = till.create("small", "miner")
    own_node.mine(1, payment["address"])
    shown = till.wait_payment(payment["payment_id"], "confirming")
    own_node.mine(MATURITY - 2)
    till.wait_level()
    waiting = till.look(payment["payment_id"])
    assert (waiting["status"], waiting["credited"], waiting["confirmations"]) == ("confirming", 0, MATURITY - 1)
    own_node.mine(1)
    done = till.wait_payment(payment["payment_id"], "forwarded")
    assert done["credited"] == 400 * shown["received_sat"] // 40_000
    assert till.entries("miner") == [("payment", done["credited"])]


def test_newly_made_coins_of_a_stale_block_are_nothing(till: RunningService, own_node: RegtestNode) -> None:
    """They do not return to the mempool, as a payment would."""
    payment = till.create("small", "orphan")
    own_node.mine(1, payment["address"])
    till.wait_payment(payment["payment_id"], "confirming")
    own_node.reorg(1)
    gone = till.wait_payment(payment["payment_id"], "pending")
    assert (gone["received_sat"], gone["transactions"][0]["state"]) == (0, "reorged")
    assert till.entries("orphan") == []


def test_clocks_of_miners_run_back(till: RunningService, own_node: RegtestNode) -> None:
    """Block times go up and down within their rules: order and depth are those of the chain."""
    payment = till.create("small", "clocks")
    own_node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    now = own_node.rpc("getblockchaininfo")["time"]
    times = []
    try:
        for offset in (AN_HOUR, 0, 2 * AN_HOUR - 60):
            own_node.rpc("setmocktime", now + offset)
            own_node.mine(1)
            times.append(own_node.rpc("getblockheader", own_node.tip)["time"])
            till.wait_level()
    finally:
        own_node.rpc("setmocktime", 0)
    assert times[1] < times[0] < times[2]
    done = till.wait_payment(payment["payment_id"], "forwarded")
    assert (done["confirmations"], done["flags"], till.entries("clocks")) == (3, [], [("payment", 400)])


ODD_SCRIPTS = {
    "nothing": b"",
    "ten thousand pushes": b"\x51" * 10_000,
    "a push beyond the end": b"\x4e\xff\xff\xff\xff",
    "90 kB of data": b"\x6a\x4e" + (90_000).to_bytes(4, "little") + bytes(90_000),
    "witness version 16": b"\x60\x28" + bytes(40),
    "pay to anchor": b"\x51\x02\x4e\x73",
    "bare multisig": b"\x51" + (b"\x21\x02" + bytes(32)) * 3 + b"\x53\xae",
    "a program of a wrong size": b"\x00\x03abc",
    "all bytes": bytes(range(256)),
}


def test_neighbours_of_every_shape(till: RunningService, own_node: RegtestNode) -> None:
    """What no node relays and a block may hold, beside a payment in the same transaction and in the same block."""
    made = [till.create("small", f"odd-{number}") for number in range(3)]
    scripts = [script_pubkey(payment["address"], "regtest") for payment in made]
    first, second, third = free_coins(own_node, 3)
    shapes = [(number % 3, script) for number, script in enumerate(ODD_SCRIPTS.values())]
    transactions = [
        first.pay(*shapes, (40_000, scripts[0])),
        second.pay((40_000, scripts[1]), *((0, ANYBODYS_SCRIPT) for _ in range(3_000))),
        third.pay((20_000, scripts[2]), (0, scripts[2]), (20_000, scripts[2])),
    ]
    own_node.mine_with(transactions)
    own_node.mine(2)
    for number, payment in enumerate(made):
        done = till.wait_payment(payment["payment_id"], "forwarded")
        assert (done["received_sat"], done["credited"]) == (40_000, 400)
        assert till.entries(f"odd-{number}") == [("payment", 400)]
    assert [line for line in till.log() if line["level"] in ("error", "critical")] == []
