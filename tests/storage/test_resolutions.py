"""The operator's decisions on each of the two databases: what follows from them, and what they never do."""

from __future__ import annotations

import asyncio

import pytest

from payments.attention import ConcernKind
from payments.difference import Check
from payments.facts import Resolution
from payments.model import LatePolicy, OutPoint, Status
from payments.record import PaymentRecord
from payments.resolution import NotPossible
from storage.attention import concerns
from storage.credits import balance_of
from storage.database import Database
from storage.errors import StorageError
from storage.payment_page import page_of
from storage.resolutions import Resolved, UnknownPayment, resolve
from storage.tx import Tx
from tests.storage.conftest import CONTEXT
from tests.storage.small_shop import FULL, MINUTE, SmallShop, paying

CREDIT, IGNORE, REFUNDED = Resolution.CREDIT, Resolution.IGNORE, Resolution.REFUNDED
BACK = "b" * 64


async def decide(shop: SmallShop, bought: PaymentRecord, action: Resolution, *coins: str) -> Resolved:
    refund = BACK if action is REFUNDED else None
    named = [OutPoint(txid, 0) for txid in coins] or None
    done = await shop.database.write(resolve, bought.id, action, "by mail", shop.now, refund_txid=refund, coins=named)
    await shop.check()
    return done


def run(tx: Tx, statement: str) -> None:
    tx.execute(statement)


async def waiting(shop: SmallShop) -> list[tuple[ConcernKind, int]]:
    return [(one.kind, one.sat) for one in await shop.database.read(concerns)]


async def late(shop: SmallShop, *, deep: bool = True) -> PaymentRecord:
    """A payment whose coins (transaction `a`) came after the window, under `late = hold`."""
    bought = await shop.create(late=LatePolicy.HOLD)
    shop.now += 120 * MINUTE
    await shop.close_windows()
    await shop.mine(paying("a", (bought, FULL)), blocks=3 if deep else 1)
    await shop.at_tip()
    return bought


async def ends(shop: SmallShop, bought: PaymentRecord, status: Status, credits: int) -> None:
    """What the watcher makes of it at the tip, and that an audit agrees."""
    await shop.at_tip()
    record = await shop.payment(bought.number)
    assert (record.state.status, record.facts.credits_posted) == (status, credits)
    assert await shop.database.read(balance_of, "u1") == credits
    assert [d for d in (await shop.audit()).differences if d.check is not Check.SWEEP] == []


async def test_held_then_credited_once(shop: SmallShop) -> None:
    bought = await late(shop)
    assert await waiting(shop) == [(ConcernKind.LATE, FULL)]
    done = await decide(shop, bought, CREDIT)
    assert (done.repeated, done.payment.state.status) == (False, Status.CONFIRMING)
    assert await waiting(shop) == []
    again = await decide(shop, bought, CREDIT)
    assert (again.repeated, again.decision) == (True, done.decision)
    await ends(shop, bought, Status.FORWARDED, 400)
    assert (await decide(shop, bought, CREDIT)).repeated
    await ends(shop, bought, Status.FORWARDED, 400)
    page = await shop.database.read(page_of, bought.id)
    assert page is not None
    assert page.entries[-1]["evidence"]["resolutions"] == [done.decision.id]
    told = await shop.events(bought.number)
    assert told[told.index("resolved") :] == ["resolved", "confirming", "credits.added", "confirmed", "forwarded"]


async def test_credited_before_it_is_deep(shop: SmallShop) -> None:
    bought = await late(shop, deep=False)
    assert await waiting(shop) == []
    await decide(shop, bought, CREDIT)
    await ends(shop, bought, Status.CONFIRMING, 0)
    await shop.mine(blocks=2)
    await ends(shop, bought, Status.FORWARDED, 400)


@pytest.mark.parametrize("action", [IGNORE, REFUNDED])
@pytest.mark.parametrize("deep", [True, False])
async def test_set_aside_for_good(shop: SmallShop, action: Resolution, deep: bool) -> None:
    bought = await late(shop, deep=deep)
    done = await decide(shop, bought, action)
    assert done.payment.state.status is Status.EXPIRED
    assert (await decide(shop, bought, action)).repeated
    with pytest.raises(NotPossible, match="for good"):
        await decide(shop, bought, CREDIT)
    with pytest.raises(NotPossible, match="for good"):
        await decide(shop, bought, IGNORE if action is REFUNDED else REFUNDED)
    await shop.mine(blocks=5)
    await ends(shop, bought, Status.EXPIRED, 0)
    assert await waiting(shop) == []
    record = await shop.payment(bought.number)
    assert (record.state.received_sat, record.state.confirmed_sat, record.state.remaining_sat) == (FULL, FULL, FULL)
    assert record.facts.outputs[0].booked
    assert record.facts.outputs[0].refund_txid == (BACK if action is REFUNDED else None)


async def test_what_completes_a_refunded_half_gives_nothing(shop: SmallShop) -> None:
    """And a reorganisation that takes the refunded coins and brings them back gives nothing either."""
    bought = await shop.create()
    half, other = paying("a", (bought, FULL // 2)), paying("b", (bought, FULL // 2))
    await shop.mine(half, blocks=3)
    shop.now += 120 * MINUTE
    await shop.close_windows()
    await shop.at_tip()
    assert await waiting(shop) == [(ConcernKind.UNDERPAID, FULL // 2)]
    await decide(shop, bought, REFUNDED)
    assert await waiting(shop) == []
    await shop.mine(other, blocks=3)
    await ends(shop, bought, Status.EXPIRED, 0)
    assert await waiting(shop) == [(ConcernKind.UNDERPAID, FULL // 2)], "coins that come later need a word of their own"
    await shop.undo(6)
    await shop.mine(blocks=2)
    await shop.at_tip()
    await shop.mine(half, other, blocks=5)
    await ends(shop, bought, Status.EXPIRED, 0)
    assert (await decide(shop, bought, REFUNDED)).repeated, "one refund is recorded once, whatever came since"
    await decide(shop, bought, REFUNDED, "b")
    await ends(shop, bought, Status.EXPIRED, 0)
    assert await waiting(shop) == []


async def test_paid_anew_after_a_refund(shop: SmallShop) -> None:
    bought = await late(shop)
    await decide(shop, bought, REFUNDED)
    await shop.mine(paying("b", (bought, FULL)), blocks=3)
    await shop.at_tip()
    assert await waiting(shop) == [(ConcernKind.LATE, FULL)]
    await decide(shop, bought, CREDIT)
    await ends(shop, bought, Status.FORWARDED, 400)


async def test_what_replaces_a_decided_coin_is_undecided(shop: SmallShop) -> None:
    bought = await shop.create(late=LatePolicy.HOLD)
    shop.now += 120 * MINUTE
    await shop.close_windows()
    await shop.see(paying("a", (bought, FULL), spends=["coin"]))
    await decide(shop, bought, CREDIT)
    await shop.mine(paying("b", (bought, FULL), spends=["coin"]), blocks=3)
    await ends(shop, bought, Status.FAILED, 0)
    assert await waiting(shop) == [(ConcernKind.LATE, FULL)]
    await decide(shop, bought, CREDIT, "b")
    await ends(shop, bought, Status.FORWARDED, 400)


async def test_nothing_is_taken_from_who_has_credits(shop: SmallShop) -> None:
    bought = await shop.create(late=LatePolicy.HOLD)
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    await shop.at_tip()
    for action in (IGNORE, REFUNDED):
        with pytest.raises(NotPossible, match="never takes credits away"):
            await decide(shop, bought, action)
    shop.now += 120 * MINUTE
    await shop.close_windows()
    await shop.mine(paying("b", (bought, FULL)), blocks=3)
    await ends(shop, bought, Status.FORWARDED, 400)
    assert await waiting(shop) == [(ConcernKind.LATE, FULL)]
    await decide(shop, bought, REFUNDED)
    await ends(shop, bought, Status.FORWARDED, 400)


async def test_a_reversal_is_acknowledged_and_the_next_one_is_news(shop: SmallShop) -> None:
    bought = await shop.create()
    coins = paying("a", (bought, FULL))
    await shop.mine(coins, blocks=3)
    await shop.at_tip()

    async def lost() -> None:
        await shop.undo(3)
        await shop.mine(blocks=1)
        await shop.miss("a")
        await shop.mine(blocks=3)
        await ends(shop, bought, Status.FAILED, 0)

    for _ in range(2):
        await lost()
        assert await waiting(shop) == [(ConcernKind.REVERSED, FULL)]
        with pytest.raises(NotPossible, match="--action ignore"):
            await decide(shop, bought, REFUNDED)
        assert not (await decide(shop, bought, IGNORE)).repeated
        assert (await decide(shop, bought, IGNORE)).repeated
        assert await waiting(shop) == []
        await shop.undo(2)
        await shop.mine(coins, blocks=3)
        await ends(shop, bought, Status.FORWARDED, 400)


async def test_not_in_the_middle_of_a_reorganisation(shop: SmallShop) -> None:
    bought = await late(shop)
    await shop.undo(3)
    with pytest.raises(NotPossible, match="reorganisation is under way"):
        await decide(shop, bought, CREDIT)
    assert await waiting(shop) == []
    await shop.mine(paying("a", (bought, FULL)), blocks=4)
    await shop.at_tip()
    await decide(shop, bought, CREDIT)
    await ends(shop, bought, Status.FORWARDED, 400)
    await shop.undo(4)
    await shop.mine(blocks=5)
    await shop.at_tip()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    await ends(shop, bought, Status.FORWARDED, 400)


async def test_two_operators_at_once(shop: SmallShop, database_url: str) -> None:
    """Beside the service, which has the till: one of them decides, the other is told."""
    bought = await late(shop)

    async def word(action: Resolution) -> bool:
        async with Database(database_url, CONTEXT) as beside:
            try:
                refund = BACK if action is REFUNDED else None
                await beside.write(resolve, bought.id, action, "by mail", shop.now, refund_txid=refund)
            except NotPossible:
                return False
        return True

    done = await asyncio.gather(word(CREDIT), word(REFUNDED), shop.book())
    assert sorted(done[:2]) == [False, True]
    won = done[0]
    await ends(shop, bought, Status.FORWARDED if won else Status.EXPIRED, 400 if won else 0)


async def test_the_database_keeps_a_coin_from_being_decided_twice(shop: SmallShop) -> None:
    bought = await late(shop)
    made = (await decide(shop, bought, REFUNDED)).decision
    for statement in (
        f"INSERT INTO resolution_output (resolution_id, txid, vout, set_aside) VALUES ({made.id}, 'a', 0, 1)",
        "UPDATE resolution SET action = 'credit', refund_txid = NULL",
        "DELETE FROM resolution_output",
        "UPDATE resolution_output SET set_aside = 0",
    ):
        with pytest.raises(StorageError):
            await shop.database.write(run, statement)


async def test_an_audit_finds_a_decision_that_nobody_made(shop: SmallShop) -> None:
    bought, other = await late(shop), await shop.create()
    await shop.database.write(
        lambda tx: tx.execute(
            "INSERT INTO resolution (id, payment_number, action, reason, newest_transfer, decided_at)"
            " VALUES (1, :n, 'credit', 'forged', 0, 0)",
            n=other.number,
        )
    )
    await shop.database.write(
        lambda tx: tx.execute(
            "INSERT INTO resolution_output (resolution_id, txid, vout, set_aside) VALUES (1, 'a', 0, 0)"
        )
    )
    found = {(d.check, d.about) for d in (await shop.audit()).differences}
    assert {(Check.DECISION, "a:0"), (Check.DECISION, other.id)} <= found
    assert any(check is Check.CREDITS_DUE and about == bought.id for check, about in found)


async def test_nobody_was_given_this_id(shop: SmallShop) -> None:
    with pytest.raises(UnknownPayment):
        await shop.database.write(resolve, "0" * 32, CREDIT, "by mail", 1)
    assert await shop.database.read(page_of, "0" * 32) is None
