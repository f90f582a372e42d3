"""Facts about transactions: seen, replaced, gone from the mempool, in any order and any number of times."""

from __future__ import annotations

import pytest

from payments.model import Flag, IncomingTx, LatePolicy, OutPoint, OutputState, PaidOutput, Status
from storage import incoming
from tests.storage.small_shop import FULL, MINUTE, SmallShop, paying

HOUR = 60 * MINUTE


async def test_seen_twice_is_seen_once(shop: SmallShop) -> None:
    bought = await shop.create()
    tx = paying("a", (bought, 15_000), (bought, 25_000))
    (change,) = await shop.see(tx)
    assert (change.before, change.after) == (Status.PENDING, Status.CONFIRMING)
    shop.now += MINUTE
    assert await shop.see(tx) == []
    record = await shop.payment(bought.number)
    assert [o.value_sat for o in record.facts.outputs] == [15_000, 25_000]
    assert record.state.detected_at == shop.now - MINUTE
    assert await shop.events(bought.number) == ["created", "detected", "confirming"]


async def test_one_transaction_pays_two_shoppers(shop: SmallShop) -> None:
    first, second = await shop.create(), await shop.create("u2")
    changes = await shop.see(paying("a", (first, FULL), (second, 5), (first, 1)))
    assert [c.user_id for c in changes] == ["u1"]
    assert (await shop.payment(first.number)).state.received_sat == FULL + 1
    assert (await shop.payment(second.number)).state.flags == (Flag.UNDERPAID,)


async def test_a_script_nobody_was_shown_is_passed_over(shop: SmallShop) -> None:
    unknown = IncomingTx("a", (OutPoint("coin", 0),), (PaidOutput(0, FULL, b"\x51"),), coinbase=False)
    assert await shop.see(unknown) == []
    await shop.mine(unknown)


async def test_the_moment_of_payment_is_the_nodes_when_that_was_earlier(shop: SmallShop) -> None:
    bought = await shop.create()
    shop.now += 2 * HOUR
    await shop.see(paying("a", (bought, FULL)), paid_at=shop.now - 90 * MINUTE)
    record = await shop.payment(bought.number)
    assert record.state.flags == ()
    assert record.state.detected_at == shop.now


async def test_a_clock_of_the_node_that_runs_ahead_makes_nobody_late(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.see(paying("a", (bought, FULL)), paid_at=shop.now + 5 * HOUR)
    await shop.mine(paying("b", (bought, FULL)), time=shop.now + 5 * HOUR)
    assert [o.paid_at for o in (await shop.payment(bought.number)).facts.outputs] == [shop.now, shop.now]


async def test_never_in_our_mempool_but_in_a_block(shop: SmallShop) -> None:
    bought = await shop.create()
    shop.now += 2 * HOUR
    await shop.mine(paying("a", (bought, FULL)), time=shop.now - HOUR)
    record = await shop.payment(bought.number)
    assert (record.state.status, record.state.flags) == (Status.CONFIRMING, ())


async def test_bumped_in_the_mempool(shop: SmallShop) -> None:
    bought = await shop.create(late=LatePolicy.HOLD)
    await shop.see(paying("a", (bought, FULL)))
    shop.now += 2 * HOUR
    await shop.close_windows()
    bump = paying("b", (bought, FULL), spends=["a"])
    await shop.see(bump)
    record = await shop.payment(bought.number)
    assert (record.state.status, record.state.received_sat) == (Status.CONFIRMING, FULL)
    assert record.state.flags == (Flag.REPLACED,)
    assert [o.state for o in record.facts.outputs] == [OutputState.REPLACED, OutputState.MEMPOOL]
    await shop.mine(bump, blocks=3)
    await shop.at_tip()
    assert (await shop.payment(bought.number)).facts.credits_posted == 400


async def test_bumped_again_late_and_upwards_is_late(shop: SmallShop) -> None:
    """Two small transactions for the same coin, in time, do not add up to a large one that comes late."""
    bought = await shop.create(late=LatePolicy.HOLD)
    await shop.see(paying("a", (bought, FULL // 2), spends=["coin"]))
    await shop.see(paying("b", (bought, FULL // 2), spends=["coin"]))
    shop.now += 2 * HOUR
    await shop.see(paying("c", (bought, FULL), spends=["coin"]))
    record = await shop.payment(bought.number)
    assert Flag.LATE in record.state.flags
    assert {o.outpoint.txid: o.replaced_by for o in record.facts.outputs} == {"a": "b", "b": "c", "c": None}


async def test_replaced_by_a_transaction_that_pays_somebody_else(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.see(paying("a", (bought, FULL)))
    (change,) = await shop.see(paying("x", spends=["a"]))
    assert (change.before, change.after) == (Status.CONFIRMING, Status.PENDING)
    shop.now += HOUR
    await shop.close_windows()
    assert await shop.status(bought.number) is Status.EXPIRED
    assert await shop.events(bought.number) == ["created", "detected", "confirming", "replaced", "expired"]


async def test_the_original_comes_back(shop: SmallShop) -> None:
    """The replacement was in a stale block; the node has the first transaction again."""
    bought = await shop.create()
    original, double = paying("a", (bought, FULL)), paying("x", spends=["a"])
    await shop.see(original)
    await shop.mine(double)
    assert await shop.status(bought.number) is Status.PENDING
    await shop.undo()
    await shop.see(original)
    (fact,) = (await shop.payment(bought.number)).facts.outputs
    assert (fact.state, fact.replaced_by) == (OutputState.MEMPOOL, None)
    assert await shop.status(bought.number) is Status.CONFIRMING


async def test_a_hint_for_what_is_in_a_block_changes_nothing(shop: SmallShop) -> None:
    """rawtx fires on block connect too; by then the transaction is no longer in the mempool."""
    bought = await shop.create()
    tx = paying("a", (bought, FULL))
    await shop.mine(tx)
    assert await shop.see(tx) == []
    assert await shop.database.read(incoming.in_mempool) == []


async def test_a_mined_payment_is_not_replaced_by_a_rumour(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)))
    await shop.see(paying("x", (bought, 1), spends=["a"]))
    facts = {o.outpoint.txid: o for o in (await shop.payment(bought.number)).facts.outputs}
    assert facts["a"].state is OutputState.CONFIRMED


@pytest.mark.parametrize(
    ("by", "state", "told"),
    [(None, OutputState.DROPPED, "dropped"), ("x", OutputState.REPLACED, "replaced")],
)
async def test_missing_from_the_mempool(shop: SmallShop, by: str | None, state: OutputState, told: str) -> None:
    bought = await shop.create()
    await shop.see(paying("a", (bought, FULL)))
    await shop.miss("a", by)
    await shop.miss("a", by)
    record = await shop.payment(bought.number)
    assert (record.state.status, record.facts.outputs[0].state) == (Status.PENDING, state)
    assert (await shop.events(bought.number))[-1] == told
    assert await shop.database.read(incoming.in_mempool) == []
    assert await shop.database.read(incoming.gone) == ["a"]
    await shop.see(paying("a", (bought, FULL)))
    assert await shop.status(bought.number) is Status.CONFIRMING


async def test_missing_from_the_mempool_because_it_was_mined(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)))
    await shop.miss("a")
    assert await shop.status(bought.number) is Status.CONFIRMING
    assert await shop.database.read(incoming.gone) == []


async def test_malleated(shop: SmallShop) -> None:
    """The same coins under another txid are a replacement, not a second payment."""
    bought = await shop.create()
    await shop.see(paying("a", (bought, FULL)))
    await shop.mine(paying("a2", (bought, FULL), spends=["a"]), blocks=3)
    await shop.at_tip()
    record = await shop.payment(bought.number)
    assert (record.state.received_sat, record.facts.credits_posted) == (FULL, 400)


async def test_prevouts_and_outputs_are_known(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.see(paying("a", (bought, 1), spends=["p", "q"]))
    database = shop.database
    assert set(await database.read(incoming.prevouts_of, "a")) == {OutPoint("coin-p", 0), OutPoint("coin-q", 0)}
    assert await database.read(incoming.knows, OutPoint("a", 0))
    assert not await database.read(incoming.knows, OutPoint("a", 1))


async def test_what_the_witness_found_is_made_good(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.mine(blocks=3)
    missed = paying("a", (bought, FULL))
    assert not await shop.database.write(incoming.record_missed, missed, "no-such-block", shop.now)
    assert await shop.status(bought.number) is Status.PENDING
    assert await shop.database.write(incoming.record_missed, missed, shop.blocks[0].hash, shop.now)
    assert await shop.database.write(incoming.record_missed, missed, shop.blocks[0].hash, shop.now)
    await shop.at_tip()
    assert (await shop.payment(bought.number)).facts.credits_posted == 400


async def test_eleven_dust_outputs_before_the_real_one(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.see(paying("dust", *[(bought, 546)] * 11))
    await shop.see(paying("real", (bought, FULL)))
    record = await shop.payment(bought.number)
    assert (record.state.status, record.state.tx_hash) == (Status.CONFIRMING, "real")
    assert record.state.received_sat == FULL + 11 * 546
    await shop.mine(paying("dust", *[(bought, 546)] * 11), paying("real", (bought, FULL)), blocks=3)
    await shop.at_tip()
    assert (await shop.payment(bought.number)).facts.credits_posted == 460
