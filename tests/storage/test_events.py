"""Events and outbox rows: in the transaction of the change, in order, without gaps."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from payments.events import EventType
from payments.view import payment_view
from storage.database import Database
from storage.errors import AlreadyThere
from storage.events import append, changed_after, events_after, newest_event
from storage.tx import Context, Row, Tx
from tests.storage.small_shop import FULL, START, SmallShop, paying

HOOK, CREDITS_ONLY = "https://all.example", "https://credits.example"


def outbox(tx: Tx) -> list[Row]:
    return tx.all(
        "SELECT e.type, x.endpoint, x.state, x.attempts, x.due_at FROM outbox x JOIN event e ON e.id = x.event_id"
        " ORDER BY e.id, x.endpoint"
    )


async def test_sequences_are_gapless_and_the_feed_is_in_order(shop: SmallShop) -> None:
    bought, other = await shop.create(), await shop.create("u2")
    await shop.mine(paying("a", (bought, FULL), (other, FULL)), blocks=3)
    await shop.at_tip()
    rows = await shop.database.read(events_after, 0, 1000)
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert len({row["uid"] for row in rows}) == len(rows)
    assert (await shop.payment(bought.number)).sequence == 8
    assert await shop.database.read(newest_event) == rows[-1]["id"]
    changed = await shop.database.read(changed_after, rows[0]["id"])
    assert [event for event, _ in changed] == [row["id"] for row in rows[1:]]
    assert {number for _, number in changed} == {bought.number, other.number}


async def test_an_event_shows_the_payment_as_it_was_then(shop: SmallShop) -> None:
    bought = await shop.create()
    await shop.see(paying("a", (bought, FULL)))
    rows = await shop.database.read(events_after, 0, 10)
    told = [json.loads(row["data"]) for row in rows]
    assert [t["status"] for t in told] == ["pending", "confirming", "confirming"]
    assert told[-1] == payment_view(await shop.payment(bought.number), "https://shop.example")


async def test_before_the_first_event(shop: SmallShop) -> None:
    assert await shop.database.read(newest_event) == 0


async def test_reading_on(shop: SmallShop) -> None:
    for _ in range(5):
        await shop.create()
    first = await shop.database.read(events_after, 0, 3)
    rest = await shop.database.read(events_after, first[-1]["id"], 3)
    assert [len(first), len(rest)] == [3, 2]
    assert await shop.database.read(events_after, rest[-1]["id"], 3) == []


async def test_a_change_that_fails_leaves_no_event(shop: SmallShop) -> None:
    bought = await shop.create()

    def fails(tx: Tx) -> None:
        append(tx, EventType.DETECTED, {}, START, payment_number=bought.number, sequence=2)
        raise RuntimeError("after the event")

    with pytest.raises(RuntimeError, match="after the event"):
        await shop.database.write(fails)
    assert len(await shop.database.read(events_after, 0, 10)) == 1
    assert len(await shop.database.read(outbox)) == 1


async def test_each_endpoint_gets_what_it_wants(database_url: str) -> None:
    endpoints = ((HOOK, frozenset[str]()), (CREDITS_ONLY, frozenset({"credits.added"})))
    async with Database(database_url, Context(endpoints=endpoints)) as database:
        shop = await SmallShop(database).open()
        bought = await shop.create()

        def credit(tx: Tx) -> Any:
            return append(tx, EventType.CREDITS_ADDED, {}, START + 5, payment_number=bought.number, sequence=2)

        await database.write(credit)
        rows = await database.read(outbox)
    assert [(r["type"], r["endpoint"], r["due_at"]) for r in rows] == [
        ("payment.created", HOOK, START),
        ("credits.added", HOOK, START + 5),
        ("credits.added", CREDITS_ONLY, START + 5),
    ]
    assert {(r["state"], r["attempts"]) for r in rows} == {("due", 0)}


async def test_what_a_dead_receiver_misses_waits_in_order_and_holds_up_nobody(database_url: str) -> None:
    """Two hours in which nobody takes anything away: all of it is kept, payments go on, and the feed tells it."""
    async with Database(database_url, Context(endpoints=((HOOK, frozenset()),))) as database:
        shop = await SmallShop(database).open()
        bought = await shop.create()
        for block in range(12):
            later = await shop.create(f"u{block}")
            await shop.mine(paying(f"t{block}", (later, FULL)))
        await shop.mine(paying("a", (bought, FULL)), blocks=3)
        await shop.at_tip()
        kept = await database.read(outbox)
        told = await database.read(events_after, 0, 1000)
        assert (await shop.payment(bought.number)).facts.credits_posted == bought.facts.terms.credits
    assert [row["type"] for row in kept] == [row["type"] for row in told]
    assert {(row["endpoint"], row["state"], row["attempts"]) for row in kept} == {(HOOK, "due", 0)}


async def test_a_sequence_number_is_given_once(shop: SmallShop) -> None:
    bought = await shop.create()
    with pytest.raises(AlreadyThere):
        await shop.database.write(
            lambda tx: append(tx, EventType.DETECTED, {}, START, payment_number=bought.number, sequence=1)
        )


async def test_event_numbers_are_in_the_order_of_their_commits(shop: SmallShop) -> None:
    """A reader that has seen number n never meets a smaller one later."""
    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < 60:
            seen.extend(r["id"] for r in await shop.database.read(events_after, seen[-1] if seen else 0, 7))
            await asyncio.sleep(0)

    follower = asyncio.create_task(follow())
    await asyncio.gather(*(shop.create(f"u{n}") for n in range(60)))
    await follower
    everything = await shop.database.read(events_after, 0, 1000)
    assert seen[:60] == [row["id"] for row in everything][:60]
