"""Which coins of which sweep the ledger counts as forwarded, against what their sweep can still do."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from payments.ledger import Transfer, TransferKind, forwards, taken_back
from payments.model import OutPoint
from storage.tx import Tx

_COINS = """
SELECT i.prev_txid, i.prev_vout, o.value_sat, o.booked, s.fee_sat,
       (SELECT coalesce(sum(CASE t.kind WHEN :forward THEN 1 ELSE -1 END), 0) FROM transfer t
         WHERE t.kind IN (:forward, :reversal) AND t.txid = i.prev_txid AND t.vout = i.prev_vout) AS counted
  FROM sweep_input i JOIN sweep s ON s.txid = i.sweep_txid
  JOIN output o ON o.txid = i.prev_txid AND o.vout = i.prev_vout
 WHERE i.sweep_txid = :sweep
"""


def forwards_due(tx: Tx, sweeps: Iterable[str], losing: Collection[OutPoint | None] = ()) -> list[tuple[str, Transfer]]:
    """`(sweep, transfer)` that bring the ledger level with these sweeps; empty when it already is.

    A sweep spends all its coins or none: they are with the owner while every one of them is booked.
    `losing` are coins that are about to be taken back and count as not booked.
    """
    due = []
    for sweep in sorted(sweeps):
        rows = tx.all(
            _COINS, sweep=sweep, forward=TransferKind.FORWARD.value, reversal=TransferKind.FORWARD_REVERSAL.value
        )
        coins = {OutPoint(row["prev_txid"], row["prev_vout"]): row for row in rows}
        whole = all(row["booked"] and outpoint not in losing for outpoint, row in coins.items())
        for transfer in forwards([(at, row["value_sat"]) for at, row in coins.items()], rows[0]["fee_sat"]):
            assert transfer.outpoint is not None  # noqa: S101 - a forward names its coin
            if whole != bool(coins[transfer.outpoint]["counted"]):
                due.append((sweep, transfer if whole else taken_back(transfer)))
    return due


def sweeps_of(tx: Tx, payment_number: int) -> list[str]:
    """Sweeps that spend coins of a payment."""
    rows = tx.all(
        "SELECT DISTINCT i.sweep_txid FROM output o"
        " JOIN sweep_input i ON i.prev_txid = o.txid AND i.prev_vout = o.vout WHERE o.payment_number = :number",
        number=payment_number,
    )
    return [row["sweep_txid"] for row in rows]
