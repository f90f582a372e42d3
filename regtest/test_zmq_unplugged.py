"""Notifications are hints: without them, with both on one endpoint, and with lies among them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from regtest.bitcoind_source import BitcoindPrograms
from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.free_ports import free_port
from regtest.node import PAYER, RegtestNode
from regtest.service import RunningService
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def quiet_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    """It has no ZMQ at all."""
    with RegtestNode(bitcoind_binary, zmq=False) as quiet:
        yield quiet.fund()


@pytest.mark.parametrize("kind", TWO_COMBINATIONS, ids="-".join)
def test_everything_happens_without_zmq(kind: tuple[str, str], quiet_node: RegtestNode, make_till: MakeTill) -> None:
    till = make_till(quiet_node, *kind, zmq=False)
    payment = till.create("small", "unplugged")
    quiet_node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    for depth in (1, 2):
        quiet_node.mine(1)
        assert wait_depth(till, payment["payment_id"], depth) == "confirming"
    quiet_node.mine(1)
    assert till.wait_payment(payment["payment_id"], "forwarded")["credited"] == 400
    bumped = till.create("small", "unplugged-bump")
    txid = quiet_node.pay(bumped["address"], 40_000)
    till.wait_payment(bumped["payment_id"], "confirming")
    other = quiet_node.bump(txid)
    shown = till.wait_payment(bumped["payment_id"], lambda p: p["tx_hash"] == other)
    assert (shown["received_sat"], shown["flags"]) == (40_000, ["replaced"])
    missed = till.create("small", "unplugged-block")
    raw = quiet_node.rpc(
        "send", {missed["address"]: "0.0004"}, None, "unset", 5, {"add_to_wallet": False}, wallet=PAYER
    )["hex"]
    quiet_node.mine_with([raw])
    till.wait_payment(missed["payment_id"], lambda p: p["confirmations"] == 1)
    quiet_node.reorg(1, with_mempool=True)
    till.wait_payment(missed["payment_id"], lambda p: p["flags"] == ["reorged"])
    quiet_node.mine(3)
    for one in (bumped, missed):
        till.wait_payment(one["payment_id"], "forwarded")
    assert till.entries("unplugged") == till.entries("unplugged-bump") == [("payment", 400)]
    expired = [line for line in till.log() if line["level"] == "error"]
    assert expired == []
    till.stop()


def wait_depth(till: RunningService, payment_id: str, depth: int) -> str:
    return str(till.wait_payment(payment_id, lambda p: p["confirmations"] == depth)["status"])


def test_endpoints_where_nobody_publishes(node: RegtestNode, make_till: MakeTill) -> None:
    """The node has the topics, but the settings name other ports: said once, and all is seen by the timer."""
    nobody = {f"zmq_{topic}": f"tcp://127.0.0.1:{free_port()}" for topic in ("rawtx", "hashblock")}
    till = make_till(node, settings={"node": nobody})
    wait_for(lambda: till.log_says("Nothing publishes at node.zmq_rawtx or node.zmq_hashblock"))
    payment = till.create("small", "deaf")
    node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    node.mine(3)
    till.wait_payment(payment["payment_id"], "forwarded")
    assert till.log_says("Nothing publishes at node.zmq_rawtx") == 1
    till.stop()


def test_both_topics_on_one_endpoint(bitcoind_binary: BitcoindPrograms, make_till: MakeTill) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    arguments = [f"-zmqpub{topic}={endpoint}" for topic in ("rawtx", "hashblock")]
    with RegtestNode(bitcoind_binary, zmq=False, extra_args=[*arguments, "-zmqpubrawtxhwm=10000"]) as node:
        node.fund()
        # An hour between passes: what is seen here was heard.
        settings = {
            "node": {"zmq_rawtx": endpoint, "zmq_hashblock": endpoint},
            "payments": {"check_interval_seconds": 3600},
        }
        till = make_till(node, zmq=False, settings=settings)
        payment = till.create("small", "shared")
        node.pay(payment["address"], 40_000)
        till.wait_payment(payment["payment_id"], "confirming", timeout=10)
        for depth in (1, 2, 3):
            node.mine(1)
            wait_depth(till, payment["payment_id"], depth)
        till.wait_payment(payment["payment_id"], "forwarded", timeout=10)
        till.stop()


def test_a_forger_is_not_believed(
    quiet_node: RegtestNode, bitcoind_binary: BitcoindPrograms, make_till: MakeTill
) -> None:
    """Somebody else has the port that we listen to, and publishes what he likes."""
    with zmq.Context() as context, context.socket(zmq.PUB) as forger:
        port = forger.bind_to_random_port("tcp://127.0.0.1")
        endpoint = f"tcp://127.0.0.1:{port}"
        real = [f"-zmqpub{topic}=tcp://127.0.0.1:{free_port()}" for topic in ("rawtx", "hashblock")]
        with RegtestNode(bitcoind_binary, zmq=False, extra_args=real) as node:
            node.fund()
            settings = {"node": {"zmq_rawtx": endpoint, "zmq_hashblock": endpoint}}
            till = make_till(node, zmq=False, settings=settings)
            payment = till.create("small", "forged")
            raw = node.rpc(
                "send", {payment["address"]: "0.0004"}, None, "unset", 5, {"add_to_wallet": False}, wallet=PAYER
            )["hex"]
            lies = [
                (b"rawtx", bytes.fromhex(raw)),
                (b"rawtx", b"\x02\x00\x00\x00 nonsense"),
                (b"rawtx", b""),
                (b"hashblock", b"\xff" * 32),
                (b"hashblock", b"short"),
                (b"rawtx", bytes.fromhex(raw)[:-10]),
            ]
            for round_ in range(20):
                for number, (topic, body) in enumerate(lies):
                    forger.send_multipart([topic, body, (round_ * 6 + number).to_bytes(4, "little")])
                forger.send_multipart([b"rawtx"])
            assert till.look(payment["payment_id"]) == payment
            assert till.events_of(payment["payment_id"]) == ["payment.created"]
            node.rpc("sendrawtransaction", raw)
            till.wait_payment(payment["payment_id"], "confirming")
            node.mine(3)
            assert till.wait_payment(payment["payment_id"], "forwarded")["credited"] == 400
            assert till.stop() == 0
