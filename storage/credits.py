"""A user's credits: balance and statement."""

from __future__ import annotations

from typing import Any

from payments.view import rfc3339
from storage.tx import Row, Tx

_ENTRIES = """
SELECT t.id, t.kind, t.credits, t.reference, t.created_at, p.id AS payment_id, l.balance_after
  FROM account a
  JOIN transfer_line l ON l.account_id = a.id
  JOIN transfer t ON t.id = l.transfer_id
  LEFT JOIN payment p ON p.number = t.payment_number
 WHERE a.kind = 'user' AND a.unit = 'credit' AND a.owner = :user_id AND l.transfer_id < :before
 ORDER BY l.transfer_id DESC LIMIT :limit
"""
_NEWEST = 2**62


def balance_of(tx: Tx, user_id: str) -> int:
    """Credits on the account; 0 for a user that nobody has heard of."""
    row = tx.one(
        "SELECT balance FROM account WHERE kind = 'user' AND unit = 'credit' AND owner = :user_id",
        user_id=user_id,
    )
    return int(row["balance"]) if row else 0


def entries_of(tx: Tx, user_id: str, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Entries, newest first, below the transfer number `before`."""
    rows = tx.all(_ENTRIES, user_id=user_id, before=_NEWEST if before is None else before, limit=limit)
    return [_entry(row) for row in rows]


def entry_view(tx: Tx, user_id: str) -> dict[str, Any]:
    """The newest entry of a user with the user's id: what events tell."""
    return {"user_id": user_id, **entries_of(tx, user_id, None, 1)[0]}


def _entry(row: Row) -> dict[str, Any]:
    if row["kind"] == "spend":
        kind = "spend"
    else:
        kind = "payment" if row["credits"] > 0 else "reversal"
    return {
        "id": str(row["id"]),
        "amount": row["credits"],
        "kind": kind,
        "payment_id": row["payment_id"],
        "reference": row["reference"],
        "balance_after": row["balance_after"],
        "created_at": rfc3339(row["created_at"]),
    }
