"""A node that is not where it was: it lost blocks, knows only their headers, pruned them, or is of another network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regtest.bitcoind_source import BitcoindPrograms
from regtest.conftest import MakeTill
from regtest.node import RegtestNode
from regtest.rpc_line import RpcLine
from regtest.service import RunningService
from regtest.small_package import credited_without_a_stir, seen

MakeNode = Callable[..., RegtestNode]


@pytest.fixture(scope="module")
def till(own_node: RegtestNode, line: RpcLine, make_till: MakeTill) -> Iterator[RunningService]:
    """It reaches its node by the line."""
    service = make_till(own_node, "sqlite", "forwarding", settings={"node": {"rpc_url": line.url}})
    yield service
    service.stop()


def test_a_kill_rolls_the_node_back(till: RunningService, own_node: RegtestNode) -> None:
    """What it had not written to its disk is gone, blocks and mempool: it does not know our block any more."""
    own_node.restart()  # all that was until now is on the disk
    payment_id, waiting = seen(till, "rolled"), seen(till, "rolled-2")
    raw = own_node.rpc("getrawtransaction", till.payment(waiting)["tx_hash"])
    own_node.mine_with([till.payment(payment_id)["tx_hash"]])
    own_node.mine_empty(2)
    credited_without_a_stir(till, payment_id, "rolled")
    paid, seen_only = till.payment(payment_id), till.payment(waiting)
    height = own_node.height
    blocks = [own_node.rpc("getblock", own_node.rpc("getblockhash", height - up), 0) for up in (2, 1, 0)]
    own_node.kill()
    own_node.start()
    assert own_node.height < height, "nothing was forgotten: this shows nothing"
    till.wait("the reason", lambda: till.not_ready() == ["node-behind"])
    own_node.mine(1)  # its miners go on where it stands; it may still come back to our block
    assert till.look(payment_id) == paid
    assert till.look(waiting) == seen_only, "whatever is in its mempool now"
    assert till.balance("rolled") == 400
    for block in blocks:
        own_node.rpc("submitblock", block)
    own_node.rpc("sendrawtransaction", raw)
    till.wait_level()
    credited_without_a_stir(till, payment_id, "rolled")
    own_node.mine(3)
    credited_without_a_stir(till, waiting, "rolled-2")


def test_headers_of_lost_blocks_come_back_before_the_blocks(till: RunningService, own_node: RegtestNode) -> None:
    """As after any start: peers send headers first. It knows our block again, as one that is not in its chain."""
    own_node.restart()
    begin = own_node.height
    payment_id, waiting = seen(till, "headers-first"), till.create("small", "waiting")["payment_id"]
    own_node.mine(3)
    credited_without_a_stir(till, payment_id, "headers-first")
    paid, height = till.payment(payment_id), own_node.height
    blocks = [own_node.rpc("getblock", own_node.rpc("getblockhash", at), 0) for at in range(begin + 1, height + 1)]
    own_node.kill()
    own_node.start()
    assert own_node.height < height, "nothing was forgotten: this shows nothing"
    for block in blocks:
        own_node.rpc("submitheader", block[:160])
    till.wait("the reasons", lambda: till.not_ready() == ["syncing", "node-behind"])
    for block in blocks:
        till.look(waiting)
        assert till.payment(payment_id) == paid
        assert till.balance("headers-first") == 400
        assert "node-behind" in till.not_ready()
        own_node.rpc("submitblock", block)
    till.wait_level()
    credited_without_a_stir(till, payment_id, "headers-first")
    assert till.payment(payment_id)["flags"] == paid["flags"]


def copy_chain(source: RegtestNode, target: RegtestNode) -> None:
    for height in range(1, source.height + 1):
        target.rpc("submitblock", source.rpc("getblock", source.rpc("getblockhash", height), 0))


def test_headers_come_before_blocks(till: RunningService, own_node: RegtestNode, make_node: MakeNode) -> None:
    """A node that knows of blocks which it has not checked: deep enough by what it has, and no credit yet."""
    payment_id = seen(till, "headers")
    own_node.mine(2)
    ahead = make_node(zmq=False)
    copy_chain(own_node, ahead)
    blocks = [ahead.rpc("getblock", block, 0) for block in ahead.mine(4)]
    for block in blocks:
        own_node.rpc("submitheader", block[:160])
    till.wait("the reason", lambda: till.not_ready() == ["syncing"])
    own_node.rpc("submitblock", blocks[0])
    shown = till.wait_payment(payment_id, lambda p: p["confirmations"] == 3)
    till.wait("the new figure", lambda: "3 more headers than blocks" in till.why_not_ready())
    assert (till.look(payment_id)["status"], shown["credited"], till.entries("headers")) == ("confirming", 0, [])
    for block in blocks[1:]:
        own_node.rpc("submitblock", block)
    credited_without_a_stir(till, payment_id, "headers")
    till.wait_level()


class SignetNode(RegtestNode):
    """Another network's node, alone in the world."""

    @property
    def cookie_file(self) -> Path:
        return self.datadir / "signet" / ".cookie"

    def command(self) -> list[str]:
        return ["-signet" if word == "-regtest" else word for word in super().command()] + ["-connect=0"]


def test_another_network_answers_all_at_once(
    till: RunningService, own_node: RegtestNode, line: RpcLine, bitcoind_binary: BitcoindPrograms
) -> None:
    """Somebody points the same address at another node: nothing of it is recorded, nothing is dropped."""
    payment_id = seen(till, "elsewhere")
    before = till.payment(payment_id)
    with SignetNode(bitcoind_binary, zmq=False) as other:
        line.node = other
        try:
            till.wait("the reason", lambda: till.not_ready() == ["wrong-chain"])
            assert "node.network is regtest" in till.why_not_ready()
            own_node.mine(3)
            assert till.look(payment_id) == before
        finally:
            line.node = own_node
    credited_without_a_stir(till, payment_id, "elsewhere")


def test_pruned_past_our_cursor(make_node: MakeNode, make_till: MakeTill) -> None:
    """We were away for longer than the node keeps blocks; it says which block, and a peer has it."""
    node = make_node(p2p=True, extra_args=["-prune=1", "-fastprune"]).fund(5)
    archive = make_node(p2p=True, zmq=False)
    copy_chain(node, archive)
    archive.connect(node)
    till = make_till(node)
    payment = till.create("small", "pruned")
    till.stop()
    node.pay(payment["address"], 40_000)
    cursor = node.height
    node.mine(3)
    archive.wait_for_tip(node.tip)
    archive.mine(700)
    node.wait_for_tip(archive.tip)
    node.rpc("pruneblockchain", node.height - 300)
    kept_from = node.rpc("getblockchaininfo")["pruneheight"]
    assert kept_from > cursor + 3
    till.start(ready=False)
    till.wait("the reason", lambda: till.not_ready() == ["node"])
    assert f"pruned block {node.rpc('getblockhash', cursor + 1)} at height {cursor + 1}" in till.why_not_ready()
    assert "getblockfrompeer" in till.why_not_ready()
    assert till.create("small", "pruned")["status"] == "pending"
    (peer,) = node.rpc("getpeerinfo")
    for height in range(cursor + 1, kept_from):
        node.rpc("getblockfrompeer", node.rpc("getblockhash", height), peer["id"])
    till.wait_level(timeout=60)
    credited_without_a_stir(till, payment["payment_id"], "pruned")
    till.stop()
