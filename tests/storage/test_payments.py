"""Payments: an address of their own, a limit, a list."""

from __future__ import annotations

import asyncio
import re

import pytest

from payments.model import Status
from payments.record import PaymentRecord
from storage import evaluation, payments, till
from storage.records import payment_by_id
from tests.storage.small_shop import FULL, MINUTE, SmallShop, derive, paying


async def test_a_new_payment(shop: SmallShop) -> None:
    made = await shop.create()
    assert re.fullmatch(r"[0-9a-f]{32}", made.id)
    assert (made.address, made.address_index) == (derive(0)[1], 0)
    assert (made.state.status, made.state.remaining_sat, made.sequence) == (Status.PENDING, FULL, 1)
    assert await shop.database.read(payment_by_id, made.id) == made == await shop.payment(made.number)
    assert await shop.database.read(payment_by_id, "0" * 32) is None
    with pytest.raises(LookupError):
        await shop.payment(99)


async def test_addresses_are_given_in_order_and_once(shop: SmallShop) -> None:
    made = await asyncio.gather(*(shop.create(f"u{n}") for n in range(40)))
    by_number = sorted(made, key=lambda p: p.number)
    assert [p.address_index for p in by_number] == list(range(40))
    assert len({p.address for p in made}) == len({p.id for p in made}) == 40
    assert await shop.database.read(till.next_index, shop.keychain) == 40


async def test_a_create_that_fails_gives_its_address_to_the_next(shop: SmallShop) -> None:
    """Nobody was shown it. What was committed is never given again."""
    with pytest.raises(payments.TooManyOpen):
        await shop.create(max_open=0)
    wanted = payments.NewPayment("u1", "small", "{}", (await shop.create()).facts.terms, 10)

    def derive_fails(index: int) -> tuple[bytes, str]:
        raise RuntimeError(f"no {index}")

    with pytest.raises(RuntimeError, match="no 1"):
        await shop.database.write(payments.create, wanted, shop.keychain, derive_fails, shop.now)
    assert (await shop.create()).address_index == 1


async def test_no_payment_without_its_keychain(shop: SmallShop) -> None:
    wanted = payments.NewPayment("u1", "small", "{}", (await shop.create()).facts.terms, 10)
    with pytest.raises(LookupError):
        await shop.database.write(payments.create, wanted, 99, derive, shop.now)


async def test_too_many_open(shop: SmallShop) -> None:
    first = await shop.create(max_open=2)
    second = await shop.create(max_open=2)
    with pytest.raises(payments.TooManyOpen, match="User u1 has 2 unpaid payments"):
        await shop.create(max_open=2)
    await shop.create("u2", max_open=2)
    await shop.see(paying("a", (first, FULL)))
    third = await shop.create(max_open=2)
    shop.now = second.facts.terms.expires_at
    await shop.close_windows()
    assert await shop.status(third.number) is Status.EXPIRED
    await shop.create(max_open=2)


async def test_too_many_at_once(shop: SmallShop) -> None:
    answers = await asyncio.gather(*(shop.create(max_open=3) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(a, PaymentRecord) for a in answers) == 3


async def test_the_list_newest_first_page_by_page(shop: SmallShop) -> None:
    mine = [await shop.create() for _ in range(5)]
    other = await shop.create("u2")
    await shop.see(paying("a", (mine[2], FULL)))

    async def numbers(user: str | None, status: Status | None, before: int | None, limit: int) -> list[int]:
        found = await shop.database.read(
            payments.list_payments, user_id=user, status=status, before=before, limit=limit
        )
        return [p.number for p in found]

    everything = [p.number for p in [*mine, other]][::-1]
    assert await numbers(None, None, None, 100) == everything
    assert await numbers(None, None, None, 2) == everything[:2]
    assert await numbers(None, None, everything[1], 2) == everything[2:4]
    assert await numbers("u2", None, None, 9) == [other.number]
    assert await numbers("u1", Status.CONFIRMING, None, 9) == [mine[2].number]
    assert await numbers(None, Status.FAILED, None, 9) == []
    assert await shop.database.read(payments.counts_by_status) == {"pending": 5, "confirming": 1}


async def test_scripts_to_watch(shop: SmallShop) -> None:
    made = [await shop.create() for _ in range(3)]
    found = await shop.database.read(payments.scripts_after, made[0].number)
    assert found == [(p.number, derive(p.address_index)[0], shop.keychain, p.address_index) for p in made[1:]]
    first = (made[0].number, derive(0)[0], shop.keychain, 0)
    assert await shop.database.read(payments.scripts_after, 0, 1) == [first]


async def test_windows_close_when_they_are_due_and_proved(shop: SmallShop) -> None:
    first = await shop.create()
    shop.now += MINUTE
    second = await shop.create()
    end = first.facts.terms.expires_at
    await shop.close_windows(end - 1)
    assert await shop.status(first.number) is Status.PENDING
    changes = await shop.database.write(evaluation.close_windows, end, end + 9)
    assert [(c.payment_id, c.before, c.after) for c in changes] == [(first.id, Status.PENDING, Status.EXPIRED)]
    assert await shop.status(second.number) is Status.PENDING
    assert await shop.database.write(evaluation.close_windows, end, end + 9) == []
    assert await shop.events(first.number) == ["created", "expired"]


async def test_a_seen_payment_does_not_expire(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.see(paying("a", (bought, FULL)))
    await shop.close_windows(bought.facts.terms.expires_at)
    record = await shop.payment(bought.number)
    assert (record.state.status, record.facts.window_closed) == (Status.CONFIRMING, True)
