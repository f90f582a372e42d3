"""Everything that is known about one payment, for the operator's eyes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from payments.attention import Concern, concerns_of
from payments.record import PaymentRecord
from storage.records import payment_by_id
from storage.resolutions import Decision, decisions_of, reversed_since
from storage.tx import Tx


@dataclass(frozen=True, slots=True)
class PaymentPage:
    """One payment. `entries`, `events` and `sweeps` are plain rows, times in milliseconds."""

    payment: PaymentRecord
    concerns: list[Concern]
    decisions: list[Decision]
    entries: list[dict[str, Any]]
    events: list[dict[str, Any]]
    sweeps: list[dict[str, Any]]


def page_of(tx: Tx, payment_id: str) -> PaymentPage | None:
    """The page, from one snapshot; None when nobody was ever given that id."""
    payment = payment_by_id(tx, payment_id)
    if payment is None:
        return None
    number = payment.number
    news = reversed_since(tx, number)
    return PaymentPage(
        payment,
        concerns_of(payment.facts, payment.state, payment.id, payment.tip_height, reversed_at=news),
        decisions_of(tx, number),
        _entries(tx, number),
        [
            dict(row)
            for row in tx.all(
                "SELECT id, type, sequence, created_at FROM event WHERE payment_number = :n ORDER BY id", n=number
            )
        ],
        _sweeps(tx, number),
    )


def _entries(tx: Tx, number: int) -> list[dict[str, Any]]:
    rows = tx.all(
        "SELECT id, kind, txid, vout, credits, evidence, created_at FROM transfer WHERE payment_number = :n"
        " ORDER BY id",
        n=number,
    )
    return [{**dict(row), "evidence": json.loads(row["evidence"])} for row in rows]


def _sweeps(tx: Tx, number: int) -> list[dict[str, Any]]:
    """Every version of a sweep that spends coins of a payment, the oldest first."""
    rows = tx.all(
        "SELECT DISTINCT s.txid, s.state, s.replaces, s.is_current, s.value_sat, s.fee_sat, s.created_at FROM output o"
        " JOIN sweep_spend x ON x.prev_txid = o.txid AND x.prev_vout = o.vout JOIN sweep s ON s.txid = x.sweep_txid"
        " WHERE o.payment_number = :number ORDER BY s.created_at, s.txid",
        number=number,
    )
    return [dict(row) for row in rows]
