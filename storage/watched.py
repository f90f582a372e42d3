"""Coins whose spending would be news to the watcher, and addresses that were left out."""

from __future__ import annotations

from payments.model import OutPoint
from storage.records import tip_height
from storage.tx import Tx

WATCH_DEPTH = 144
"""Payments are watched for double spends until this deep: what LND calls the reorg safety limit."""

_GAPS = 10
"""So many of the newest are watched: each is from a restoring, or from a start while the node was away."""


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


def indexes_left_out(tx: Tx, keychain_id: int, span: int) -> list[int]:
    """Indexes of addresses below the next one that no payment has: of the newest gaps in a keychain's numbers, each
    from its lowest on, `span` of them at most."""
    gaps = tx.all(
        "SELECT low, high FROM (SELECT coalesce(lag(address_index) OVER (ORDER BY address_index) + 1, 0) AS low,"
        " address_index AS high FROM (SELECT address_index FROM payment WHERE keychain_id = :keychain"
        " UNION ALL SELECT next_index FROM keychain WHERE id = :keychain) given) found"
        " WHERE high > low ORDER BY high DESC LIMIT :gaps",
        keychain=keychain_id,
        gaps=_GAPS,
    )
    return [index for gap in reversed(gaps) for index in range(gap["low"], min(gap["high"], gap["low"] + span))]
