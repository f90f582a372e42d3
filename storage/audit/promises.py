"""Each payment against its own events: what was promised when it was created, and that none of them is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from payments.difference import Check, Difference
from payments.view import rfc3339
from storage.tx import Row, Tx


def promise_differences(tx: Tx, row: Row) -> Iterator[Difference]:
    """`row` is the payment's. Its first event was written in the same transaction as the payment."""
    number = row["number"]
    events = tx.one(
        "SELECT count(*) AS n, coalesce(sum(CASE WHEN type = 'payment.resolved' THEN 1 ELSE 0 END), 0) AS told,"
        " (SELECT count(*) FROM resolution WHERE payment_number = :number) AS decided"
        " FROM event WHERE payment_number = :number",
        number=number,
    )
    assert events is not None  # noqa: S101 - a count always answers
    count = events["n"]
    if count != row["sequence"]:
        text = (
            f"Payment {row['id']} has {count} events, and its last was number {row['sequence']}: "
            "events were removed or slipped in. Compare with a backup."
        )
        yield Difference(Check.PROMISE, f"{row['id']} events", text)
    if (told := int(events["told"])) != events["decided"]:
        text = (
            f"Payment {row['id']} has {events['decided']} decisions, and {told} were told: one was removed or "
            "slipped in. Find out who changed the database, and compare with a backup."
        )
        yield Difference(Check.DECISION, str(row["id"]), text)
    first = tx.one("SELECT data FROM event WHERE payment_number = :number AND sequence = 1", number=number)
    if first is None:
        return
    try:
        then, now = dict[str, Any](json.loads(first["data"])), _promised(row)
    except (ValueError, TypeError, OverflowError) as error:
        text = f"Payment {row['id']} and its first event cannot be read: {error}. Compare with a backup."
        yield Difference(Check.PROMISE, f"{row['id']} events", text)
        return
    for name, value in now.items():
        if (was := then.get(name)) != value:
            text = (
                f"Payment {row['id']} has {name} {value}; when it was created it had {was}, and that never changes. "
                "Find out who changed the database, and compare with a backup."
            )
            yield Difference(Check.PROMISE, f"{row['id']} {name}", text)


def _promised(row: Row) -> dict[str, Any]:
    same = ("user_id", "package_id", "credits", "amount_sat", "address", "confirmations_required")
    return {name: row[name] for name in same} | {
        "metadata": json.loads(row["metadata"]),
        "created_at": rfc3339(row["created_at"]),
        "expires_at": rfc3339(row["expires_at"]),
    }
