"""Events and their outbox rows, written in the transaction of the change they tell of."""

from __future__ import annotations

import json
import secrets
from typing import Any

from payments.events import EventType
from storage.tx import Row, Tx

_compact = json.JSONEncoder(separators=(",", ":")).encode


def append(
    tx: Tx,
    kind: EventType,
    data: dict[str, Any],
    now: int,
    *,
    payment_number: int | None,
    sequence: int,
    number: int | None = None,
) -> int:
    """Write one event with its outbox rows; its number in the feed, which is the next one unless `number` says."""
    names, values = ("", "") if number is None else ("id, ", ":id, ")
    given = {} if number is None else {"id": number}
    row = tx.one(
        f"INSERT INTO event ({names}uid, type, payment_number, sequence, created_at, data)"  # noqa: S608 - our words
        f" VALUES ({values}:uid, :type, :payment_number, :sequence, :now, :data) RETURNING id",
        **given,
        uid=f"evt_{secrets.token_hex(16)}",
        type=kind.value,
        payment_number=payment_number,
        sequence=sequence,
        now=now,
        data=_compact(data),
    )
    assert row is not None  # noqa: S101 - RETURNING always answers
    for endpoint, wanted in tx.context.endpoints:
        if not wanted or kind.value in wanted:
            tx.execute(
                "INSERT INTO outbox (event_id, endpoint, state, due_at) VALUES (:event, :endpoint, 'due', :now)",
                event=row["id"],
                endpoint=endpoint,
                now=now,
            )
    return int(row["id"])


def events_after(tx: Tx, after: int, limit: int) -> list[Row]:
    """Events in order, from the one after `after`: rows of id, uid, type, sequence, created_at, data."""
    return tx.all(
        "SELECT id, uid, type, sequence, created_at, data FROM event WHERE id > :after ORDER BY id LIMIT :limit",
        after=after,
        limit=limit,
    )


def newest_event(tx: Tx) -> int:
    """Number of the newest event in the feed; 0 when there is none."""
    row = tx.one("SELECT MAX(id) AS newest FROM event")
    return 0 if row is None else int(row["newest"] or 0)


def changed_after(tx: Tx, after: int) -> list[tuple[int, int | None]]:
    """`(event, payment number or None)` of every event after `after`, in order."""
    rows = tx.all("SELECT id, payment_number FROM event WHERE id > :after ORDER BY id", after=after)
    return [(row["id"], row["payment_number"]) for row in rows]
