"""The ledger refuses what must not be, even where the code above it is wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from payments.ledger import Account, AccountKind, Line, Transfer, TransferKind, Unit, transfers_due
from payments.model import LatePolicy, OutPoint, Status
from storage import ledger
from storage.credits import balance_of, entries_of
from storage.errors import AlreadyThere, StorageError
from storage.payments import NewPayment, create
from storage.records import payment_by_number, tip_height
from storage.spends import spend_credits
from storage.tx import Tx
from tests.storage.small_shop import FULL, MINUTE, SmallShop, paying

A0 = OutPoint("a", 0)


def raw(kind: TransferKind, credits: int = 400) -> Transfer:
    issued, user = Account(AccountKind.ISSUED, Unit.CREDIT), Account(AccountKind.USER, Unit.CREDIT, "u1")
    return Transfer(kind, A0, credits, (Line(issued, -credits), Line(user, credits)))


async def credited(shop: SmallShop) -> int:
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    await shop.at_tip()
    return bought.number


async def test_the_entries_of_a_deposit(shop: SmallShop) -> None:
    await credited(shop)

    def balances(tx: Tx) -> dict[str, int]:
        return {f"{r['kind']}:{r['unit']}": r["balance"] for r in tx.all("SELECT * FROM account")}

    assert await shop.database.read(balances) == {
        "chain:sat": -FULL,
        "owner:sat": FULL,
        "issued:credit": -400,
        "user:credit": 400,
    }
    assert await shop.database.read(balance_of, "u1") == 400


@pytest.mark.parametrize("table", ["transfer", "transfer_line"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET {} = 1"])
async def test_the_ledger_is_append_only(shop: SmallShop, table: str, change: str) -> None:
    await credited(shop)
    column = {"transfer": "created_at", "transfer_line": "balance_after"}[table]
    with pytest.raises(StorageError, match="append-only"):
        await shop.database.write(lambda tx: tx.execute(change.format(table, column)))
    await shop.check()


async def test_a_second_deposit_of_an_outpoint_is_refused_by_the_database(shop: SmallShop) -> None:
    await credited(shop)
    with pytest.raises(AlreadyThere):
        await shop.database.write(ledger.post, raw(TransferKind.DEPOSIT), {}, shop.now)
    assert await shop.database.read(balance_of, "u1") == 400
    await shop.check()


async def test_a_second_reversal_is_refused_too(shop: SmallShop) -> None:
    await credited(shop)
    await shop.undo(3)
    await shop.at_tip()
    with pytest.raises(AlreadyThere):
        await shop.database.write(ledger.post, raw(TransferKind.REVERSAL, -400), {}, shop.now)
    await shop.check()


async def test_a_reversal_of_what_was_never_booked_is_refused(shop: SmallShop) -> None:
    with pytest.raises(StorageError):
        await shop.database.write(ledger.post, raw(TransferKind.REVERSAL, -400), {}, shop.now)
    assert await shop.database.read(balance_of, "u1") == 0


async def test_deposit_reversal_deposit(shop: SmallShop) -> None:
    number = await credited(shop)
    tx = paying("a", (await shop.payment(number), FULL))
    for _ in range(3):
        await shop.undo(3)
        await shop.at_tip()
        assert await shop.database.read(balance_of, "u1") == 0
        await shop.mine(tx, blocks=3)
        await shop.at_tip()
        assert await shop.database.read(balance_of, "u1") == 400
    with pytest.raises(AlreadyThere):
        await shop.database.write(ledger.post, raw(TransferKind.DEPOSIT), {}, shop.now)


async def test_booked_by_many_at_once_is_booked_once(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    proof: dict[OutPoint, dict[str, Any]] = {A0: {}}
    done = await asyncio.gather(*(shop.database.write(ledger.book, bought.number, proof, shop.now) for _ in range(20)))
    assert [b.credits for b in done if b is not None] == [400] + [0] * 19
    await shop.at_tip()
    assert await shop.database.read(balance_of, "u1") == 400


async def test_two_bookings_that_looked_before_either_wrote(shop: SmallShop) -> None:
    """Both judged the same facts; the unique key, not the judgement, keeps the second one out."""
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    record = await shop.payment(bought.number)
    height = await shop.database.read(tip_height)
    (due,) = transfers_due(record.facts, "u1", height)
    answers = await asyncio.gather(
        *(shop.database.write(ledger.post, due, {}, shop.now, payment_number=None) for _ in range(5)),
        return_exceptions=True,
    )
    assert sorted(type(a).__name__ for a in answers) == ["AlreadyThere"] * 4 + ["int"]
    assert await shop.database.read(balance_of, "u1") == 400


async def test_no_deposit_without_evidence(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    assert await shop.database.write(ledger.book, bought.number, {}, shop.now) is None
    assert await shop.database.read(balance_of, "u1") == 0
    assert [p.number for p in await shop.database.read(ledger.bookings_due)] == [bought.number]


async def test_booking_what_is_not_there(shop: SmallShop) -> None:
    assert await shop.database.write(ledger.book, 99, {}, shop.now) is None


async def test_parts_and_the_completing_one(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL // 2)), blocks=3)
    await shop.at_tip()
    record = await shop.payment(bought.number)
    assert (record.facts.outputs[0].booked, record.facts.credits_posted) == (True, 0)
    await shop.mine(paying("b", (bought, FULL // 2)), blocks=3)
    (booking,) = await shop.book()
    assert (booking.credits, booking.before) == (400, Status.CONFIRMING)
    entries = await shop.database.read(entries_of, "u1", None, 10)
    assert [(e["amount"], e["kind"], e["payment_id"], e["balance_after"]) for e in entries] == [
        (400, "payment", bought.id, 400)
    ]


async def test_late_and_held(shop: SmallShop) -> None:
    bought = await shop.create(late=LatePolicy.HOLD)
    shop.now += 120 * MINUTE
    await shop.close_windows()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    await shop.at_tip()
    record = await shop.payment(bought.number)
    assert (record.state.status, record.state.failure_reason) == (Status.FAILED, "late")
    assert (record.facts.credits_posted, record.facts.outputs[0].booked) == (0, True)


async def test_a_reversal_after_the_credits_were_spent_goes_below_zero(shop: SmallShop) -> None:
    await credited(shop)
    await shop.database.write(spend_credits, "u1", 300, "order-1", shop.now)
    await shop.undo(3)
    await shop.mine(blocks=4)
    await shop.at_tip()
    assert await shop.database.read(balance_of, "u1") == -300
    entries = await shop.database.read(entries_of, "u1", None, 10)
    assert [(e["kind"], e["amount"], e["balance_after"]) for e in entries] == [
        ("reversal", -400, -300),
        ("spend", -300, 100),
        ("payment", 400, 400),
    ]


async def test_what_was_taken_back_uses_up_no_number(shop: SmallShop) -> None:
    """A PostgreSQL sequence would leave a gap, and a replay of the same history has none."""
    first = await credited(shop)

    def fail(tx: Tx) -> None:
        spend_credits(tx, "u1", 1, "lost", 5)
        create_like(tx, first)
        raise RuntimeError("the process is killed here")

    def create_like(tx: Tx, number: int) -> None:
        wanted = NewPayment("u2", "small", "{}", payment_by_number(tx, number).facts.terms, max_open=9)
        create(tx, wanted, 1, lambda index: (b"%d" % index, f"address {index}"), 5)

    with pytest.raises(RuntimeError, match="killed"):
        await shop.database.write(fail)
    await shop.database.write(spend_credits, "u1", 1, "kept", 6)
    second = await shop.create()
    assert second.number == first + 1
    ids = await shop.database.read(lambda tx: [row["id"] for row in tx.all("SELECT id FROM transfer ORDER BY id")])
    assert ids == list(range(1, len(ids) + 1))


async def test_what_the_node_cannot_show_takes_nothing_away(shop: SmallShop) -> None:
    """Paid in time, and replaced by a higher fee after the window; then a stranger's dust, of which the node says
    nothing for now."""
    made = await shop.create(late=LatePolicy.HOLD)
    await shop.see(paying("in time", (made, FULL), spends=["x"]))
    shop.now += 61 * MINUTE
    bumped = paying("bumped", (made, FULL), spends=["x"])
    await shop.see(bumped)
    await shop.miss("in time", "bumped")
    await shop.close_windows()
    await shop.mine(bumped, blocks=3)
    await shop.at_tip()
    await shop.mine(paying("dust", (made, 1_000)), blocks=3)
    await shop.settle()
    assert await shop.database.write(ledger.book, made.number, {}, shop.now) is None
    assert (await shop.payment(made.number)).facts.credits_posted == 400
