"""Sweeps that nobody can take: a transaction they spend from is gone, or somebody else has spent a coin of theirs.

Such a sweep rests. It is worth as much as before when what was gone returns.
"""

from __future__ import annotations

from collections.abc import Collection

from storage.tx import Tx

DEAD = (
    "EXISTS (SELECT 1 FROM sweep_spend dx JOIN output dy ON dy.txid = dx.prev_txid AND dy.vout = dx.prev_vout"
    " JOIN incoming_tx dz ON dz.txid = dy.txid WHERE dx.sweep_txid = s.txid"
    " AND (dz.in_mempool = 0 AND dz.mined = 0 OR dy.spent_by IS NOT NULL"
    " AND dy.spent_by NOT IN (SELECT df.txid FROM sweep df WHERE df.family = s.family)))"
)
"""SQL: whether the sweep of the row `s` is dead."""


def with_neighbours(tx: Tx, numbers: Collection[int]) -> set[int]:
    """These payments and those whose coins travel with theirs: a sweep spends all its coins or none."""
    found = set(numbers)
    for number in numbers:
        rows = tx.all(
            "SELECT DISTINCT n.payment_number FROM output o"
            " JOIN sweep_spend x ON x.prev_txid = o.txid AND x.prev_vout = o.vout"
            " JOIN sweep s ON s.txid = x.sweep_txid AND s.is_current = 1"
            " JOIN sweep_spend y ON y.sweep_txid = s.txid"
            " JOIN output n ON n.txid = y.prev_txid AND n.vout = y.prev_vout WHERE o.payment_number = :number",
            number=number,
        )
        found |= {row["payment_number"] for row in rows}
    return found
