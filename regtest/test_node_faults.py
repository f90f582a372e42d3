"""A node that answers badly, or not at all, or whose wallet is not what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from regtest.conftest import MakeTill
from regtest.node import RegtestNode
from regtest.rpc_line import RpcLine, Trouble
from regtest.service import RunningService
from regtest.small_package import credited_without_a_stir, seen

MakeNode = Callable[..., RegtestNode]


@pytest.fixture(scope="module")
def till(own_node: RegtestNode, line: RpcLine, make_till: MakeTill) -> Iterator[RunningService]:
    """It reaches its node by the line."""
    service = make_till(own_node, "sqlite", "forwarding", settings={"node": {"rpc_url": line.url}})
    yield service
    service.stop()


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
        assert words in till.why_not_ready()
        assert till.create("small", user_id)["status"] == "pending"
        assert till.payment(payment_id) == before
        assert till.entries(user_id) == []
    credited_without_a_stir(till, payment_id, user_id)
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
    credited_without_a_stir(till, payment_id, user_id)


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
    credited_without_a_stir(till, payment_id, user_id)
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
    credited_without_a_stir(till, payment_id, "twin")
    till.stop()


def wallet_saw(node: RegtestNode, wallet: str) -> set[str]:
    return {row["txid"] for row in node.rpc("listsinceblock", wallet=wallet)["transactions"]}


def test_the_wallet_was_renamed_while_the_node_was_down(own_node: RegtestNode, make_till: MakeTill) -> None:
    """The node starts all the same, and the wallet is made again from the descriptor, back to our beginning."""
    till = make_till(own_node)
    wallet = till.settings["node"]["wallet"]
    early = seen(till, "early-bird")
    own_node.mine(3)
    credited_without_a_stir(till, early, "early-bird")
    own_node.stop()
    folder = own_node.datadir / "regtest" / "wallets"
    (folder / wallet).rename(folder / "renamed")
    own_node.start()
    payment_id = seen(till, "renamed")
    own_node.mine(3)
    credited_without_a_stir(till, payment_id, "renamed")
    wanted = {till.payment(one)["tx_hash"] for one in (early, payment_id)}
    till.wait("the wallet again", lambda: wallet in own_node.rpc("listwallets"))
    till.wait("its memory", lambda: wallet_saw(own_node, wallet) >= wanted)
    assert till.log_says("knew payment transaction") == 0, "the second witness found something we had missed"
    till.stop()
