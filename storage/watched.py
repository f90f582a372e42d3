"""Coins whose spending would be news to the watcher."""

from __future__ import annotations

from payments.model import OutPoint
from storage.records import tip_height
from storage.tx import Tx

WATCH_DEPTH = 144
"""Payments are watched for double spends until this deep: what LND calls the reorg safety limit."""


def prevouts_worth_watching(tx: Tx) -> list[OutPoint]:
    """Inputs of payments that are not deep yet, and coins of ours that are not spent (forwarding)."""
    rows = tx.all(
        "SELECT i.prev_txid AS txid, i.prev_vout AS vout FROM incoming_prevout i WHERE NOT EXISTS ("
        " SELECT 1 FROM block_tx l JOIN block b ON b.hash = l.block_hash"
        " WHERE l.txid = i.txid AND b.active = 1 AND b.height < :deep)"
        " UNION SELECT o.txid, o.vout FROM output o JOIN payment p ON p.number = o.payment_number"
        " WHERE p.watch_only = 0 AND o.spent_by IS NULL"
        " UNION SELECT i.prev_txid, i.prev_vout FROM sweep_input i JOIN sweep s ON s.family = i.sweep_txid"
        " WHERE s.is_current = 1 AND s.state <> 'confirmed'",
        deep=tip_height(tx) - WATCH_DEPTH,
    )
    return [OutPoint(row["txid"], row["vout"]) for row in rows]
