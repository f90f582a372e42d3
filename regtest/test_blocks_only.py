"""A node that takes no transactions from others (`blocksonly=1`): payments show with their block, and it is said."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from regtest.bitcoind_source import BitcoindPrograms
from regtest.command_line import main
from regtest.conftest import TWO_COMBINATIONS, MakeTill, SteadyNode
from regtest.node import RegtestNode


@pytest.fixture(scope="module")
def customers(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    """The node of the rest of the world, with money and miners."""
    with SteadyNode(bitcoind_binary, p2p=True, zmq=False) as node:
        yield node.fund()


@pytest.fixture(scope="module")
def deaf(bitcoind_binary: BitcoindPrograms, customers: RegtestNode) -> Iterator[RegtestNode]:
    with RegtestNode(bitcoind_binary, p2p=True, extra_args=["-blocksonly"]) as node:
        node.connect(customers)
        node.wait_for_tip(customers.tip)
        yield node


@pytest.mark.parametrize("combination", TWO_COMBINATIONS, ids="-".join)
def test_payments_show_with_their_block(
    combination: tuple[str, str], deaf: RegtestNode, customers: RegtestNode, make_till: MakeTill
) -> None:
    till = make_till(deaf, *combination)
    assert till.log_says("remove blocksonly=1") == 1
    payment = till.create("small", "ann")
    txid = customers.pay(payment["address"], 40_000)
    assert txid not in deaf.rpc("getrawmempool")
    customers.mine(2)
    till.wait_payment(payment["payment_id"], lambda p: (p["status"], p["confirmations"]) == ("confirming", 2))
    assert till.balance("ann") == 0
    customers.mine(1)
    till.wait_payment(payment["payment_id"], "forwarded")
    assert till.entries("ann") == [("payment", 400)]
    if combination[1] == "forwarding":
        customers.wait("the sweep, which it does pass on", lambda: customers.rpc("getrawmempool"))
    customers.mine(1)
    till.wait_level()
    till.stop()


def test_the_doctor_names_it(deaf: RegtestNode, make_till: MakeTill) -> None:
    till = make_till(deaf, start=False)
    answer = json.loads(main("doctor", "--config", str(till.config), "--json").out)
    (found,) = [finding for finding in answer["findings"] if finding["check"] == "mempool"]
    assert found["colour"] == "yellow"
    assert "blocksonly=1" in found["detail"]
