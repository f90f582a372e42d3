"""The private node does what other tests build on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import zmq

from regtest.child_server import DidNotStart
from regtest.node import NodeError, RegtestNode, to_btc, to_sat
from tests.waiting import wait_for


def test_pays_and_confirms_exact_satoshi(node: RegtestNode) -> None:
    address = node.new_address()
    txid = node.pay(address, 40_001)
    assert txid in node.mempool()
    (block,) = node.mine()
    outputs = node.rpc("getrawtransaction", txid, 1, block)["vout"]
    (ours,) = [output for output in outputs if output["scriptPubKey"].get("address") == address]
    assert to_sat(ours["value"]) == 40_001
    assert node.cli("getblockhash", str(node.height)) == block


def test_satoshi_and_btc_are_exact() -> None:
    assert to_btc(2_099_999_999_999_999) == Decimal("20999999.99999999")
    assert to_sat(Decimal("0.00000001")) == 1
    with pytest.raises(ValueError, match="whole number"):
        to_sat(Decimal("0.000000001"))


def test_many_payments_between_two_blocks(node: RegtestNode) -> None:
    txids = {node.pay(node.new_address(), 10_000 + number) for number in range(60)}
    assert len(txids) == 60
    assert txids <= node.mempool()
    node.mine()


def test_replacement_and_errors(node: RegtestNode) -> None:
    txid = node.pay(node.new_address(), 5_000)
    replacement = node.bump(txid)
    assert replacement in node.mempool()
    assert txid not in node.mempool()
    node.mine()
    with pytest.raises(NodeError) as unknown:
        node.rpc("getblockheader", "00" * 32)
    assert unknown.value.code == -5


def test_reorganisation_brings_transactions_back(fresh_node: RegtestNode) -> None:
    fresh_node.fund(coins=2)
    txid = fresh_node.pay(fresh_node.new_address(), 50_000)
    old = fresh_node.mine(2)
    new = fresh_node.reorg(2)
    assert len(new) == 3
    assert fresh_node.rpc("getblockheader", old[-1])["confirmations"] == -1
    assert txid in fresh_node.mempool()


def test_keeps_ports_and_money_over_a_crash(fresh_node: RegtestNode) -> None:
    fresh_node.fund(coins=2)
    before = fresh_node.rpc_url, fresh_node.zmq_rawtx, fresh_node.height
    cookie = fresh_node.cookie_file.read_text()
    fresh_node.restart()
    assert (fresh_node.rpc_url, fresh_node.zmq_rawtx, fresh_node.height) == before
    assert fresh_node.cookie_file.read_text() != cookie
    fresh_node.kill()
    fresh_node.start()
    assert fresh_node.funded


def test_a_suspended_node_accepts_and_says_nothing(fresh_node: RegtestNode) -> None:
    fresh_node.suspend()
    with pytest.raises(TimeoutError):
        fresh_node.rpc("getblockcount", timeout=0.3)
    fresh_node.resume()
    assert fresh_node.height == 0


def test_publishes_transactions_and_blocks(fresh_node: RegtestNode) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVTIMEO, 200)
        socket.subscribe(b"hashblock")
        socket.connect(fresh_node.zmq_hashblock)

        def heard() -> bytes | None:
            (mined,) = fresh_node.mine()
            try:
                _, body, _ = socket.recv_multipart()
            except zmq.Again:  # the subscription had not reached the node yet
                return None
            return body if body.hex() == mined else None

        assert wait_for(heard)
    assert {entry["hwm"] for entry in fresh_node.rpc("getzmqnotifications")} == {10_000}


def test_two_nodes_agree_after_a_split(make_node: Callable[..., RegtestNode]) -> None:
    left, right = make_node(p2p=True), make_node(p2p=True)
    left.mine(2)
    right.mine(3)
    left.connect(right)
    left.wait_for_tip(right.tip)
    left.disconnect()
    assert left.height == 3


def test_says_why_it_does_not_start(make_node: Callable[..., RegtestNode]) -> None:
    with pytest.raises(DidNotStart, match="nosuchoption"):
        make_node(extra_args=["-nosuchoption=1"])


def test_ends_with_its_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time; from regtest.node import RegtestNode; n = RegtestNode().start(); "
            "print(n.pid, n.datadir, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert owner.stdout is not None
    with owner.stdout:
        pid, datadir = owner.stdout.readline().split()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_for(lambda: not _exists(int(pid)), what="the node to end")
    wait_for(lambda: not Path(datadir).exists(), what="its folder to go")


def _exists(pid: int) -> bool:
    try:
        # A zombie waits for its new parent only; it runs nothing any more.
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_guard_does_not_shoot_a_stopped_node(fresh_node: RegtestNode) -> None:
    pid = fresh_node.pid
    fresh_node.stop()
    assert not _exists(pid)
    assert os.path.isdir(fresh_node.datadir)


def test_no_payment_can_look_like_an_overlay_protocol(node: RegtestNode) -> None:
    # Wallets choose locktimes down to height - 99 at random; 21 would be refused by Knots.
    assert node.height - 99 > 21
