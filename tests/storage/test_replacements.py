"""A sweep and its next versions: one family, one claim on each coin, one version that counts."""

from __future__ import annotations

import pytest

from payments.coin import Coin
from payments.model import IncomingTx, OutPoint, Status
from payments.record import PaymentRecord
from storage import late_forwards, sweep_versions, sweeps, waiting_sweeps
from storage.attention import concerns
from storage.coins_due import backlog_sat, coins_due
from storage.errors import AlreadyThere
from storage.sweep_versions import Sweep
from storage.sweeps import FINAL_DEPTH
from tests.storage.small_shop import FULL, SmallShop, paying

FEE = 300


@pytest.fixture
def shop(forwarding_shop: SmallShop) -> SmallShop:
    return forwarding_shop


async def bought(shop: SmallShop, *names: str) -> tuple[list[PaymentRecord], list[Coin]]:
    """One payment for each name, all in one block, and booked; with their coins in that order."""
    made = [await shop.create(f"user-{name}") for name in names]
    await shop.mine(*(paying(name, (payment, FULL)) for name, payment in zip(names, made, strict=True)), blocks=3)
    await shop.at_tip()
    coins = await shop.database.read(coins_due, shop.keychain, 100)
    return made, sorted(coins, key=lambda coin: coin.payment_number)


def version(name: str, coins: list[Coin], fee: int, replaces: str | None = None) -> Sweep:
    value = sum(coin.value_sat for coin in coins)
    return Sweep(name, name.encode(), "stored", value, fee, 0, vsize=200, stored_height=103, replaces=replaces)


async def send(
    shop: SmallShop, name: str, coins: list[Coin], fee: int = FEE, replaces: str | None = None
) -> IncomingTx:
    """Store and broadcast; the sweep as a block would show it."""
    await store(shop, name, coins, fee, replaces)
    await shop.database.write(sweeps.record_broadcast, name, shop.now)
    await shop.check()
    return IncomingTx(name, tuple(coin.outpoint for coin in coins), (), False)


async def store(shop: SmallShop, name: str, coins: list[Coin], fee: int = FEE, replaces: str | None = None) -> None:
    made = version(name, coins, fee, replaces)
    if replaces is None:
        await shop.database.write(sweeps.store_sweep, made, coins, "bcrt1qowner", shop.now)
    else:
        await shop.database.write(sweeps.store_replacement, made, coins, shop.now)
    await shop.check()


async def accounts(shop: SmallShop) -> tuple[int, int, int]:
    """Satoshi in (till, owner, fees)."""
    rows = await shop.database.read(lambda tx: tx.all("SELECT kind, balance FROM account WHERE unit = 'sat'"))
    found = {row["kind"]: row["balance"] for row in rows}
    return found.get("till", 0), found.get("owner", 0), found.get("fees", 0)


async def shown(shop: SmallShop, payment: PaymentRecord) -> tuple[Status, str | None]:
    record = await shop.payment(payment.number)
    return record.state.status, record.forwarding_txid


async def test_one_sweep_for_many_payments(shop: SmallShop) -> None:
    made, coins = await bought(shop, "a", "b", "c")
    await send(shop, "s", coins)
    assert [await shown(shop, payment) for payment in made] == [(Status.FORWARDED, "s")] * 3
    assert await accounts(shop) == (0, 3 * FULL - FEE, FEE)


async def test_a_replacement_counts_once_it_was_broadcast(shop: SmallShop) -> None:
    (payment,), coins = await bought(shop, "a")
    await send(shop, "s", coins)
    await store(shop, "s2", coins, 900, replaces="s")
    assert await shown(shop, payment) == (Status.FORWARDED, "s")
    assert await accounts(shop) == (0, FULL - FEE, FEE)
    assert [s.txid for s in await shop.database.read(sweep_versions.pending_replacements)] == ["s2"]
    await shop.database.write(sweeps.record_broadcast, "s2", shop.now)
    await shop.check()
    assert await shown(shop, payment) == (Status.FORWARDED, "s2")
    assert await accounts(shop) == (0, FULL - 900, 900)
    assert await shop.database.read(sweep_versions.pending_replacements) == []
    assert [s.txid for s in await shop.database.read(sweep_versions.sweeps_to_watch)] == ["s2"]
    assert [s.txid for s in await shop.database.read(sweep_versions.versions, "s")] == ["s", "s2"]
    assert (await shop.events(payment.number)).count("forwarded") == 1


async def test_the_version_that_was_mined_counts(shop: SmallShop) -> None:
    """The first one after all, and after a reorganisation the other."""
    (payment,), coins = await bought(shop, "a")
    first = await send(shop, "s", coins)
    second = await send(shop, "s2", coins, 900, replaces="s")
    await shop.mine(first)
    assert await shown(shop, payment) == (Status.FORWARDED, "s")
    assert await accounts(shop) == (0, FULL - FEE, FEE)
    await shop.database.write(sweeps.record_broadcast, "s2", shop.now)
    assert await shown(shop, payment) == (Status.FORWARDED, "s"), "a late word about the other one changes nothing"
    await shop.undo()
    await shop.mine(second, blocks=2)
    assert await shown(shop, payment) == (Status.FORWARDED, "s2")
    assert await accounts(shop) == (0, FULL - 900, 900)


async def test_one_that_was_mined_before_we_knew_that_it_was_sent(shop: SmallShop) -> None:
    (payment,), coins = await bought(shop, "a")
    await send(shop, "s", coins)
    await store(shop, "s2", coins, 900, replaces="s")
    await shop.mine(IncomingTx("s2", (coins[0].outpoint,), (), False))
    assert await shown(shop, payment) == (Status.FORWARDED, "s2")
    assert await accounts(shop) == (0, FULL - 900, 900)
    assert await shop.database.read(sweep_versions.pending_replacements) == []


async def test_each_version_is_replaced_once_and_only_while_it_is_not_final(shop: SmallShop) -> None:
    _, coins = await bought(shop, "a")
    sweep = await send(shop, "s", coins)
    await store(shop, "s2", coins, 900, replaces="s")
    with pytest.raises(AlreadyThere):
        await store(shop, "s3", coins, 950, replaces="s")
    await shop.mine(sweep, blocks=FINAL_DEPTH)
    assert await shop.database.write(sweeps.close_deep_sweeps) == 1
    with pytest.raises(AlreadyThere):
        await store(shop, "s4", coins, 990, replaces="s2")


async def test_a_version_that_could_be_mined_beside_another_is_a_bug(shop: SmallShop) -> None:
    _, coins = await bought(shop, "a", "b", "c")
    await send(shop, "s", coins)
    await send(shop, "s2", coins[:1], replaces="s")
    with pytest.raises(ValueError, match="no coin of s2"):
        await store(shop, "s3", coins[1:], 900, replaces="s2")
    foreign = [Coin(OutPoint("b", 7), 1, 0, b"", "x", 1, 0), *coins]
    with pytest.raises(ValueError, match="does not claim"):
        await store(shop, "s4", foreign, 900, replaces="s2")
    with pytest.raises(ValueError, match="not stored"):
        await store(shop, "s5", coins, 900, replaces="nobody")


async def test_a_lost_coin_takes_its_neighbours_along_and_they_are_swept_without_it(shop: SmallShop) -> None:
    (lost, *others), coins = await bought(shop, "a", "b", "c")
    await send(shop, "s", coins)
    await shop.undo(3)
    await shop.mine(paying("thief", spends=["a"]), *(paying(n, (p, FULL)) for n, p in zip("bc", others, strict=True)))
    await shop.mine(blocks=2)
    await shop.at_tip()
    assert await shown(shop, lost) == (Status.FAILED, None)
    assert [await shown(shop, payment) for payment in others] == [(Status.CONFIRMED, None)] * 2
    assert await accounts(shop) == (2 * FULL, 0, 0)
    assert await shop.database.read(backlog_sat) == 2 * FULL
    assert await shop.database.read(coins_due, shop.keychain, 9) == [], "claimed: the old sweep may come back"

    ((dead, left),) = await shop.database.read(waiting_sweeps.to_rebuild)
    assert (dead.txid, [coin.outpoint.txid for coin in left]) == ("s", ["b", "c"])
    rebuilt = await send(shop, "s2", left, 200, replaces="s")
    assert [await shown(shop, payment) for payment in others] == [(Status.FORWARDED, "s2")] * 2
    assert await accounts(shop) == (0, 2 * FULL - 200, 200)
    assert await shop.database.read(waiting_sweeps.to_rebuild) == []

    # What was lost comes back: it waits until the others are final, and is free then.
    await shop.undo(3)
    await shop.mine(*(paying(n, (p, FULL)) for n, p in zip("abc", (lost, *others), strict=True)), blocks=3)
    await shop.at_tip()
    assert await shown(shop, lost) == (Status.CONFIRMED, None)
    assert await accounts(shop) == (FULL, 2 * FULL - 200, 200)
    await shop.mine(rebuilt, blocks=FINAL_DEPTH)
    assert await shop.database.read(coins_due, shop.keychain, 9) == []
    assert await shop.database.write(sweeps.close_deep_sweeps) == 1
    await shop.check()
    assert [coin.outpoint.txid for coin in await shop.database.read(coins_due, shop.keychain, 9)] == ["a"]


async def test_a_neighbour_in_the_mempool_changes_nothing(shop: SmallShop) -> None:
    """Its sweep may wait beside it: nobody took a coin away."""
    (one, other), coins = await bought(shop, "a", "b")
    await send(shop, "s", coins)
    await shop.undo(3)
    await shop.mine(paying("b", (other, FULL)), blocks=3)
    await shop.at_tip()
    assert await shown(shop, one) == (Status.FAILED, "s")
    assert await shown(shop, other) == (Status.FORWARDED, "s")
    assert await shop.database.read(waiting_sweeps.to_rebuild) == []
    await shop.miss("a")
    assert await shown(shop, other) == (Status.CONFIRMED, None)
    await shop.see(paying("a", (one, FULL)))
    assert await shown(shop, other) == (Status.FORWARDED, "s")


async def test_a_coin_that_somebody_else_has_spent(shop: SmallShop) -> None:
    """Who has the words of the seed, too, may take a coin; the others are not stuck for it."""
    (stolen, other), coins = await bought(shop, "a", "b")
    await send(shop, "s", coins)
    await shop.mine(IncomingTx("somebody", (OutPoint("a", 0),), (), False))
    assert await shown(shop, stolen) == (Status.CONFIRMED, None)
    ((dead, left),) = await shop.database.read(waiting_sweeps.to_rebuild)
    assert (dead.txid, [coin.outpoint.txid for coin in left]) == ("s", ["b"])
    await send(shop, "s2", left, 200, replaces="s")
    assert await shown(shop, other) == (Status.FORWARDED, "s2")
    await shop.undo()
    await shop.at_tip()
    assert await shown(shop, stolen) == (Status.CONFIRMED, None), "the sweep that is under way leaves it out"


async def test_what_waits_to_be_bumped(shop: SmallShop) -> None:
    _, coins = await bought(shop, "a", "b")
    await store(shop, "s", coins)
    ((head, _),) = await shop.database.read(waiting_sweeps.in_mempool, 999)
    assert head.state == "stored", "also one that the node has refused since: a dearer one may pass"
    await shop.database.write(sweeps.record_broadcast, "s", shop.now)
    assert await shop.database.read(waiting_sweeps.in_mempool, 102) == []
    ((head, going),) = await shop.database.read(waiting_sweeps.in_mempool, 103)
    assert (head.txid, [coin.outpoint for coin in going]) == ("s", [coin.outpoint for coin in coins])
    await store(shop, "s2", coins, 900, replaces="s")
    ((head, _),) = await shop.database.read(waiting_sweeps.in_mempool, 103)
    assert head.txid == "s2", "also while that one was not taken yet"
    await shop.mine(IncomingTx("s", tuple(coin.outpoint for coin in coins), (), False))
    assert await shop.database.read(waiting_sweeps.in_mempool, 999) == []


async def test_a_payment_whose_coins_are_late_is_told_of_once(shop: SmallShop) -> None:
    (payment,), coins = await bought(shop, "a")
    await send(shop, "s", coins)
    until = shop.now
    assert await shop.database.read(late_forwards.in_unmined_sweeps, until - 1) == set()
    late = await shop.database.read(late_forwards.in_unmined_sweeps, until)
    assert late == {coins[0].outpoint}
    assert await shop.database.write(late_forwards.record_late, late, shop.now) == [payment.id]
    assert await shop.database.write(late_forwards.record_late, late, shop.now) == []
    await shop.check()
    assert (await shop.events(payment.number))[-1] == "forwarding_failed"
    assert await shop.database.read(late_forwards.told) == late
    (concern,) = await shop.database.read(concerns)
    assert (concern.kind, concern.payment_id, concern.txid, concern.sat) == ("forward", payment.id, "s", FULL)
    await shop.mine(IncomingTx("s", (coins[0].outpoint,), (), False))
    assert await shop.database.read(late_forwards.in_unmined_sweeps, until) == set()
    await shop.database.write(late_forwards.record_arrived, late)
    assert await shop.database.read(late_forwards.told) == set()
    assert (await shop.payment(payment.number)).facts.credits_posted == 400
