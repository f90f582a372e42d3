"""Money out: stored before it is broadcast, each coin in one sweep only, the ledger told."""

from __future__ import annotations

import pytest

from payments.coin import Coin
from payments.model import OutPoint, Status
from payments.record import PaymentRecord
from storage import sweep_versions, sweeps, watched
from storage.coins_due import backlog_sat, coins_due
from storage.errors import AlreadyThere
from storage.sweep_versions import Sweep
from storage.tx import Tx
from tests.storage.small_shop import FULL, SmallShop, derive, paying


@pytest.fixture
def shop(forwarding_shop: SmallShop) -> SmallShop:
    return forwarding_shop


async def paid(shop: SmallShop, txid: str, *values: int) -> PaymentRecord:
    bought = await shop.create(amount_sat=sum(values))
    await shop.mine(paying(txid, *((bought, value) for value in values)), blocks=3)
    await shop.at_tip()
    return await shop.payment(bought.number)


async def due(shop: SmallShop) -> dict[int, list[Coin]]:
    found: dict[int, list[Coin]] = {}
    for coin in await shop.database.read(coins_due, shop.keychain, 100):
        found.setdefault(coin.payment_number, []).append(coin)
    return found


def signed(name: str, coins: list[Coin], fee: int, now: int) -> Sweep:
    return Sweep(name, name.encode(), "stored", sum(c.value_sat for c in coins), fee, now)


async def store(shop: SmallShop, name: str, coins: list[Coin], fee: int = 141) -> None:
    await shop.database.write(sweeps.store_sweep, signed(name, coins, fee, shop.now), coins, "bcrt1qowner", shop.now)
    await shop.check()


async def balances(shop: SmallShop) -> tuple[int, int, int]:
    rows = await shop.database.read(lambda tx: tx.all("SELECT kind, balance FROM account WHERE unit = 'sat'"))
    found = {row["kind"]: row["balance"] for row in rows}
    return found.get("till", 0), found.get("owner", 0), found.get("fees", 0)


async def test_from_credit_to_the_owner(shop: SmallShop) -> None:
    payment = await paid(shop, "a", FULL)
    assert payment.state.status is Status.CONFIRMED
    assert await balances(shop) == (FULL, 0, 0)
    assert await shop.database.read(backlog_sat) == FULL
    ((number, coins),) = (await due(shop)).items()
    assert number == payment.number
    index = payment.address_index
    assert coins == [Coin(OutPoint("a", 0), FULL, index, derive(index)[0], payment.id, number, shop.now)]

    await store(shop, "sweep", coins)
    assert await balances(shop) == (0, FULL - 141, 141)
    assert await shop.status(payment.number) is Status.CONFIRMED, "nothing was broadcast yet"
    assert await due(shop) == {}
    assert await shop.database.read(backlog_sat) == FULL
    assert (await shop.payment(payment.number)).forwarding_txid is None
    assert [s.raw for s in await shop.database.read(sweep_versions.sweeps_to_watch)] == [b"sweep"]

    await shop.database.write(sweeps.record_refused, "sweep", "min relay fee not met")
    assert await shop.status(payment.number) is Status.CONFIRMED
    (change,) = await shop.database.write(sweeps.record_broadcast, "sweep", shop.now)
    assert (change.before, change.after) == (Status.CONFIRMED, Status.FORWARDED)
    assert await shop.database.write(sweeps.record_broadcast, "sweep", shop.now) == []
    done = await shop.payment(payment.number)
    assert (done.forwarding_txid, done.completed_at) == ("sweep", shop.now)
    assert await shop.database.read(backlog_sat) == 0
    assert (await shop.events(payment.number))[-2:] == ["confirmed", "forwarded"]


async def test_a_coin_is_claimed_once(shop: SmallShop) -> None:
    payment = await paid(shop, "a", FULL)
    coins = (await due(shop))[payment.number]
    await store(shop, "first", coins)
    with pytest.raises(AlreadyThere):
        await store(shop, "second", coins, fee=99)
    assert [s.txid for s in await shop.database.read(sweep_versions.sweeps_to_watch)] == ["first"]
    assert await balances(shop) == (0, FULL - 141, 141)


async def test_a_sweep_whose_value_is_not_that_of_its_coins_is_a_bug(shop: SmallShop) -> None:
    payment = await paid(shop, "a", FULL)
    coins = (await due(shop))[payment.number]
    wrong = Sweep("s", b"s", "stored", FULL + 1, 141, shop.now)
    with pytest.raises(ValueError, match="40001"):
        await shop.database.write(sweeps.store_sweep, wrong, coins, "bcrt1qowner", shop.now)
    assert await balances(shop) == (FULL, 0, 0)


@pytest.mark.parametrize(
    ("values", "fee"),
    [
        pytest.param((20_000, 20_000), 141, id="halves"),
        pytest.param((1, 1, 39_998), 141, id="dust first"),
        pytest.param((39_998, 1, 1), 141, id="dust last"),
        pytest.param((13_333, 13_333, 13_334), 40_000, id="all of it to the miners"),
        pytest.param((13, 1, 1), 14, id="nearly all of it to the miners"),
        pytest.param((7, 11, 13), 2, id="less fee than coins"),
    ],
)
async def test_the_fee_is_shared_out_to_the_last_satoshi(shop: SmallShop, values: tuple[int, ...], fee: int) -> None:
    payment = await paid(shop, "a", *values)
    await store(shop, "s", (await due(shop))[payment.number], fee)
    assert await balances(shop) == (0, sum(values) - fee, fee)

    def owners_lines(tx: Tx) -> list[int]:
        rows = tx.all(
            "SELECT l.delta FROM transfer_line l JOIN account a ON a.id = l.account_id"
            " WHERE a.kind IN ('owner', 'fees')"
        )
        return [row["delta"] for row in rows]

    assert min(await shop.database.read(owners_lines)) > 0, "no share is larger than its coin"


async def test_what_is_not_swept(shop: SmallShop) -> None:
    late = await shop.create()
    await shop.mine(paying("part", (late, 5)), blocks=3)
    await shop.at_tip()
    assert await due(shop) == {}, "the window is open: the rest may come"
    await shop.close_windows(shop.now + 10**9)
    assert list(await due(shop)) == [late.number]

    stranger = paying("stranger")._replace(prevouts=(OutPoint("part", 0),))
    await shop.mine(stranger)
    assert await due(shop) == {}, "spent already"
    await shop.undo()
    await shop.at_tip()
    assert list(await due(shop)) == [late.number]


async def test_a_reorganised_coin_is_not_swept(shop: SmallShop) -> None:
    payment = await paid(shop, "a", FULL)
    await shop.undo(3)
    assert await due(shop) == {}
    await shop.at_tip()
    assert await due(shop) == {}
    assert await shop.status(payment.number) is Status.FAILED


async def test_excess_after_the_sweep_is_swept_by_another(shop: SmallShop) -> None:
    payment = await paid(shop, "a", FULL)
    await store(shop, "one", (await due(shop))[payment.number])
    await shop.database.write(sweeps.record_broadcast, "one", shop.now)
    await shop.mine(paying("more", (payment, 7_000)), blocks=3)
    await shop.at_tip()
    assert await shop.status(payment.number) is Status.FORWARDED, "more coins do not undo a forward"
    coins = (await due(shop))[payment.number]
    assert [c.outpoint.txid for c in coins] == ["more"]
    await store(shop, "two", coins)
    await shop.database.write(sweeps.record_broadcast, "two", shop.now)
    assert await shop.status(payment.number) is Status.FORWARDED
    assert await balances(shop) == (0, FULL + 7_000 - 282, 282)


async def test_a_deep_sweep_is_let_go(shop: SmallShop) -> None:
    payment = await paid(shop, "a", FULL)
    await store(shop, "s", (await due(shop))[payment.number])
    assert OutPoint("a", 0) in await shop.database.read(watched.prevouts_worth_watching)
    await shop.database.write(sweeps.record_broadcast, "s", shop.now)
    await shop.mine(paying("s")._replace(prevouts=(OutPoint("a", 0),)))
    assert await shop.database.read(sweep_versions.in_active_block, "s")
    await shop.mine(blocks=sweeps.FINAL_DEPTH - 2)
    assert await shop.database.write(sweeps.close_deep_sweeps) == 0
    await shop.mine()
    assert await shop.database.write(sweeps.close_deep_sweeps) == 1
    assert await shop.database.read(sweep_versions.sweeps_to_watch) == []
    assert await shop.status(payment.number) is Status.FORWARDED
