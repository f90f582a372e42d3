"""Blocks come and go: connect and disconnect are inverses, credit survives what it may survive."""

from __future__ import annotations

import json
from typing import Any

import pytest

from payments.model import BlockHeader, BlockId, OutPoint, Status
from storage import chain
from storage.errors import CursorMoved
from storage.records import fresh_facts
from storage.tx import Tx
from tests.storage.small_shop import BIRTH, FULL, MINUTE, SmallShop, paying


async def test_the_first_cursor_is_set_once(shop: SmallShop) -> None:
    await shop.database.write(chain.begin_at, BlockId(5, "other"))
    assert await shop.database.read(chain.cursor) == BIRTH


async def test_a_payment_goes_its_way(shop: SmallShop) -> None:
    bought = await shop.create()
    tx = paying("a", (bought, FULL))
    await shop.see(tx)
    assert await shop.status(bought.number) is Status.CONFIRMING
    await shop.mine(tx, blocks=3)
    await shop.at_tip()
    done = await shop.payment(bought.number)
    assert (done.state.status, done.facts.credits_posted) == (Status.FORWARDED, 400)
    assert done.confirmed_at == done.completed_at == shop.now
    assert await shop.events(bought.number) == [
        *("created", "detected", "confirming", "confirming", "confirming", "confirming"),
        *("credits.added", "confirmed", "forwarded"),
    ]


@pytest.mark.parametrize(("height_off", "parent"), [(0, "genesis"), (2, "genesis"), (1, "other")])
async def test_a_block_that_does_not_follow_is_refused_whole(shop: SmallShop, height_off: int, parent: str) -> None:
    bought = await shop.create()
    header = BlockHeader(BIRTH.height + height_off, "x", parent, shop.now)
    with pytest.raises(CursorMoved):
        await shop.database.write(chain.connect, header, [paying("a", (bought, FULL))], shop.now)
    assert await shop.database.read(chain.cursor) == BIRTH
    assert await shop.status(bought.number) is Status.PENDING


async def test_only_the_block_at_the_cursor_can_be_disconnected(shop: SmallShop) -> None:
    await shop.mine(blocks=2)
    low = shop.blocks[0]
    with pytest.raises(CursorMoved):
        await shop.database.write(chain.disconnect, low.id, low.prev_hash)
    await shop.undo(2)
    assert await shop.database.read(chain.cursor) == BIRTH


def facts_and_coins(tx: Tx) -> Any:
    """What connecting changes: facts of every payment, and which coins are spent."""
    facts = [fresh_facts(tx, row) for row in tx.all("SELECT * FROM payment ORDER BY number")]
    return facts, spenders(tx), chain.cursor(tx)


def spenders(tx: Tx) -> list[str | None]:
    return [row["spent_by"] for row in tx.all("SELECT spent_by FROM output ORDER BY txid, vout")]


async def test_connect_and_disconnect_are_inverses(forwarding_shop: SmallShop) -> None:
    """Disconnect, connect the same block again, and nothing but `was_disconnected` has changed."""
    shop = forwarding_shop
    first, second = await shop.create(), await shop.create("u2")
    seen = paying("a", (first, FULL), (second, 7))
    await shop.see(seen)
    before = await shop.database.read(facts_and_coins)
    spender = paying("spender", (second, FULL))._replace(prevouts=(OutPoint("a", 0),))
    await shop.mine(seen)
    once = await shop.database.read(facts_and_coins)
    await shop.mine(spender)
    twice = await shop.database.read(facts_and_coins)
    assert twice[1] != once[1]

    undone = await shop.undo()
    assert (await shop.database.read(facts_and_coins))[1][:2] == once[1], "a coin stays spent by an undone block"
    undone += await shop.undo()
    after = await shop.database.read(facts_and_coins)
    assert after[2] == before[2]
    assert [o.in_mempool for f in after[0] for o in f.outputs] == [True, True, True]

    for header, mined in zip(reversed(undone), ([seen], [spender]), strict=True):
        await shop.database.write(chain.connect, header, mined, shop.now)
        shop.blocks.append(header)
    again = await shop.database.read(facts_and_coins)
    assert again[1:] == twice[1:]
    assert [o.height for f in again[0] for o in f.outputs] == [o.height for f in twice[0] for o in f.outputs]


async def test_a_spend_by_a_stranger_is_undone_too(forwarding_shop: SmallShop) -> None:
    """A spender that pays us nothing is not linked for its outputs; its block takes it along all the same."""
    shop = forwarding_shop
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)))
    stranger = paying("s")._replace(prevouts=(OutPoint("a", 0),))
    await shop.mine(stranger)
    assert await shop.database.read(spenders) == ["s"]
    await shop.undo()
    assert await shop.database.read(spenders) == [None]


async def test_remined_in_the_new_branch_nothing_is_reversed(shop: SmallShop) -> None:
    bought = await shop.create()
    tx = paying("a", (bought, FULL))
    await shop.mine(tx, blocks=3)
    await shop.at_tip()
    told = await shop.events(bought.number)
    await shop.undo(3)
    assert await shop.status(bought.number) is Status.FORWARDED, "judged in the middle of a reorganisation"
    assert await shop.book() == []
    await shop.mine(blocks=1)
    await shop.mine(tx)
    assert await shop.status(bought.number) is Status.FORWARDED
    await shop.at_tip()
    after = await shop.payment(bought.number)
    assert (after.state.status, after.facts.credits_posted) == (Status.FORWARDED, 400)
    assert (await shop.events(bought.number))[len(told) :] == ["reorged"]


async def test_not_remined_is_reversed_at_the_tip_and_comes_back(shop: SmallShop) -> None:
    bought = await shop.create()
    tx = paying("a", (bought, FULL))
    await shop.mine(tx, blocks=3)
    await shop.at_tip()
    told = len(await shop.events(bought.number))
    await shop.undo(3)
    await shop.mine(blocks=4)
    assert await shop.status(bought.number) is Status.FORWARDED
    await shop.at_tip()
    undone = await shop.payment(bought.number)
    assert (undone.state.status, undone.state.failure_reason) == (Status.FAILED, "reversed")
    assert (undone.facts.credits_posted, undone.confirmed_at, undone.completed_at) == (0, None, None)
    assert (await shop.events(bought.number))[told:] == ["credits.reversed", "reorged", "failed"]

    await shop.mine(tx, blocks=2)
    await shop.at_tip()
    assert await shop.status(bought.number) is Status.FAILED
    await shop.mine()
    await shop.at_tip()
    back = await shop.payment(bought.number)
    assert (back.state.status, back.facts.credits_posted) == (Status.FORWARDED, 400)


async def test_double_spent_in_the_new_branch(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    await shop.at_tip()
    await shop.undo(3)
    await shop.mine(paying("thief", spends=["a"]), blocks=4)
    await shop.at_tip()
    undone = await shop.payment(bought.number)
    assert undone.state.failure_reason == "reversed"
    assert [o.replaced_by for o in undone.facts.outputs] == ["thief"]


async def test_a_crash_in_the_middle_of_a_reorganisation(shop: SmallShop) -> None:
    """Payments of a disconnected block stay unjudged in the database until somebody settles them."""
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    await shop.at_tip()
    await shop.undo(3)
    shop.now += MINUTE
    await shop.close_windows(shop.now + 99 * MINUTE)
    assert await shop.status(bought.number) is Status.FORWARDED
    await shop.at_tip()
    assert await shop.status(bought.number) is Status.FAILED


async def test_a_coinbase_does_not_return_to_the_mempool(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.mine(paying("cb", (bought, FULL), coinbase=True))
    await shop.at_tip()
    await shop.undo()
    await shop.at_tip()
    (fact,) = (await shop.payment(bought.number)).facts.outputs
    assert (fact.in_mempool, fact.was_disconnected) == (False, True)


async def test_a_tip_that_falls_takes_back_what_was_due(shop: SmallShop) -> None:
    """N deep and not yet booked, then the tip falls below N: the pass books nothing and says so."""
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    assert (await shop.payment(bought.number)).state.confirmed_sat == FULL
    await shop.undo(2)
    await shop.mine()
    await shop.at_tip()
    now = await shop.payment(bought.number)
    assert (now.state.status, now.state.confirmed_sat, now.facts.credits_posted) == (Status.CONFIRMING, 0, 0)
    await shop.mine()
    await shop.at_tip()
    assert await shop.status(bought.number) is Status.FORWARDED


async def test_the_evidence_is_kept_with_the_deposit(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    await shop.at_tip()
    row = await shop.database.read(lambda tx: tx.one("SELECT evidence FROM transfer WHERE kind = 'deposit'"))
    assert row is not None
    assert json.loads(row["evidence"]) == {"tip_height": 103, "confirmations_required": 3, "block_height": 101}


async def test_only_payments_that_cross_a_threshold_are_touched(shop: SmallShop) -> None:
    """A confirmed payment is not asked about again, however many blocks come."""
    bought = await shop.create()
    await shop.mine(paying("a", (bought, FULL)), blocks=3)
    await shop.at_tip()
    assert (await shop.payment(bought.number)).state.wake_height is None
    sequence = (await shop.payment(bought.number)).sequence
    await shop.mine(blocks=3)
    after = await shop.payment(bought.number)
    assert (after.sequence, after.tip_height) == (sequence, 106)
