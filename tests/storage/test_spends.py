"""The shop takes credits: once per reference, never more than there are."""

from __future__ import annotations

import asyncio

import pytest

from storage.credits import balance_of, entries_of
from storage.spends import InsufficientCredits, ReferenceReused, Spend, spend_credits
from tests.storage.small_shop import FULL, SmallShop, paying


@pytest.fixture
async def rich(shop: SmallShop) -> SmallShop:
    """A shop whose user u1 has 400 credits."""
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    await shop.at_tip()
    return shop


async def take(shop: SmallShop, amount: int, reference: str, user: str = "u1") -> Spend:
    return await shop.database.write(spend_credits, user, amount, reference, shop.now)


async def test_a_spend_and_its_repetition(rich: SmallShop) -> None:
    first = await take(rich, 30, "order-1")
    assert (first.balance, first.repeated) == (370, False)
    assert first.entry["user_id"] == "u1"
    assert (first.entry["kind"], first.entry["amount"], first.entry["reference"]) == ("spend", -30, "order-1")
    await take(rich, 70, "order-2")
    again = await take(rich, 30, "order-1")
    assert (again.entry, again.balance, again.repeated) == (first.entry, 300, True)
    assert await rich.database.read(balance_of, "u1") == 300
    await rich.check()


async def test_a_reference_is_for_one_amount(rich: SmallShop) -> None:
    await take(rich, 30, "order-1")
    with pytest.raises(ReferenceReused, match="30"):
        await take(rich, 31, "order-1")
    with pytest.raises(InsufficientCredits):
        await take(rich, 30, "order-1", user="u2")


async def test_no_more_than_there_is(rich: SmallShop) -> None:
    with pytest.raises(InsufficientCredits) as refused:
        await take(rich, 401, "order-1")
    assert refused.value.balance == 400
    await take(rich, 400, "order-1")
    assert await rich.database.read(balance_of, "u1") == 0


async def test_a_stranger_has_nothing(shop: SmallShop) -> None:
    with pytest.raises(InsufficientCredits):
        await take(shop, 1, "order-1", user="nobody")


@pytest.mark.parametrize("amount", [0, -1, -400])
async def test_a_spend_is_at_least_one_credit(rich: SmallShop, amount: int) -> None:
    """A negative spend would make credits out of nothing, whatever the API lets through."""
    with pytest.raises(ValueError, match="at least 1"):
        await take(rich, amount, "order-1")
    assert await rich.database.read(balance_of, "u1") == 400


async def test_fifty_at_once_spend_what_is_there_and_no_more(rich: SmallShop) -> None:
    answers = await asyncio.gather(*(take(rich, 30, f"order-{n}") for n in range(50)), return_exceptions=True)
    assert sum(isinstance(a, Spend) for a in answers) == 13
    assert sum(isinstance(a, InsufficientCredits) for a in answers) == 37
    assert await rich.database.read(balance_of, "u1") == 10
    await rich.check()


async def test_fifty_at_once_with_one_reference_spend_once(rich: SmallShop) -> None:
    answers = await asyncio.gather(*(take(rich, 30, "order-1") for _ in range(50)))
    assert [a.repeated for a in answers].count(False) == 1
    assert await rich.database.read(balance_of, "u1") == 370


async def test_the_statement_goes_on_where_it_stopped(rich: SmallShop) -> None:
    for number in range(5):
        await take(rich, 1, f"order-{number}")
    read = rich.database.read
    newest = await read(entries_of, "u1", None, 4)
    older = await read(entries_of, "u1", int(newest[-1]["id"]), 4)
    assert [e["balance_after"] for e in newest + older] == [395, 396, 397, 398, 399, 400]
    assert await read(entries_of, "u2", None, 4) == []
