"""The feed for shops, the stream for pages."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import ClientResponse

from api.changes import CHANGES
from storage.database import Database
from tests.api.till import BASE, Till
from tests.waiting import wait_for_async


async def test_a_shop_catches_up(till: Till) -> None:
    payment = await till.create("u1")
    await till.pay(payment["address"], 40_000)
    await till.mine(3)
    reader = await till.key("payments:read")
    after, events = 0, []
    while True:
        url = f"{BASE}/events?after={after}&limit=2"
        body = await (await till.client.get(url, headers=reader)).json()
        events += body["events"]
        if not body["events"]:
            assert body["next_after"] == after
            break
        after = body["next_after"]
    types = [event["type"] for event in events]
    assert types[:3] == ["payment.created", "payment.detected", "payment.confirming"]
    assert {"payment.confirmed", "payment.forwarded", "credits.added"} <= set(types)
    assert len({event["id"] for event in events}) == len(events)
    for event in events:
        assert set(event) == {"id", "type", "sequence", "created_at", "data"}
        assert event["data"]["user_id"] == "u1"


async def next_event(stream: ClientResponse) -> tuple[str | None, dict[str, Any]]:
    """`id` and data of the next event; comments and `retry:` are skipped."""
    lines: list[str] = []
    async with asyncio.timeout(5):
        while True:
            line = (await stream.content.readline()).decode().rstrip("\n")
            if line:
                lines.append(line)
                continue
            fields = dict(part.split(": ", 1) for part in lines if not part.startswith(":"))
            lines = []
            if "data" in fields:
                return fields.get("id"), json.loads(fields["data"])


async def test_the_stream_shows_each_change(till: Till) -> None:
    payment = await till.create("u1")
    url = f"{BASE}/payments/{payment['payment_id']}/events"
    async with till.client.get(url) as stream:
        assert stream.status == 200
        assert stream.content_type == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        first_id, first = await next_event(stream)
        assert first == {k: v for k, v in payment.items() if k not in ("user_id", "metadata")}
        await till.pay(payment["address"], 40_000)
        _, seen = await next_event(stream)
        assert seen["status"] == "confirming"
        await till.mine(3)
        while seen["status"] != "forwarded":
            last_id, seen = await next_event(stream)
        assert seen["credited"] == 400
    assert first_id != last_id

    async with till.client.get(url, headers={"Last-Event-ID": str(last_id)}) as stream:
        assert (await stream.content.readline()).startswith(b"retry: ")
        await stream.content.readline()
        with_nothing_new = asyncio.create_task(next_event(stream))
        await asyncio.sleep(0.1)
        assert not with_nothing_new.done()
        with_nothing_new.cancel()
        await asyncio.gather(with_nothing_new, return_exceptions=True)
    async with till.client.get(url, headers={"Last-Event-ID": str(first_id)}) as stream:
        assert (await next_event(stream))[1] == seen


async def test_the_stream_shows_what_is_no_event(till: Till) -> None:
    """Depths of a part, and of a payment that is done: whoever has the page open sees what GET shows."""
    payment = await till.create("u1")
    path = f"{BASE}/payments/{payment['payment_id']}"
    async with till.client.get(f"{path}/events") as stream:
        await next_event(stream)
        await till.pay(payment["address"], 15_000)
        assert (await next_event(stream))[1]["received_sat"] == 15_000
        for depth in (1, 2, 3, 4):
            await till.mine()
            shown = (await next_event(stream))[1]
            while shown["transactions"][0]["confirmations"] < depth:
                shown = (await next_event(stream))[1]
            assert shown == await (await till.client.get(path)).json()
    assert (shown["confirmed_sat"], shown["status"]) == (15_000, "pending")


async def test_the_stream_sees_what_another_process_writes(till: Till, database_url: str) -> None:
    payment = await till.create("u1")
    url = f"{BASE}/payments/{payment['payment_id']}/events"
    async with till.client.get(url) as stream, Database(database_url) as other:
        await next_event(stream)
        elsewhere = Till(other, till.client, till.keychain_id)
        await elsewhere.pay(payment["address"], 40_000)
        assert (await next_event(stream))[1]["status"] == "confirming"


async def test_nobody_is_woken_for_the_payment_of_another(till: Till) -> None:
    """Thousands of pages may be open: one payment's change must not cost a look for each of them."""
    first, second = await till.create("u1"), await till.create("u2")
    changes = till.client.app[CHANGES]
    with changes.listening(1) as of_first, changes.listening(2) as of_second, changes.listening(2) as again:
        await till.create("u3")
        await wait_for_async(of_first.is_set)  # from now on the feed is followed
        for event in (of_first, of_second, again):
            event.clear()
        await till.pay(second["address"], 40_000)
        await wait_for_async(lambda: of_second.is_set() and again.is_set())
        assert not of_first.is_set()
        await till.pay(first["address"], 40_000)
        await wait_for_async(of_first.is_set)
    assert changes.listeners == 0


async def test_streams_end_with_their_readers_and_with_the_service(till: Till) -> None:
    payment = await till.create("u1")
    changes = till.client.app[CHANGES]
    url = f"{BASE}/payments/{payment['payment_id']}/events"
    async with till.client.get(url) as stream:
        await next_event(stream)
        assert changes.listeners == 1
        stream.close()
    await till.pay(payment["address"], 1_000)
    await wait_for_async(lambda: changes.listeners == 0, timeout=5)
    async with till.client.get(url) as stream:
        await next_event(stream)
        changes.close()
        async with asyncio.timeout(5):
            assert await stream.content.read() == b""
