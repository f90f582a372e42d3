"""The operator's decisions against what they are about."""

from __future__ import annotations

from collections.abc import Iterator

from payments.difference import Check, Difference
from storage.tx import Tx


def decision_differences(tx: Tx) -> Iterator[Difference]:
    """Each coin of a decision is one of its payment, and marked by what was decided. How many decisions a payment
    has stands beside its events (`promises.py`); what follows from them is compared with its state and credits."""
    for row in tx.all(
        "SELECT r.id, r.action, r.payment_number, d.txid, d.vout, d.set_aside, o.payment_number AS of, o.value_sat"
        " FROM resolution_output d LEFT JOIN resolution r ON r.id = d.resolution_id"
        " LEFT JOIN output o ON o.txid = d.txid AND o.vout = d.vout"
        " WHERE r.id IS NULL OR o.txid IS NULL OR o.payment_number <> r.payment_number"
        " OR d.set_aside <> CASE r.action WHEN 'credit' THEN 0 ELSE 1 END"
    ):
        name = f"{row['txid']}:{row['vout']}"
        text = (
            f"A decision is recorded about {name} that cannot be about it: the coin is of payment number {row['of']}, "
            f"decision {row['id']} is to {row['action']} coins of number {row['payment_number']}. "
            "Find out who changed the database, and compare with a backup."
        )
        yield Difference(Check.DECISION, name, text)
