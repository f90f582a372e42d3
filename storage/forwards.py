"""Which coins of which sweep the ledger counts as forwarded, against what their sweep can still do."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from payments.ledger import Transfer, TransferKind, forward, forwards, taken_back
from payments.model import OutPoint
from storage.tx import Tx

_COINS = """
SELECT c.txid AS current, c.fee_sat, i.prev_txid, i.prev_vout, o.value_sat, o.booked,
       EXISTS (SELECT 1 FROM sweep_spend x WHERE x.sweep_txid = c.txid
         AND x.prev_txid = i.prev_txid AND x.prev_vout = i.prev_vout) AS spent,
       (SELECT coalesce(sum(CASE t.kind WHEN :forward THEN 1 ELSE -1 END), 0) FROM transfer t
         WHERE t.kind IN (:forward, :reversal) AND t.txid = i.prev_txid AND t.vout = i.prev_vout) AS counted,
       (SELECT l.delta FROM transfer t JOIN transfer_line l ON l.transfer_id = t.id
          JOIN account a ON a.id = l.account_id AND a.kind = 'fees'
         WHERE t.kind = :forward AND t.txid = i.prev_txid AND t.vout = i.prev_vout
           AND t.epoch = (SELECT max(e.epoch) FROM transfer e
             WHERE e.kind = :forward AND e.txid = i.prev_txid AND e.vout = i.prev_vout)) AS counted_fee
  FROM sweep_input i JOIN sweep c ON c.family = i.sweep_txid AND c.is_current = 1
  JOIN output o ON o.txid = i.prev_txid AND o.vout = i.prev_vout
 WHERE i.sweep_txid = :family
 ORDER BY i.prev_txid, i.prev_vout
"""


def forwards_due(
    tx: Tx, families: Iterable[str], losing: Collection[OutPoint | None] = ()
) -> list[tuple[str, Transfer]]:
    """`(sweep, transfer)` that bring the ledger level with the current versions of these sweeps; empty when it is.

    A sweep spends all its coins or none: they are with the owner while every one of them is booked.
    `losing` are coins that are about to be taken back and count as not booked.
    """
    undo: list[tuple[str, Transfer]] = []
    make: list[tuple[str, Transfer]] = []
    for family in sorted(families):
        rows = tx.all(
            _COINS, family=family, forward=TransferKind.FORWARD.value, reversal=TransferKind.FORWARD_REVERSAL.value
        )
        coins = {OutPoint(row["prev_txid"], row["prev_vout"]): row for row in rows}
        spent = {at: row for at, row in coins.items() if row["spent"]}
        moving: dict[OutPoint | None, Transfer] = {}
        if spent and all(row["booked"] and at not in losing for at, row in spent.items()):
            shares = forwards([(at, row["value_sat"]) for at, row in spent.items()], rows[0]["fee_sat"])
            moving = {transfer.outpoint: transfer for transfer in shares}
        for at, row in coins.items():
            counted = forward(at, row["value_sat"], row["counted_fee"] or 0) if row["counted"] else None
            wanted = moving.get(at)
            if counted == wanted:
                continue
            if counted is not None:
                undo.append((row["current"], taken_back(counted)))
            if wanted is not None:
                make.append((row["current"], wanted))
    return undo + make


def sweeps_of(tx: Tx, payment_number: int) -> list[str]:
    """Families of sweeps that claim coins of a payment."""
    rows = tx.all(
        "SELECT DISTINCT i.sweep_txid FROM output o"
        " JOIN sweep_input i ON i.prev_txid = o.txid AND i.prev_vout = o.vout WHERE o.payment_number = :number",
        number=payment_number,
    )
    return [row["sweep_txid"] for row in rows]
