"""A sweep that this copy of the database has forgotten is known again; what is none is left alone."""

from __future__ import annotations

import pytest

from payments.model import IncomingTx, OutPoint, Status
from storage import sweep_versions, sweeps
from storage.adoption import adopt, strange_spends
from storage.coins_due import coins_due
from tests.storage.small_shop import FULL, SmallShop
from tests.storage.test_replacements import accounts, bought, send, shown

FEE = 250


@pytest.fixture
def shop(forwarding_shop: SmallShop) -> SmallShop:
    return forwarding_shop


async def take(shop: SmallShop, name: str, arrives: int, *coins: OutPoint) -> bool:
    changes = await shop.database.write(adopt, name, name.encode(), coins, arrives, "bcrt1qowner", shop.now)
    await shop.check()
    return changes is not None


async def test_one_that_was_mined(shop: SmallShop) -> None:
    made, coins = await bought(shop, "a", "b")
    spends = tuple(coin.outpoint for coin in coins)
    await shop.mine(IncomingTx("s", spends, (), False))
    (strange,) = await shop.database.read(strange_spends, -1)
    assert strange == ("s", shop.tip.hash)
    assert await shop.database.read(strange_spends, shop.tip.height) == []
    assert await take(shop, "s", 2 * FULL - FEE, *spends)
    assert [await shown(shop, payment) for payment in made] == [(Status.FORWARDED, "s")] * 2
    assert await accounts(shop) == (0, 2 * FULL - FEE, FEE)
    assert await shop.database.read(strange_spends, -1) == []
    assert not await take(shop, "s", 2 * FULL - FEE, *spends), "once"
    await shop.mine(blocks=sweeps.FINAL_DEPTH)
    assert await shop.database.write(sweeps.close_deep_sweeps) == 1


async def test_one_in_the_mempool(shop: SmallShop) -> None:
    (payment,), coins = await bought(shop, "a")
    assert await take(shop, "s", FULL - FEE, coins[0].outpoint)
    assert await shown(shop, payment) == (Status.FORWARDED, "s")
    assert await shop.database.read(coins_due, shop.keychain, 9) == []
    assert [s.txid for s in await shop.database.read(sweep_versions.sweeps_to_watch)] == ["s"]


async def test_a_version_of_one_that_is_under_way(shop: SmallShop) -> None:
    """The copy is from before the sweep was bumped."""
    (payment,), coins = await bought(shop, "a")
    await send(shop, "s", coins)
    assert await take(shop, "s2", FULL - 900, coins[0].outpoint)
    assert await shown(shop, payment) == (Status.FORWARDED, "s"), "in the mempool either may be"
    await shop.mine(IncomingTx("s2", (coins[0].outpoint,), (), False))
    assert await shown(shop, payment) == (Status.FORWARDED, "s2")
    assert await accounts(shop) == (0, FULL - 900, 900)


async def test_a_mined_version_counts_at_once(shop: SmallShop) -> None:
    (payment,), coins = await bought(shop, "a")
    await send(shop, "s", coins)
    await shop.mine(IncomingTx("s2", (coins[0].outpoint,), (), False))
    assert await shown(shop, payment) == (Status.CONFIRMED, None)
    assert await take(shop, "s2", FULL - 900, coins[0].outpoint)
    assert await shown(shop, payment) == (Status.FORWARDED, "s2")


async def test_what_is_no_sweep_of_ours(shop: SmallShop) -> None:
    _, coins = await bought(shop, "a", "b", "c")
    one, other, third = (coin.outpoint for coin in coins)
    assert not await take(shop, "x", FULL, OutPoint("strange", 0)), "a coin of somebody else"
    assert not await take(shop, "x", FULL, one, OutPoint("strange", 0)), "also beside ours"
    assert not await take(shop, "x", FULL, one), "a fee of nothing, or less"
    assert not await take(shop, "x", FULL + 1, one)
    await send(shop, "s", coins[:1])
    await send(shop, "t", coins[1:2])
    assert not await take(shop, "x", FULL, one, other), "coins of two sweeps"
    assert not await take(shop, "x", FULL, one, third), "of one, and a free one"
    assert await accounts(shop) == (FULL, 2 * FULL - 600, 600)
