"""Notifications that are lost, repeated, out of order, damaged or invented; the port in wrong hands.

Whatever comes by ZMQ only makes the watcher look: each scenario ends with the same payments, events and credits.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
import zmq

from regtest.conftest import MakeTill
from regtest.crafted_tx import double_spend
from regtest.node import PAYER, RegtestNode
from regtest.service import RunningService
from regtest.zmq_line import Change, Frames, ZmqLine, counter_of, untouched, with_counter

AN_HOUR = {"payments": {"check_interval_seconds": 3600}}


@pytest.fixture(scope="module")
def by_ear(own_node: RegtestNode, make_till: MakeTill) -> Iterator[tuple[RunningService, ZmqLine]]:
    """A service that looks by itself once an hour: what it sees in time it was told by the line."""
    with ZmqLine(own_node) as line:
        endpoints = {"zmq_rawtx": line.endpoint, "zmq_hashblock": line.endpoint}
        till = make_till(own_node, settings={"node": endpoints, **AN_HOUR})
        line.wait_for_listeners()
        yield till, line
        till.stop()


@pytest.fixture(scope="module")
def by_timer(own_node: RegtestNode, make_till: MakeTill) -> Iterator[tuple[RunningService, ZmqLine]]:
    """A service that looks twice a second, whatever it hears."""
    with ZmqLine(own_node) as line:
        endpoints = {"zmq_rawtx": line.endpoint, "zmq_hashblock": line.endpoint}
        till = make_till(own_node, "postgres", settings={"node": endpoints})
        line.wait_for_listeners()
        yield till, line
        till.stop()


def each(change: Callable[[Frames], list[Frames]]) -> Change:
    return lambda messages: [one for message in messages for one in change(message)]


def repeated(message: Frames) -> list[Frames]:
    return [message] * 3


def backwards(messages: list[Frames]) -> list[Frames]:
    """A block is told before its transactions, and the last of them first."""
    return messages[::-1]


def with_noise(message: Frames) -> list[Frames]:
    """Among things that are no messages at all."""
    topic, body, number = message
    return [
        [topic],
        [topic, body],
        [topic, body, number, b"more"],
        [topic, body, number[:3]],
        [topic, b"", number],
        [topic, body[:-1], number],
        [topic, secrets.token_bytes(31), number],
        [topic, secrets.token_bytes(len(body)), number],
        [topic + b"2", body, number],
        [b"hashblock", b"\x00" * 31, number],
        [b"rawtx", bytes(4_000_001), number],
        message,
    ]


def jumping(message: Frames) -> list[Frames]:
    return [with_counter(message, 7 * counter_of(message))]


def starting_again(message: Frames) -> list[Frames]:
    """As if the node had restarted before each message."""
    return [with_counter(message, 0)]


def wrapping(message: Frames) -> list[Frames]:
    """The counter runs over in the middle of it."""
    return [with_counter(message, counter_of(message) % 5 - 2)]


def silent(message: Frames) -> list[Frames]:
    return []


def damaged(message: Frames) -> list[Frames]:
    topic, body, number = message
    return [[topic, bytes(byte ^ 0x55 for byte in body), number]]


def cut(message: Frames) -> list[Frames]:
    topic, body, number = message
    return [[topic, body[: len(body) // 2], number]]


def a_purchase(till: RunningService, user_id: str) -> None:
    """Buy, pay, bump, confirm, lose the block, confirm again: once, whatever the line does."""
    node = till.node
    payment = till.create("small", user_id)
    txid = node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    bumped = node.bump(txid)
    till.wait_payment(payment["payment_id"], lambda p: p["tx_hash"] == bumped)
    node.mine(1)
    till.wait_payment(payment["payment_id"], lambda p: p["confirmations"] == 1)
    node.reorg(1)
    till.wait_payment(payment["payment_id"], lambda p: p["confirmations"] == 0 and "reorged" in p["flags"])
    node.mine(3)
    done = till.wait_payment(payment["payment_id"], "forwarded")
    assert (done["credited"], done["received_sat"], done["tx_hash"]) == (400, 40_000, bumped)
    assert till.entries(user_id) == [("payment", 400)]
    told = till.events_of(payment["payment_id"])
    for once in ("payment.detected", "payment.replaced", "payment.reorged", "payment.confirmed", "credits.added"):
        assert told.count(once) == 1, once


HEARD_BADLY: dict[str, Change] = {
    "as it comes": untouched,
    "repeated": each(repeated),
    "backwards": backwards,
    "with noise": each(with_noise),
    "counter jumps": each(jumping),
    "counter starts again": each(starting_again),
    "counter runs over": each(wrapping),
}


@pytest.mark.parametrize("change", HEARD_BADLY.values(), ids=HEARD_BADLY.keys())
def test_heard_badly(by_ear: tuple[RunningService, ZmqLine], change: Change) -> None:
    till, line = by_ear
    line.change = change
    a_purchase(till, f"heard-{secrets.token_hex(4)}")
    line.change = untouched


NOT_HEARD: dict[str, Change] = {"silent": lambda messages: [], "damaged": each(damaged), "cut": each(cut)}


@pytest.mark.parametrize("change", NOT_HEARD.values(), ids=NOT_HEARD.keys())
def test_not_heard_at_all(by_timer: tuple[RunningService, ZmqLine], change: Change) -> None:
    """Connected, and nothing that can be used comes: the timer finds everything."""
    till, line = by_timer
    line.change = change
    a_purchase(till, f"unheard-{secrets.token_hex(4)}")
    line.change = untouched


def test_a_lost_message_is_made_good_with_the_next(by_ear: tuple[RunningService, ZmqLine]) -> None:
    """The gap in the counter says that something was lost, not what: the watcher looks at everything."""
    till, line = by_ear
    till.node.mine(1)
    till.wait_level()  # it has heard something: a gap is one between two messages
    payment = till.create("small", "lost")
    before, line.change = line.came, lambda messages: []
    txid = till.node.pay(payment["address"], 40_000)
    till.node.wait("its message", lambda: line.came > before)
    line.change = untouched
    assert till.payment(payment["payment_id"])["status"] == "pending"
    till.node.pay(till.node.new_address(), 20_000)
    assert till.wait_payment(payment["payment_id"], "confirming")["tx_hash"] == txid
    line.change = lambda messages: [message for message in messages if message[0] == b"rawtx"]
    till.node.mine(2)
    line.change = untouched
    till.node.mine(1)
    till.wait_payment(payment["payment_id"], "forwarded")
    assert till.entries("lost") == [("payment", 400)]


def test_what_is_invented_shows_nothing(by_ear: tuple[RunningService, ZmqLine]) -> None:
    """Real signatures, and yet in no mempool and no block: a payment, and a theft from one that was seen."""
    till, line = by_ear
    node = till.node
    unpaid, paid = till.create("small", "invented"), till.create("small", "robbed")
    txid = node.pay(paid["address"], 40_000)
    shown = till.wait_payment(paid["payment_id"], "confirming")
    options = {"add_to_wallet": False}
    payment = node.rpc("send", {unpaid["address"]: "0.0004"}, None, "unset", 5, options, wallet=PAYER)["hex"]
    theft = double_spend(node, txid)
    for number, raw in enumerate([payment, theft]):
        line.invent([b"rawtx", bytes.fromhex(raw), (10**6 + number).to_bytes(4, "little")])
    line.invent([b"hashblock", secrets.token_bytes(32), (10**6).to_bytes(4, "little")])
    assert till.look(unpaid["payment_id"]) == unpaid
    assert till.look(paid["payment_id"]) == shown
    # What was a lie is believed once it is true.
    node.rpc("sendrawtransaction", theft)
    gone = till.wait_payment(paid["payment_id"], "pending")
    assert gone["transactions"][0]["replaced_by"] == node.rpc("decoderawtransaction", theft)["txid"]
    node.mine_with([theft, payment])
    node.mine(2)
    till.wait_payment(unpaid["payment_id"], "forwarded")
    assert (till.entries("invented"), till.entries("robbed")) == ([("payment", 400)], [])


def test_a_block_taken_back_is_told_to_nobody(by_timer: tuple[RunningService, ZmqLine]) -> None:
    """`invalidateblock` publishes no hashblock at all: the next look sees it."""
    till, line = by_timer
    payment = till.create("small", "undone")
    till.node.pay(payment["address"], 40_000)
    told: list[bytes] = []

    def note(messages: list[Frames]) -> list[Frames]:
        told.extend(message[1] for message in messages if message[0] == b"hashblock")
        return messages

    line.change = note
    (block,) = till.node.mine(1)
    till.wait_payment(payment["payment_id"], lambda p: p["confirmations"] == 1)
    till.node.wait("word of the block", lambda: bytes.fromhex(block) in told)
    told.clear()
    lowest = till.node.disconnect_blocks(1)
    till.wait_payment(payment["payment_id"], lambda p: p["confirmations"] == 0 and p["flags"] == ["reorged"])
    assert told == []
    line.change = untouched
    till.node.rpc("reconsiderblock", lowest)
    till.node.mine(2)
    till.wait_payment(payment["payment_id"], "forwarded")


def test_the_port_in_other_hands(make_node: Callable[..., RegtestNode], make_till: MakeTill) -> None:
    """A node whose port was taken while it was down publishes nothing on any topic, and does not say so."""
    node = make_node().fund(5)
    till = make_till(node)
    payment, other = till.create("small", "squatted"), till.create("small", "squatted-2")
    options = {"add_to_wallet": False}
    lie = node.rpc("send", {other["address"]: "0.0004"}, None, "unset", 5, options, wallet=PAYER)["hex"]
    node.stop()
    with zmq.Context() as context, context.socket(zmq.PUB) as squatter:
        squatter.setsockopt(zmq.LINGER, 0)
        squatter.bind(node.zmq_rawtx)
        node.start()
        assert node.rpc("getzmqnotifications") == []
        node.pay(payment["address"], 40_000)
        till.wait_payment(payment["payment_id"], "confirming")
        for number in range(20):
            squatter.send_multipart([b"rawtx", bytes.fromhex(lie), number.to_bytes(4, "little")])
        node.mine(3)
        till.wait_payment(payment["payment_id"], "forwarded")
        assert till.look(other["payment_id"]) == other
        refused = make_till(node, start=False)
        refused.serve().refused("node.zmq_rawtx", "another program has the port")
    till.stop()
