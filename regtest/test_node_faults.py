"""A node that answers badly, went back, is on another network, or no longer has what it should have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regtest.bitcoind_source import BitcoindPrograms
from regtest.conftest import MakeTill
from regtest.node import RegtestNode
from regtest.rpc_line import RpcLine, Trouble
from regtest.service import RunningService

MakeNode = Callable[..., RegtestNode]


@pytest.fixture(scope="module")
def line(own_node: RegtestNode) -> Iterator[RpcLine]:
    with RpcLine(own_node) as opened:
        yield opened


@pytest.fixture(scope="module")
def till(own_node: RegtestNode, line: RpcLine, make_till: MakeTill) -> Iterator[RunningService]:
    """It reaches its node by the line."""
    service = make_till(own_node, "sqlite", "forwarding", settings={"node": {"rpc_url": line.url}})
    yield service
    service.stop()


def seen(till: RunningService, user_id: str) -> str:
    """The id of a payment whose full amount is in the mempool."""
    payment = till.create("small", user_id)
    till.node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    return str(payment["payment_id"])


def detail(till: RunningService) -> str:
    """What /readyz says is the matter; empty when nothing is."""
    answer = till.ask("GET", "/readyz", key=None)
    return "" if answer.status == 200 else str(answer.json()["reasons"][0]["detail"])


def credited_once(till: RunningService, payment_id: str, user_id: str) -> None:
    assert till.wait_payment(payment_id, "forwarded")["credited"] == 400
    assert till.entries(user_id) == [("payment", 400)]
    told = till.events_of(payment_id)
    assert (told.count("credits.added"), told.count("payment.dropped"), told.count("payment.reorged")) == (1, 0, 0)


SAID = {
    Trouble.HUNG_UP: "ended the connection",
    Trouble.BUSY: "too many RPC calls waiting",
    Trouble.FORBIDDEN: "rpcwhitelist",
    Trouble.LOGIN: "refuses the login",
    Trouble.STARTING: "is starting",
    Trouble.CUT: "ended the connection",
    Trouble.HALF: "is not bitcoind",
    Trouble.LOST: "ended the connection",
}


@pytest.mark.parametrize(("kind", "words"), SAID.items(), ids=[kind.name.lower() for kind in SAID])
def test_no_answer_is_any_good(till: RunningService, line: RpcLine, kind: Trouble, words: str) -> None:
    """It is said in words; people can buy; nothing is credited, and nothing undone."""
    user_id = f"bad-{kind.name}"
    payment_id = seen(till, user_id)
    before = till.payment(payment_id)
    with line.trouble(kind):
        till.node.mine(3)
        till.wait("a reason", lambda: till.not_ready() == ["node"])
        assert words in detail(till)
        assert till.create("small", user_id)["status"] == "pending"
        assert till.payment(payment_id) == before
        assert till.entries(user_id) == []
    credited_once(till, payment_id, user_id)
    till.wait_level()


@pytest.mark.parametrize("method", ["getblock", "getblockheader", "getrawmempool", "gettxout"])
@pytest.mark.parametrize("kind", [Trouble.CUT, Trouble.BUSY], ids=lambda kind: kind.name.lower())
def test_one_question_has_no_answer(till: RunningService, line: RpcLine, kind: Trouble, method: str) -> None:
    """Wherever a pass breaks off, the next one finishes its work."""
    user_id = f"{kind.name}-{method}"
    payment_id = seen(till, user_id)
    before = line.asked[method]
    with line.trouble(kind, method):
        till.node.mine(3)
        till.wait("the question, in two passes", lambda: line.asked[method] > before + 3)
        assert till.entries(user_id) == []
    credited_once(till, payment_id, user_id)


@pytest.mark.parametrize("kind", [Trouble.LOST, Trouble.TWICE], ids=lambda kind: kind.name.lower())
def test_everything_is_done_more_often_than_we_know(till: RunningService, line: RpcLine, kind: Trouble) -> None:
    """The node takes the sweep, and we do not hear of it, or it is handed over twice: the coins leave once."""
    user_id = f"sweep-{kind.name}"
    payment_id = seen(till, user_id)
    with line.trouble(kind, "sendrawtransaction"):
        before = line.asked["sendrawtransaction"]
        till.node.mine(3)
        # A lost answer is asked for three times; then the pass ends, and the next one finds the stored sweep.
        tries = 4 if kind is Trouble.LOST else 1
        till.wait("the broadcast", lambda: line.asked["sendrawtransaction"] >= before + tries)
    credited_once(till, payment_id, user_id)
    (coin,) = till.payment(payment_id)["transactions"]
    (block,) = till.node.mine(1)
    sweep = till.node.rpc("getrawtransaction", till.payment(payment_id)["forwarding_tx_hash"], 1, block)
    assert [(i["txid"], i["vout"]) for i in sweep["vin"]] == [(coin["txid"], coin["vout"])]
    assert sweep["confirmations"] == 1


def test_the_wallet_was_made_and_nobody_told_us(own_node: RegtestNode, line: RpcLine, make_till: MakeTill) -> None:
    before = line.asked["importdescriptors"]
    with line.trouble(Trouble.LOST, "createwallet", "importdescriptors"):
        till = make_till(own_node, settings={"node": {"rpc_url": line.url}})
        till.wait("the import", lambda: line.asked["importdescriptors"] > before)
    wallet = till.settings["node"]["wallet"]
    payment_id = seen(till, "twin")
    txid = till.payment(payment_id)["tx_hash"]
    till.wait("the wallet's word", lambda: txid in wallet_saw(own_node, wallet))
    own_node.mine(3)
    credited_once(till, payment_id, "twin")
    till.stop()


def wallet_saw(node: RegtestNode, wallet: str) -> set[str]:
    return {row["txid"] for row in node.rpc("listsinceblock", wallet=wallet)["transactions"]}


def test_the_wallet_was_renamed_while_the_node_was_down(own_node: RegtestNode, make_till: MakeTill) -> None:
    """The node starts all the same, and the wallet is made again from the descriptor, back to our beginning."""
    till = make_till(own_node)
    wallet = till.settings["node"]["wallet"]
    early = seen(till, "early-bird")
    own_node.mine(3)
    credited_once(till, early, "early-bird")
    own_node.stop()
    folder = own_node.datadir / "regtest" / "wallets"
    (folder / wallet).rename(folder / "renamed")
    own_node.start()
    payment_id = seen(till, "renamed")
    own_node.mine(3)
    credited_once(till, payment_id, "renamed")
    wanted = {till.payment(one)["tx_hash"] for one in (early, payment_id)}
    till.wait("the wallet again", lambda: wallet in own_node.rpc("listwallets"))
    till.wait("its memory", lambda: wallet_saw(own_node, wallet) >= wanted)
    assert till.log_says("knew payment transaction") == 0, "the second witness found something we had missed"
    till.stop()


def test_a_kill_rolls_the_node_back(till: RunningService, own_node: RegtestNode) -> None:
    """What it had not written to its disk is gone, blocks and mempool: it does not know our block any more."""
    own_node.restart()  # all that was until now is on the disk
    payment_id, waiting = seen(till, "rolled"), seen(till, "rolled-2")
    raw = own_node.rpc("getrawtransaction", till.payment(waiting)["tx_hash"])
    own_node.mine_with([till.payment(payment_id)["tx_hash"]])
    own_node.mine_empty(2)
    credited_once(till, payment_id, "rolled")
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
    credited_once(till, payment_id, "rolled")
    own_node.mine(3)
    credited_once(till, waiting, "rolled-2")


def test_headers_of_lost_blocks_come_back_before_the_blocks(till: RunningService, own_node: RegtestNode) -> None:
    """As after any start: peers send headers first. It knows our block again, as one that is not in its chain."""
    own_node.restart()
    begin = own_node.height
    payment_id, waiting = seen(till, "headers-first"), till.create("small", "waiting")["payment_id"]
    own_node.mine(3)
    credited_once(till, payment_id, "headers-first")
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
    credited_once(till, payment_id, "headers-first")
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
    till.wait("the new figure", lambda: "3 more headers than blocks" in detail(till))
    assert (till.look(payment_id)["status"], shown["credited"], till.entries("headers")) == ("confirming", 0, [])
    for block in blocks[1:]:
        own_node.rpc("submitblock", block)
    credited_once(till, payment_id, "headers")
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
            assert "node.network is regtest" in detail(till)
            own_node.mine(3)
            assert till.look(payment_id) == before
        finally:
            line.node = own_node
    credited_once(till, payment_id, "elsewhere")


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
    assert f"pruned block {node.rpc('getblockhash', cursor + 1)} at height {cursor + 1}" in detail(till)
    assert "getblockfrompeer" in detail(till)
    assert till.create("small", "pruned")["status"] == "pending"
    (peer,) = node.rpc("getpeerinfo")
    for height in range(cursor + 1, kept_from):
        node.rpc("getblockfrompeer", node.rpc("getblockhash", height), peer["id"])
    till.wait_level(timeout=60)
    credited_once(till, payment["payment_id"], "pruned")
    till.stop()
