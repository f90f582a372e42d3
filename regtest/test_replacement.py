"""Transactions that another one takes the place of, in every way that a payer or a miner can bring it about.

What test_reorg.py shows of bumps and double spends is not shown here again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from payments.address import script_pubkey
from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.crafted_tx import double_spend, instead, malleated, signed
from regtest.free_coins import ANYBODYS_SCRIPT, FreeCoin, free_coins
from regtest.node import PAYER, NodeError, RegtestNode, to_btc, to_sat
from regtest.service import RunningService
from regtest.small_package import credited_once


@pytest.fixture(scope="module", params=TWO_COMBINATIONS, ids="-".join)
def till(request: pytest.FixtureRequest, node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    service = make_till(node, *request.param)
    yield service
    service.stop()


def seen(till: RunningService, user_id: str, **options: Any) -> tuple[dict[str, Any], str]:
    """A payment in the mempool, and its transaction."""
    payment = till.create("small", user_id)
    txid = till.node.pay(payment["address"], 40_000, **options)
    till.wait_payment(payment["payment_id"], "confirming")
    return payment, txid


def states(payment: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    """By txid: where each transaction stands, and what replaced it."""
    return {t["txid"]: (t["state"], t.get("replaced_by")) for t in payment["transactions"]}


def test_one_that_said_it_would_not_be_replaced(till: RunningService, node: RegtestNode) -> None:
    """Without the mark of BIP 125; nodes replace it all the same."""
    payment, txid = seen(till, "final", replaceable=False)
    assert node.rpc("getmempoolentry", txid)["bip125-replaceable"] is False
    other = node.rpc("sendrawtransaction", double_spend(node, txid))
    gone = till.wait_payment(payment["payment_id"], "pending")
    assert (gone["received_sat"], states(gone)) == (0, {txid: ("replaced", other)})
    node.mine(3)
    till.wait_level()
    assert till.look(payment["payment_id"])["status"] == "pending"
    assert till.entries("final") == []


def test_a_replacement_that_pays_less_and_one_that_pays_again(till: RunningService, node: RegtestNode) -> None:
    payment, txid = seen(till, "haggler")
    less = node.rpc("sendrawtransaction", instead(node, txid, {payment["address"]: 15_000}))
    short = till.wait_payment(payment["payment_id"], "pending")
    assert (short["received_sat"], short["remaining_sat"]) == (15_000, 25_000)
    assert set(short["flags"]) == {"underpaid", "replaced"}
    full = node.rpc("sendrawtransaction", instead(node, txid, {payment["address"]: 40_000}, fee_sat=60_000))
    shown = till.wait_payment(payment["payment_id"], "confirming")
    assert (shown["received_sat"], shown["tx_hash"]) == (40_000, full)
    found = states(shown)
    assert (found[less], found[full]) == (("replaced", full), ("mempool", None))
    assert found[txid][0] == "replaced"
    node.mine(3)
    credited_once(till, payment["payment_id"], "haggler")


def test_the_coins_go_to_another_payment(till: RunningService, node: RegtestNode) -> None:
    first, txid = seen(till, "undecided-1")
    second = till.create("small", "undecided-2")
    other = node.rpc("sendrawtransaction", instead(node, txid, {second["address"]: 40_000}))
    till.wait_payment(second["payment_id"], "confirming")
    gone = till.wait_payment(first["payment_id"], "pending")
    assert (gone["received_sat"], states(gone)) == (0, {txid: ("replaced", other)})
    node.mine(3)
    credited_once(till, second["payment_id"], "undecided-2")
    assert till.entries("undecided-1") == []


def test_the_same_transaction_under_another_txid(till: RunningService, node: RegtestNode) -> None:
    """Somebody on its way wrote the signature of an old-style input in another way, and a miner took that one."""
    payment = till.create("small", "malleable")
    address = node.new_address("legacy")
    funding = node.pay(address, 100_000)
    node.mine(1)
    coin = next(o for o in node.rpc("gettransaction", funding, wallet=PAYER)["details"] if o["address"] == address)
    outputs = [{payment["address"]: to_btc(40_000)}, {node.new_address(): to_btc(55_000)}]
    raw = signed(node, node.rpc("createrawtransaction", [{"txid": funding, "vout": coin["vout"]}], outputs))
    txid = node.rpc("sendrawtransaction", raw)
    till.wait_payment(payment["payment_id"], "confirming")
    changed = malleated(raw)
    other = node.rpc("decoderawtransaction", changed)["txid"]
    assert other != txid
    node.mine_with([changed])
    node.mine(2)
    done = till.wait_payment(payment["payment_id"], "forwarded")
    assert (done["tx_hash"], done["received_sat"], done["credited"]) == (other, 40_000, 400)
    assert states(done) == {txid: ("replaced", other), other: ("confirmed", None)}
    assert till.entries("malleable") == [("payment", 400)]


def test_what_it_hangs_on_is_replaced(till: RunningService, node: RegtestNode) -> None:
    """It spends coins that were not confirmed; their transaction loses to another one, and both vanish."""
    payment = till.create("small", "dangling")
    parent = node.pay(node.new_address(), 60_000)
    details = node.rpc("gettransaction", parent, None, True, wallet=PAYER)["decoded"]["vout"]
    coin = next(out for out in details if to_sat(out["value"]) == 60_000)
    raw = node.rpc(
        "createrawtransaction", [{"txid": parent, "vout": coin["n"]}], [{payment["address"]: to_btc(40_000)}]
    )
    child = node.rpc("sendrawtransaction", signed(node, raw), 0)
    till.wait_payment(payment["payment_id"], "confirming")
    node.mine_with([double_spend(node, parent, fee_sat=40_000)])
    gone = till.wait_payment(payment["payment_id"], "pending")
    assert (gone["received_sat"], states(gone)[child][0]) == (0, "dropped")
    node.mine(3)
    till.wait_level()
    assert till.look(payment["payment_id"])["status"] == "pending"
    assert till.entries("dangling") == []


def test_the_end_of_a_long_chain(till: RunningService, node: RegtestNode) -> None:
    """Twenty transactions that hang on each other, and one more upon ours: only our output counts."""
    payment = till.create("small", "chained")
    (coin,) = free_coins(node, 1)
    for _ in range(20):
        value = coin.value_sat - 500
        coin = FreeCoin(node.rpc("sendrawtransaction", coin.pay((value, ANYBODYS_SCRIPT))), 0, value)
    txid = node.rpc("sendrawtransaction", coin.spend(script_pubkey(payment["address"], "regtest"), 40_000))
    assert node.rpc("getmempoolentry", txid)["ancestorcount"] == 21
    shown = till.wait_payment(payment["payment_id"], "confirming")
    assert shown["received_sat"] == 40_000
    change = FreeCoin(txid, 1, coin.value_sat - 40_000 - 1_000)
    node.rpc("sendrawtransaction", change.pay((change.value_sat - 5_000, ANYBODYS_SCRIPT)))  # pays for its parents
    node.mine(3)
    credited_once(till, payment["payment_id"], "chained")


def crowd_in(node: RegtestNode, coins: list[FreeCoin]) -> None:
    """95 kB for each coin, at six times the feerate of a payment."""
    for coin in coins:
        node.rpc("sendrawtransaction", coin.pay(*[(0, ANYBODYS_SCRIPT)] * 2_200), 0)


def test_crowded_out_of_the_mempool(make_node: Callable[..., RegtestNode], make_till: MakeTill) -> None:
    """A mempool of five megabytes, filled with what pays more: the node forgets our payment, a miner does not."""
    node = make_node(extra_args=["-maxmempool=5", "-acceptnonstdtxn=1"]).fund(10)
    till = make_till(node)
    crowd = free_coins(node, 60, 3_000_000)
    payment, txid = seen(till, "crowded")
    raw = node.rpc("getrawtransaction", txid)
    with pytest.raises(NodeError, match="mempool full"):  # which the last of them hears
        crowd_in(node, crowd)
    assert txid not in node.mempool()
    gone = till.wait_payment(payment["payment_id"], "pending")
    assert (gone["received_sat"], states(gone)) == (0, {txid: ("dropped", None)})
    assert till.events_of(payment["payment_id"])[-1] == "payment.dropped"
    node.mine_with([raw])
    shown = till.wait_payment(payment["payment_id"], "confirming")
    assert (shown["flags"], shown["confirmations"]) == ([], 1)
    node.mine(2)
    credited_once(till, payment["payment_id"], "crowded")
    till.stop()
