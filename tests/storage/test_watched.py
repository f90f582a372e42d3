"""Whose spending would be news."""

from __future__ import annotations

from storage.watched import prevouts_worth_watching
from tests.storage.small_shop import FULL, SmallShop, paying


async def watched(shop: SmallShop) -> set[str]:
    return {outpoint.txid for outpoint in await shop.database.read(prevouts_worth_watching)}


async def test_what_a_payment_spends_is_watched_until_it_is_144_deep(shop: SmallShop) -> None:
    first, second = await shop.create("u1"), await shop.create("u2")
    await shop.mine(paying("a", (first, FULL)))
    await shop.at_tip()
    await shop.mine(paying("b", (second, FULL)))
    await shop.mine(blocks=143)
    assert await watched(shop) == {"coin-a", "coin-b"}
    await shop.mine()
    assert await watched(shop) == {"coin-b"}
    # A reorganisation brings it back: it is not that deep any more.
    await shop.undo(1)
    assert await watched(shop) == {"coin-a", "coin-b"}


async def test_what_no_block_has_is_watched_for_ever(shop: SmallShop) -> None:
    payment = await shop.create()
    await shop.see(paying("a", (payment, FULL)))
    await shop.mine(blocks=200)
    assert await watched(shop) == {"coin-a"}
