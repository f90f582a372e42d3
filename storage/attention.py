"""The list of what waits for the operator, from the few payments that can be on it."""

from __future__ import annotations

from payments.attention import Concern, concerns_of, late_forward, oldest_first
from payments.model import Status
from storage.records import fresh_facts, state_in, tip_height
from storage.resolutions import reversed_since
from storage.tx import Tx

_CANDIDATES = (
    "SELECT * FROM payment WHERE status = 'failed'"
    " UNION ALL SELECT * FROM payment WHERE status = 'expired' AND received_sat > 0"
    " UNION ALL SELECT * FROM payment WHERE late = 'hold' AND flags <> '' AND status NOT IN ('failed', 'expired')"
)
"""Each part has an index of its own: a look at a million settled payments would take seconds."""


def concerns(tx: Tx) -> list[Concern]:
    """What waits, oldest first. A payment in the middle of a reorganisation is told once it is judged again."""
    height = tip_height(tx)
    found: list[Concern] = []
    for row in tx.all(_CANDIDATES):
        if row["unsettled"]:
            continue
        news = reversed_since(tx, row["number"]) if row["status"] == Status.FAILED else None
        found += concerns_of(fresh_facts(tx, row), state_in(row), row["id"], height, reversed_at=news)
    return oldest_first([*found, *_late_forwards(tx)])


def _late_forwards(tx: Tx) -> list[Concern]:
    rows = tx.all(
        "SELECT p.id, o.value_sat, f.since, (SELECT s.txid FROM sweep_spend c JOIN sweep s ON s.txid = c.sweep_txid"
        "  WHERE c.prev_txid = o.txid AND c.prev_vout = o.vout AND s.is_current = 1"
        "  ORDER BY s.created_at DESC LIMIT 1) AS sweep"
        " FROM forward_late f JOIN output o ON o.txid = f.txid AND o.vout = f.vout"
        " JOIN payment p ON p.number = o.payment_number ORDER BY f.since, p.number"
    )
    return [late_forward(row["id"], row["sweep"], row["value_sat"], row["since"]) for row in rows]
