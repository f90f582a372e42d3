"""What the ledger says of coins in a sweep when a reorganisation takes them away, and gives them back."""

from __future__ import annotations

import pytest

from payments.model import IncomingTx, OutPoint, Status
from payments.record import PaymentRecord
from storage import sweep_versions, sweeps
from storage.coins_due import backlog_sat, coins_due
from storage.sweep_versions import Sweep
from storage.tx import Tx
from tests.storage.small_shop import FULL, SmallShop, paying

FEE = 110
HALF = FULL // 2


@pytest.fixture
def shop(forwarding_shop: SmallShop) -> SmallShop:
    return forwarding_shop


async def forward(shop: SmallShop, payment: PaymentRecord, name: str = "sweep") -> IncomingTx:
    """Sign, store, broadcast; the sweep as a block would show it."""
    due = await shop.database.read(coins_due, shop.keychain, 100)
    coins = [coin for coin in due if coin.payment_number == payment.number]
    sweep = Sweep(name, b"", "stored", sum(c.value_sat for c in coins), FEE, shop.now)
    await shop.database.write(sweeps.store_sweep, sweep, coins, "bcrt1qowner", shop.now)
    await shop.database.write(sweeps.record_broadcast, name, shop.now)
    await shop.check()
    return IncomingTx(name, tuple(c.outpoint for c in coins), (), False)


async def bought(shop: SmallShop, *txs: tuple[str, int]) -> tuple[PaymentRecord, list[IncomingTx]]:
    """Paid by these transactions, all in one block, and booked."""
    payment = await shop.create()
    paid = [paying(name, (payment, sat)) for name, sat in txs]
    await shop.mine(*paid, blocks=3)
    await shop.at_tip()
    return payment, paid


async def accounts(shop: SmallShop) -> tuple[int, int, int, int]:
    """Satoshi in (chain, till, owner, fees)."""
    rows = await shop.database.read(lambda tx: tx.all("SELECT kind, balance FROM account WHERE unit = 'sat'"))
    found = {row["kind"]: row["balance"] for row in rows}
    return found.get("chain", 0), found.get("till", 0), found.get("owner", 0), found.get("fees", 0)


async def watched(shop: SmallShop) -> list[str]:
    return [sweep.txid for sweep in await shop.database.read(sweep_versions.sweeps_to_watch)]


async def entries(shop: SmallShop) -> list[str]:
    rows = await shop.database.read(lambda tx: tx.all("SELECT kind FROM transfer ORDER BY id"))
    return [row["kind"] for row in rows]


FORWARDED = (-FULL, 0, FULL - FEE, FEE)
NOTHING = (0, 0, 0, 0)


async def test_double_spent_after_the_sweep_was_mined(shop: SmallShop) -> None:
    payment, (paid,) = await bought(shop, ("a", FULL))
    sweep = await forward(shop, payment)
    await shop.mine(sweep)
    assert await accounts(shop) == FORWARDED
    await shop.undo(4)
    assert await watched(shop) == ["sweep"], "in the mempool, as far as we know"
    thief = paying("thief", spends=["a"])
    await shop.mine(thief, blocks=5)
    await shop.at_tip()
    lost = await shop.payment(payment.number)
    assert (lost.state.status, lost.forwarding_txid, lost.facts.outputs[0].forwarded) == (Status.FAILED, None, False)
    assert await accounts(shop) == NOTHING
    assert await watched(shop) == [], "it rests: nobody can take it"
    assert await entries(shop) == ["deposit", "forward", "forward_reversal", "reversal"]
    assert await shop.database.read(backlog_sat) == 0

    await shop.undo(5)
    await shop.mine(paid, blocks=3)
    assert await watched(shop) == ["sweep"], "the same bytes are worth something again"
    await shop.at_tip()
    back = await shop.payment(payment.number)
    assert (back.state.status, back.forwarding_txid) == (Status.FORWARDED, "sweep")
    assert await accounts(shop) == FORWARDED
    assert (await entries(shop))[4:] == ["deposit", "forward"]
    await shop.mine(sweep, blocks=3)
    assert await accounts(shop) == FORWARDED


async def test_there_and_back_again_and_again(shop: SmallShop) -> None:
    payment, (paid,) = await bought(shop, ("a", FULL))
    await forward(shop, payment)
    for _ in range(3):
        await shop.undo(3)
        await shop.at_tip()
        assert await accounts(shop) == NOTHING
        await shop.mine(paid, blocks=3)
        await shop.at_tip()
        assert await accounts(shop) == FORWARDED


async def test_the_payment_goes_back_to_the_mempool_and_its_sweep_with_it(shop: SmallShop) -> None:
    payment, (paid,) = await bought(shop, ("a", FULL))
    await forward(shop, payment)
    await shop.undo(3)
    await shop.mine(blocks=4)
    await shop.at_tip()
    waiting = await shop.payment(payment.number)
    assert (waiting.state.status, waiting.forwarding_txid) == (Status.FAILED, "sweep"), "both wait for a block"
    assert await accounts(shop) == NOTHING
    assert await watched(shop) == ["sweep"]
    await shop.miss("a")
    assert (await shop.payment(payment.number)).forwarding_txid is None
    assert await watched(shop) == []
    await shop.see(paid)
    assert (await shop.payment(payment.number)).forwarding_txid == "sweep"
    assert await watched(shop) == ["sweep"]


async def test_the_sweep_was_in_the_stale_block_and_the_payment_is_mined_again(shop: SmallShop) -> None:
    payment, (paid,) = await bought(shop, ("a", FULL))
    await shop.mine(await forward(shop, payment))
    written = await entries(shop)
    await shop.undo(4)
    await shop.mine(paid, blocks=5)
    await shop.at_tip()
    assert await accounts(shop) == FORWARDED
    assert await entries(shop) == written, "nothing was taken back, so nothing is written"
    assert await watched(shop) == ["sweep"]
    assert (await shop.payment(payment.number)).forwarding_txid == "sweep"


async def test_one_of_two_coins_is_lost(shop: SmallShop) -> None:
    """A transaction spends all its inputs or none: the coin that is left is in the till again."""
    payment, (first, second) = await bought(shop, ("a", HALF), ("b", HALF))
    sweep = await forward(shop, payment)
    await shop.mine(sweep)
    assert await accounts(shop) == FORWARDED
    await shop.undo(4)
    await shop.mine(paying("thief", spends=["a"]), second, blocks=5)
    await shop.at_tip()
    assert await accounts(shop) == (-HALF, HALF, 0, 0)
    assert await shop.database.read(backlog_sat) == HALF
    assert (await shop.payment(payment.number)).forwarding_txid is None
    assert await watched(shop) == []
    await shop.undo(5)
    await shop.mine(first, second, blocks=3)
    await shop.at_tip()
    assert await accounts(shop) == FORWARDED
    assert await watched(shop) == ["sweep"]


async def test_a_sweep_that_was_let_go_is_watched_again_when_its_block_is_undone(shop: SmallShop) -> None:
    payment, _ = await bought(shop, ("a", FULL))
    await shop.mine(await forward(shop, payment), blocks=sweeps.FINAL_DEPTH)
    assert await shop.database.write(sweeps.close_deep_sweeps) == 1
    assert await watched(shop) == []
    await shop.undo(sweeps.FINAL_DEPTH)
    await shop.at_tip()
    assert await watched(shop) == ["sweep"]
    assert await accounts(shop) == FORWARDED


async def test_a_sweep_whose_coin_went_while_it_was_signed(shop: SmallShop) -> None:
    _, (paid,) = await bought(shop, ("a", FULL))
    coins = await shop.database.read(coins_due, shop.keychain, 100)
    await shop.undo(3)
    await shop.at_tip()
    sweep = Sweep("sweep", b"", "stored", FULL, FEE, shop.now)
    await shop.database.write(sweeps.store_sweep, sweep, coins, "bcrt1qowner", shop.now)
    await shop.check()
    assert await accounts(shop) == NOTHING
    await shop.mine(paid, blocks=3)
    await shop.at_tip()
    assert await accounts(shop) == FORWARDED


async def test_the_entries_name_the_sweep_and_their_coin(shop: SmallShop) -> None:
    payment, _ = await bought(shop, ("a", HALF), ("b", HALF))
    await forward(shop, payment)
    await shop.undo(3)
    await shop.at_tip()

    def written(tx: Tx) -> list[tuple[str, OutPoint, int, str]]:
        rows = tx.all("SELECT * FROM transfer WHERE kind LIKE 'forward%' ORDER BY id")
        return [(r["kind"], OutPoint(r["txid"], r["vout"]), r["epoch"], r["evidence"]) for r in rows]

    told = await shop.database.read(written)
    assert told == [
        (kind, OutPoint(name, 0), 0, '{"sweep":"sweep"}')
        for kind in ("forward", "forward_reversal")
        for name in ("a", "b")
    ]
