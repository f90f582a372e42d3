"""Blocks that are taken back, payments that are replaced, dropped, double-spent, and come again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.crafted_tx import double_spend
from regtest.node import PAYER, RegtestNode
from regtest.service import RunningService
from storage import sweep_versions
from storage.database import Database
from tests.storage import invariants

TWO_HOURS = 2 * 3600


@pytest.fixture(scope="module", params=TWO_COMBINATIONS, ids="-".join)
def till(request: pytest.FixtureRequest, own_node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    service = make_till(own_node, *request.param)
    yield service
    service.stop()


def seen(till: RunningService, user_id: str) -> tuple[str, str]:
    """A payment in the mempool: its id and its transaction."""
    payment = till.create("small", user_id)
    txid = till.node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    return payment["payment_id"], txid


def states(payment: dict[str, Any]) -> dict[str, tuple[str, int]]:
    return {t["txid"]: (t["state"], t["confirmations"]) for t in payment["transactions"]}


def satoshi_are_level(till: RunningService) -> list[str]:
    """Compare the accounts with coins and sweeps; the sweeps that are still watched."""

    async def read() -> list[str]:
        async with Database(till.database_url) as database:
            await database.read(invariants.check)
            return [sweep.txid for sweep in await database.read(sweep_versions.sweeps_to_watch)]

    return asyncio.run(read())


def test_one_block_back_before_it_counts(till: RunningService, own_node: RegtestNode) -> None:
    payment_id, txid = seen(till, "shallow")
    own_node.mine(1)
    till.wait_payment(payment_id, lambda p: p["confirmations"] == 1)
    own_node.reorg(1)
    back = till.wait_payment(payment_id, lambda p: p["flags"])
    assert (back["status"], back["flags"], states(back)) == ("confirming", ["reorged"], {txid: ("mempool", 0)})
    assert back["transactions"][0]["block_height"] is None
    own_node.mine(3)
    done = till.wait_payment(payment_id, "forwarded")
    assert (states(done), done["credited"]) == ({txid: ("confirmed", 3)}, 400)
    assert till.entries("shallow") == [("payment", 400)]
    assert till.events_of(payment_id).count("payment.reorged") == 1


def test_credited_and_mined_again_elsewhere(till: RunningService, own_node: RegtestNode) -> None:
    payment_id, txid = seen(till, "moved")
    own_node.mine(3)
    before = till.wait_payment(payment_id, "forwarded")
    own_node.reorg(3, longer_by=2, with_mempool=True)
    after = till.wait_payment(payment_id, lambda p: p["confirmations"] == 5 and p["flags"])
    assert (after["status"], after["flags"], states(after)) == ("forwarded", ["reorged"], {txid: ("confirmed", 5)})
    assert (after["credited"], after["confirmed_at"]) == (400, before["confirmed_at"])
    assert till.entries("moved") == [("payment", 400)]


def test_credited_mined_again_and_not_deep_yet(till: RunningService, own_node: RegtestNode) -> None:
    payment_id, txid = seen(till, "shallower")
    own_node.mine(3)
    till.wait_payment(payment_id, "forwarded")
    own_node.disconnect_blocks(3)
    own_node.mine_empty(3)
    own_node.mine(1)
    after = till.wait_payment(payment_id, lambda p: p["confirmations"] == 1)
    own_node.mine(2)
    done = till.wait_payment(payment_id, lambda p: p["confirmations"] == 3 and p["status"] == "forwarded")
    assert states(done) == {txid: ("confirmed", 3)}
    assert sum(amount for _, amount in till.entries("shallower")) == done["credited"] == 400
    assert till.balance("shallower") == 400
    # Whatever it was in between, it said so.
    assert after["status"] in ("confirming", "confirmed", "forwarded", "failed")
    assert (after["credited"] == 400) == (after["status"] in ("confirmed", "forwarded"))


def test_double_spent_after_the_credit_and_back_again(till: RunningService, own_node: RegtestNode) -> None:
    payment_id, txid = seen(till, "robber")
    own_node.mine(3)
    paid = till.wait_payment(payment_id, "forwarded")
    honest_tip = own_node.tip
    lowest = own_node.disconnect_blocks(3)
    thief = double_spend(own_node, txid)
    first_of_thief = own_node.mine_with([thief])
    own_node.mine_empty(4)
    # The watcher may come by while the old branch is gone and the thief's is not there yet.
    gone = till.wait_payment(payment_id, lambda p: p["status"] == "failed" and p["received_sat"] == 0)
    assert (gone["failure_reason"], gone["credited"], gone["received_sat"]) == ("reversed", 0, 0)
    assert (gone["confirmed_at"], gone["completed_at"], gone["confirmations"]) == (None, None, 0)
    assert set(gone["flags"]) >= {"replaced"}
    thief_id = own_node.rpc("decoderawtransaction", thief)["txid"]
    (lost,) = gone["transactions"]
    assert (lost["state"], lost["replaced_by"]) == ("replaced", thief_id)
    assert till.entries("robber") == [("payment", 400), ("reversal", -400)]
    assert till.balance("robber") == 0
    events = [event for event in till.all_events() if event["data"].get("payment_id") == payment_id]
    told = [event["type"] for event in events]
    assert told.index("credits.reversed") < told.index("payment.failed")
    failed = events[told.index("payment.failed")]["data"]
    assert (failed["status"], failed["failure_reason"], failed["credited"]) == ("failed", "reversed", 0)
    if till.mode == "forwarding":
        # Its sweep is worth nothing now. It rests, and nobody is told that coins are on their way.
        assert gone["forwarding_tx_hash"] is None
        assert paid["forwarding_tx_hash"] not in satoshi_are_level(till)
    assert till.ask("POST", f"confirm/{payment_id}").status == 409

    own_node.rpc("invalidateblock", first_of_thief)
    own_node.rpc("reconsiderblock", lowest)
    own_node.wait_for_tip(honest_tip)
    own_node.mine(3)
    back = till.wait_payment(payment_id, lambda p: p["status"] == "forwarded" and p["confirmations"] == 6)
    assert (back["credited"], back["failure_reason"], states(back)) == (400, None, {txid: ("confirmed", 6)})
    assert till.entries("robber") == [("payment", 400), ("reversal", -400), ("payment", 400)]
    assert till.balance("robber") == 400
    assert back["forwarding_tx_hash"] == paid["forwarding_tx_hash"]
    if till.mode == "forwarding":
        assert paid["forwarding_tx_hash"] in satoshi_are_level(till)


def test_spent_credits_and_a_reversal_leave_a_debt(till: RunningService, own_node: RegtestNode) -> None:
    payment_id, txid = seen(till, "debtor")
    own_node.mine(3)
    till.wait_payment(payment_id, "forwarded")
    till.post("users/debtor/credits/spend", {"amount": 300, "reference": "gone"})
    own_node.disconnect_blocks(3)
    thief = double_spend(own_node, txid)
    own_node.mine_with([thief])
    own_node.mine_empty(3)
    till.wait_payment(payment_id, "failed")
    assert till.balance("debtor") == -300
    assert till.entries("debtor") == [("payment", 400), ("spend", -300), ("reversal", -400)]


def test_a_bump_that_still_pays_us_counts_once(till: RunningService, own_node: RegtestNode) -> None:
    payment_id, txid = seen(till, "impatient")
    bumped = own_node.bump(txid)
    shown = till.wait_payment(payment_id, lambda p: p["tx_hash"] == bumped)
    assert (shown["status"], shown["received_sat"], shown["flags"]) == ("confirming", 40_000, ["replaced"])
    assert states(shown) == {txid: ("replaced", 0), bumped: ("mempool", 0)}
    (old,) = [t for t in shown["transactions"] if t["txid"] == txid]
    assert old["replaced_by"] == bumped
    again = own_node.bump(bumped, fee_rate=40)
    till.wait_payment(payment_id, lambda p: p["tx_hash"] == again)
    own_node.mine(3)
    done = till.wait_payment(payment_id, "forwarded")
    assert (done["received_sat"], done["credited"], done["tx_hash"]) == (40_000, 400, again)
    assert till.entries("impatient") == [("payment", 400)]


def test_replaced_by_what_pays_somebody_else(till: RunningService, own_node: RegtestNode) -> None:
    payment_id, txid = seen(till, "turncoat")
    other = str(own_node.rpc("sendrawtransaction", double_spend(own_node, txid)))
    shown = till.wait_payment(payment_id, "pending")
    assert (shown["received_sat"], shown["remaining_sat"], shown["tx_hash"]) == (0, 40_000, None)
    assert (shown["flags"], shown["transactions"][0]["replaced_by"]) == (["replaced"], other)
    own_node.mine(3)
    till.wait_level()
    assert till.look(payment_id)["status"] == "pending"
    assert till.entries("turncoat") == []
    assert till.events_of(payment_id).count("payment.replaced") == 1
    # The address still takes a payment.
    payment = till.payment(payment_id)
    own_node.pay(payment["address"], 40_000)
    till.wait_payment(payment_id, "confirming")
    own_node.mine(3)
    assert till.wait_payment(payment_id, "forwarded")["credited"] == 400


def test_replaced_only_in_a_block(till: RunningService, own_node: RegtestNode) -> None:
    payment_id, txid = seen(till, "ambushed")
    thief = double_spend(own_node, txid)
    own_node.mine_with([thief])
    shown = till.wait_payment(payment_id, "pending")
    thief_id = own_node.rpc("decoderawtransaction", thief)["txid"]
    assert (shown["flags"], states(shown)) == (["replaced"], {txid: ("replaced", 0)})
    assert shown["transactions"][0]["replaced_by"] == thief_id


def test_paid_only_in_a_block(till: RunningService, own_node: RegtestNode) -> None:
    """Never in anybody's mempool: handed to a miner."""
    payment = till.create("small", "direct")
    raw = own_node.rpc(
        "send", {payment["address"]: "0.0004"}, None, "unset", 5, {"add_to_wallet": False}, wallet=PAYER
    )["hex"]
    own_node.mine_with([raw])
    shown = till.wait_payment(payment["payment_id"], "confirming")
    assert (shown["confirmations"], shown["flags"]) == (1, [])
    own_node.mine(2)
    assert till.wait_payment(payment["payment_id"], "forwarded")["credited"] == 400


def test_dropped_from_the_mempool_and_back(till: RunningService, own_node: RegtestNode) -> None:
    payment_id, txid = seen(till, "evicted")
    raw = own_node.rpc("gettransaction", txid, wallet=PAYER)["hex"]
    now = own_node.rpc("getblockchaininfo")["time"]
    try:
        own_node.rpc("setmocktime", now + 4 * TWO_HOURS)
        own_node.pay(own_node.new_address(), 20_000)  # what enters makes the node throw out what is old
        assert txid not in own_node.mempool()
        shown = till.wait_payment(payment_id, "pending")
    finally:
        own_node.rpc("setmocktime", 0)
    assert (shown["received_sat"], states(shown)) == (0, {txid: ("dropped", 0)})
    assert till.events_of(payment_id)[-1] == "payment.dropped"
    own_node.rpc("sendrawtransaction", raw)
    back = till.wait_payment(payment_id, "confirming")
    assert (back["flags"], states(back)) == ([], {txid: ("mempool", 0)})
    own_node.mine(3)
    assert till.wait_payment(payment_id, "forwarded")["credited"] == 400
    assert till.entries("evicted") == [("payment", 400)]


def test_a_reorganisation_while_the_service_is_down(till: RunningService, own_node: RegtestNode) -> None:
    kept, _ = seen(till, "kept")
    own_node.mine(3)
    till.wait_payment(kept, "forwarded")
    waiting, txid = seen(till, "waiting")
    own_node.mine(1)
    till.wait_payment(waiting, lambda p: p["confirmations"] == 1)
    till.kill()
    own_node.reorg(4, longer_by=1, with_mempool=True)
    # Wallets date most payments with the height (nLockTime): such a one had to leave the mempool with its block.
    again = own_node.rpc("gettransaction", txid, wallet=PAYER)
    if again["confirmations"] < 1:
        own_node.rpc("sendrawtransaction", again["hex"])
    own_node.mine(3)
    mined_again = own_node.rpc("gettransaction", txid, wallet=PAYER)["confirmations"]
    till.start()
    till.wait_level()
    for payment_id, user_id, depth in ((kept, "kept", 8), (waiting, "waiting", mined_again)):
        done = till.wait_payment(payment_id, "forwarded")
        assert (done["credited"], done["confirmations"], done["flags"]) == (400, depth, ["reorged"])
        assert till.entries(user_id) == [("payment", 400)]
