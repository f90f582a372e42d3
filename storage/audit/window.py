"""The window of an audit: from which block, and which coins of ours may be spent from there on."""

from __future__ import annotations

from payments.model import BlockId, OutPoint
from storage.tx import Tx

WINDOW_BLOCKS = 288
"""What an audit of the recent window reads: two days of blocks, twice what a payment is watched for."""


def where_to_begin(tx: Tx, *, full: bool) -> tuple[int, BlockId] | None:
    """`(height of the block below the first that is read, our cursor)`; None before the first block."""
    row = tx.one("SELECT birth_height, cursor_height, cursor_hash FROM till WHERE only_row = 1")
    if row is None or row["cursor_hash"] is None:
        return None
    at = BlockId(row["cursor_height"], row["cursor_hash"])
    birth = min(row["birth_height"], at.height)
    return birth if full else max(birth, at.height - WINDOW_BLOCKS), at


def coins_above(tx: Tx, base: int) -> list[OutPoint]:
    """Coins in the till (forwarding mode) that were not spent at height `base`."""
    rows = tx.all(
        "SELECT o.txid, o.vout FROM output o JOIN payment p ON p.number = o.payment_number WHERE p.watch_only = 0"
        " AND NOT EXISTS (SELECT 1 FROM block_tx l JOIN block b ON b.hash = l.block_hash"
        "  WHERE l.txid = o.spent_by AND b.active = 1 AND b.height <= :base)",
        base=base,
    )
    return [OutPoint(row["txid"], row["vout"]) for row in rows]
