"""Reorganisations as they happen: the network splits, both sides mine, and the longer one wins.

Our node publishes hashblock only for the last blocks of the branch that won, and nothing for those
that it left: what is seen here was walked by hash. Three confirmations are required.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from regtest.bitcoind_source import BitcoindPrograms
from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.crafted_tx import double_spend
from regtest.node import PAYER
from regtest.rivals import Rivals
from regtest.service import RunningService

N = 3
DEPTHS = [1, N - 1, N, N + 3]
DEEP = 144


@pytest.fixture(scope="module")
def rivals(bitcoind_binary: BitcoindPrograms) -> Iterator[Rivals]:
    with Rivals(bitcoind_binary) as pair:
        yield pair


@pytest.fixture(scope="module", params=TWO_COMBINATIONS, ids="-".join)
def till(request: pytest.FixtureRequest, rivals: Rivals, make_till: MakeTill) -> Iterator[RunningService]:
    service = make_till(rivals.ours, *request.param)
    yield service
    service.stop()


def seen(till: RunningService, user_id: str) -> tuple[str, str, str]:
    """A payment in our node's mempool: its id, its transaction and the bytes of that."""
    payment = till.create("small", user_id)
    txid = till.node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    return payment["payment_id"], txid, till.node.rpc("getrawtransaction", txid)


def signed_payment(till: RunningService, address: str) -> str:
    """Raw, signed, not sent: 40,000 sat that may be mined at any height, and that no wallet knows of."""
    options = {"add_to_wallet": False, "locktime": 0}
    return str(till.node.rpc("send", {address: "0.0004"}, None, "unset", 5, options, wallet=PAYER)["hex"])


def mined(till: RunningService, payment_id: str, depth: int) -> dict[str, Any]:
    """Put it `depth` deep into our own branch, and wait for what comes of that."""
    till.node.mine(depth)
    wanted = "forwarded" if depth >= N else "confirming"
    return till.wait_payment(payment_id, lambda p: (p["status"], p["confirmations"]) == (wanted, depth))


def only(payment: dict[str, Any]) -> tuple[str, int, int | None]:
    """State, confirmations and height of the one transaction that pays it."""
    (transaction,) = payment["transactions"]
    return transaction["state"], transaction["confirmations"], transaction["block_height"]


def test_rivals_of_equal_height_change_nothing(till: RunningService, rivals: Rivals) -> None:
    rivals.split()
    payment_id, _, _ = seen(till, "tie")
    before = mined(till, payment_id, 1)
    rivals.theirs.mine(1)
    ours = rivals.ours.tip
    rivals.meet()
    assert till.look(payment_id) == before
    assert rivals.ours.tip == ours
    assert (before["flags"], "payment.reorged" in till.events_of(payment_id)) == ([], False)
    # The tie is decided: one block more on the other side.
    rivals.theirs.mine(1)
    rivals.ours.wait_for_tip(rivals.theirs.tip)
    till.wait_payment(payment_id, lambda p: p["flags"] == ["reorged"])
    rivals.ours.mine(N)
    till.wait_payment(payment_id, "forwarded")


@pytest.mark.parametrize("depth", DEPTHS)
def test_back_to_the_mempool(till: RunningService, rivals: Rivals, depth: int) -> None:
    """The branch that wins has never heard of the payment; its coins are still on their way."""
    user_id = f"back-{depth}"
    rivals.split()
    payment_id, txid, _ = seen(till, user_id)
    mined(till, payment_id, depth)
    rivals.theirs.mine(depth + 1)
    rivals.join()
    if depth < N:
        back = till.wait_payment(payment_id, lambda p: p["flags"] == ["reorged"] and p["confirmations"] == 0)
        assert (back["status"], back["credited"], till.entries(user_id)) == ("confirming", 0, [])
    else:
        back = till.wait_payment(payment_id, "failed")
        assert (back["failure_reason"], back["credited"], till.balance(user_id)) == ("reversed", 0, 0)
        assert till.entries(user_id) == [("payment", 400), ("reversal", -400)]
    assert only(back) == ("mempool", 0, None)
    rivals.ours.mine(N)
    done = till.wait_payment(payment_id, "forwarded")
    assert (done["credited"], done["tx_hash"], done["failure_reason"]) == (400, txid, None)
    taken_back = [("payment", 400), ("reversal", -400)] if depth >= N else []
    assert till.entries(user_id) == [*taken_back, ("payment", 400)]
    assert till.balance(user_id) == 400
    told = till.events_of(payment_id)
    assert told.count("payment.reorged") == 1
    assert told.count("credits.reversed") == told.count("payment.failed") == (depth >= N)
    assert told.count("credits.added") == (2 if depth >= N else 1)


@pytest.mark.parametrize("depth", DEPTHS)
def test_mined_again_in_another_block(till: RunningService, rivals: Rivals, depth: int) -> None:
    """Both sides have the payment, one block higher in the branch that wins."""
    user_id = f"again-{depth}"
    rivals.split()
    payment_id, txid, raw = seen(till, user_id)
    before = mined(till, payment_id, depth)
    rivals.theirs.mine(1)
    rivals.give(raw)
    rivals.theirs.mine(depth)
    rivals.join()
    height = only(before)[2]
    assert height is not None
    moved = till.wait_payment(payment_id, lambda p: only(p) == ("confirmed", depth, height + 1))
    for field in ("status", "confirmations", "credited", "confirmed_at"):
        assert moved[field] == before[field]
    rivals.ours.mine(N)
    done = till.wait_payment(payment_id, lambda p: p["status"] == "forwarded" and p["confirmations"] == depth + N)
    assert (only(done), done["tx_hash"]) == (("confirmed", depth + N, height + 1), txid)
    assert (done["credited"], till.entries(user_id)) == (400, [("payment", 400)])
    assert "payment.failed" not in till.events_of(payment_id)


@pytest.mark.parametrize("depth", DEPTHS)
def test_double_spent_in_the_other_branch(till: RunningService, rivals: Rivals, depth: int) -> None:
    user_id = f"thief-{depth}"
    rivals.split()
    payment_id, txid, _ = seen(till, user_id)
    thief = double_spend(rivals.ours, txid)
    mined(till, payment_id, depth)
    rivals.theirs.mine_with([thief])
    rivals.theirs.mine(depth)
    rivals.join()
    wanted = "failed" if depth >= N else "pending"
    gone = till.wait_payment(payment_id, lambda p: p["status"] == wanted and "replaced" in p["flags"])
    (lost,) = gone["transactions"]
    thief_id = rivals.ours.rpc("decoderawtransaction", thief)["txid"]
    assert (lost["state"], lost["replaced_by"]) == ("replaced", thief_id)
    assert (gone["received_sat"], gone["remaining_sat"], gone["credited"]) == (0, 40_000, 0)
    rivals.ours.mine(N)
    till.wait_level()
    assert till.look(payment_id)["status"] == wanted
    assert till.entries(user_id) == ([("payment", 400), ("reversal", -400)] if depth >= N else [])
    events = [event for event in till.all_events() if event["data"].get("payment_id") == payment_id]
    told = [event["type"] for event in events]
    assert told.count("credits.reversed") == told.count("payment.failed") == (depth >= N)
    if depth >= N:
        failed = events[told.index("payment.failed")]["data"]
        assert (failed["status"], failed["failure_reason"]) == ("failed", "reversed")


def test_watched_until_it_is_144_deep(till: RunningService, rivals: Rivals) -> None:
    rivals.split()
    payment_id, txid, _ = seen(till, "long-ago")
    thief = double_spend(rivals.ours, txid)
    rivals.ours.mine(DEEP)
    till.wait_payment(payment_id, lambda p: (p["status"], p["confirmations"]) == ("forwarded", DEEP))
    rivals.theirs.mine_with([thief])
    rivals.theirs.mine(DEEP)
    rivals.join()
    gone = till.wait_payment(payment_id, "failed")
    assert (gone["failure_reason"], only(gone)[0]) == ("reversed", "replaced")
    assert till.entries("long-ago") == [("payment", 400), ("reversal", -400)]
    till.wait_level()


def test_mined_again_at_the_height_at_which_it_was_created(till: RunningService, rivals: Rivals) -> None:
    """The block that is the tip when somebody buys is replaced by one at the same height that holds the payment."""
    rivals.split()
    rivals.ours.mine(1)
    till.wait_level()
    tip = rivals.ours.height
    payment = till.create("small", "same-height")
    payment_id, raw = payment["payment_id"], signed_payment(till, payment["address"])
    rivals.ours.rpc("sendrawtransaction", raw)
    till.wait_payment(payment_id, "confirming")
    rivals.give(raw)
    rivals.theirs.mine(2)
    rivals.join()
    found = till.wait_payment(payment_id, lambda p: p["confirmations"] == 2)
    assert only(found) == ("confirmed", 2, tip)
    rivals.ours.mine(1)
    assert till.wait_payment(payment_id, "forwarded")["credited"] == 400
    assert till.entries("same-height") == [("payment", 400)]


def test_zmq_names_only_the_last_blocks(rivals: Rivals, make_till: MakeTill) -> None:
    """The payment is in a block that hashblock never named; the timer is an hour away."""
    till = make_till(rivals.ours, settings={"payments": {"check_interval_seconds": 3600}})
    rivals.split()
    payment = till.create("small", "unnamed")
    raw = signed_payment(till, payment["address"])
    rivals.ours.mine(2)
    branch = [rivals.theirs.mine_with([raw]), *rivals.theirs.mine(4)]
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.subscribe(b"hashblock")
        listener.connect(rivals.ours.zmq_hashblock)
        rivals.join()
        named = []
        while branch[-1] not in named:
            assert listener.poll(10_000)
            named.append(listener.recv_multipart()[1].hex())
    assert branch[0] not in named
    found = till.wait_payment(payment["payment_id"], lambda p: p["confirmations"] == 5 and p["status"] == "forwarded")
    assert (found["credited"], till.entries("unnamed")) == (400, [("payment", 400)])
    till.stop()


def test_a_reversed_payment_is_not_forwarded(rivals: Rivals, make_till: MakeTill) -> None:
    """Its sweep was not due yet; what the ledger took back is not signed away, until the coins are back."""
    till = make_till(rivals.ours, "sqlite", "forwarding", settings={"forwarding": {"min_sat": 50_000}})
    rivals.split()
    payment_id, _, _ = seen(till, "frozen")
    rivals.ours.mine(N)
    held = till.wait_payment(payment_id, "confirmed")
    rivals.theirs.mine(N + 1)
    rivals.join()
    till.wait_payment(payment_id, "failed")
    till.stop()
    till.settings["forwarding"]["min_sat"] = 10_000
    till.write_config()
    till.start()
    till.wait_level()
    frozen = till.look(payment_id)
    assert (held["forwarding_tx_hash"], frozen["status"], frozen["forwarding_tx_hash"]) == (None, "failed", None)
    assert till.log_says("Successfully forwarded") == 0
    rivals.ours.mine(N)
    done = till.wait_payment(payment_id, "forwarded")
    assert (done["credited"], till.balance("frozen")) == (400, 400)
    assert till.log_says("Successfully forwarded") == 1
    till.stop()
