"""GET /events for shops, GET /payments/{id}/events (Server-Sent Events) for payers' pages."""

from __future__ import annotations

import json
import zlib
from typing import Any

from aiohttp import web

from api.answer import answer
from api.auth import caller_of
from api.caller import Scope
from api.changes import CHANGES, wait
from api.payments import find_payment
from api.problem import Kind, Problem
from api.query import limit_of, parameters, whole
from api.shop import SHOP
from payments.record import PaymentRecord
from payments.view import payers_view, rfc3339
from storage.events import events_after
from storage.tx import Row

MAX_STREAMS = 2_000
RETRY_MS = 2_000
PING_SECONDS = 15.0


def event_json(row: Row) -> dict[str, Any]:
    """One event as feeds and webhooks tell it."""
    return {
        "id": row["uid"],
        "type": row["type"],
        "sequence": row["sequence"],
        "created_at": rfc3339(row["created_at"]),
        "data": json.loads(row["data"]),
    }


async def get_events(request: web.Request) -> web.Response:
    """GET /events: everything that happened, in order. Go on with `after=next_after`."""
    shop, caller = request.app[SHOP], await caller_of(request)
    caller.require(Scope.PAYMENTS_READ)
    found = parameters(request, ("after", "limit"))
    after = whole(found, "after", default=0, least=0)
    rows = await shop.database.read(events_after, after, limit_of(found))
    last = rows[-1]["id"] if rows else after
    return answer({"events": [event_json(row) for row in rows], "next_after": last})


def _version(record: PaymentRecord, shown: str) -> str:
    """`id:` of what is shown. Not everything that shows is an event: a partial payment gets confirmations."""
    return f"{record.sequence}-{zlib.crc32(shown.encode()):08x}"


async def payment_events(request: web.Request) -> web.StreamResponse:
    """The payer's view now, and again on each change (WHATWG HTML, section Server-sent events)."""
    shop, changes = request.app[SHOP], request.app[CHANGES]
    payment_id = request.match_info["payment_id"]
    record = await find_payment(shop, payment_id)
    if changes.listeners >= MAX_STREAMS:
        raise Problem(Kind.UNAVAILABLE, "Too many streams are open.", headers={"Retry-After": "5"})
    told = request.headers.get("Last-Event-ID")
    stream = web.StreamResponse(
        # nginx would hold events back in its buffer.
        headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
    )
    try:
        await stream.prepare(request)
        await stream.write(f"retry: {RETRY_MS}\n\n".encode())
        with changes.listening(record.number) as changed:
            while not changes.closed:
                changed.clear()
                record = await find_payment(shop, payment_id)
                shown = json.dumps(payers_view(record, shop.public_url))
                if (now := _version(record, shown)) != told:
                    told = now
                    await stream.write(f"id: {told}\ndata: {shown}\n\n".encode())
                else:
                    await stream.write(b": ping\n\n")
                await wait(changed, PING_SECONDS)
    except ConnectionResetError:
        pass  # the reader went away
    return stream
