"""Sweeps that this database has forgotten: an older copy was put back after they had left."""

from __future__ import annotations

from collections.abc import Sequence

from payments.model import OutPoint
from storage.coins_due import booked_coins_at
from storage.evaluation import Change, evaluate
from storage.sweep_versions import Sweep, in_active_block, sweep_by_txid
from storage.sweeps import adopt_sweep
from storage.tx import Tx


def strange_spends(tx: Tx, above: int) -> list[tuple[str, str]]:
    """`(txid, block hash)` of transactions in active blocks above a height that spend booked coins of ours and are
    no sweep that we know."""
    rows = tx.all(
        "SELECT DISTINCT l.txid, l.block_hash FROM block b JOIN block_tx l ON l.block_hash = b.hash"
        " JOIN output o ON o.spent_by = l.txid JOIN payment p ON p.number = o.payment_number"
        " WHERE b.active = 1 AND b.height > :above AND p.watch_only = 0 AND o.booked = 1"
        " AND NOT EXISTS (SELECT 1 FROM sweep s WHERE s.txid = l.txid) ORDER BY l.txid",
        above=above,
    )
    return [(row["txid"], row["block_hash"]) for row in rows]


def adopt(
    tx: Tx, txid: str, raw: bytes, spends: Sequence[OutPoint], arrives_sat: int, destination: str, now: int
) -> list[Change] | None:
    """Take a transaction for the sweep that it is: all it spends is booked here, all of it goes to the owner.

    None when it is not: it spends something else, too, or coins of several sweeps that are under way.
    """
    if sweep_by_txid(tx, txid) is not None:
        return None
    coins = booked_coins_at(tx, spends)
    if len(coins) != len(set(spends)) or sum(coin.value_sat for coin in coins) <= arrives_sat:
        return None
    value = sum(coin.value_sat for coin in coins)
    sweep = Sweep(txid, raw, "broadcast", value, value - arrives_sat, now, destination=destination)
    if not adopt_sweep(tx, sweep, coins, mined=in_active_block(tx, txid), now=now):
        return None
    return evaluate(tx, {coin.payment_number for coin in coins}, now)
