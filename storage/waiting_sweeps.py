"""Sweeps that no block has taken yet, with the coins that a next version of them may spend."""

from __future__ import annotations

from payments.coin import Coin
from payments.model import OutPoint
from storage.coins_due import coins_of
from storage.sweep_versions import Sweep, dead_sweeps, mined_version, spends_by_version, sweeps_to_watch, versions
from storage.tx import Tx


def to_rebuild(tx: Tx) -> list[tuple[Sweep, list[Coin]]]:
    """Newest versions of families that nobody can take, and what is left of their coins.

    Left out where nothing is left, and where what is left has no coin of some earlier version: that one may come
    back, and both could be mined.
    """
    found = []
    for dead in dead_sweeps(tx):
        if mined_version(tx, dead.family) is not None:
            continue
        head = versions(tx, dead.family)[-1]
        left = {coin.outpoint: coin for coin in _left(tx, dead.family)}
        if not left or any(not left.keys() & spent for spent in spends_by_version(tx, dead.family).values()):
            continue
        if left.keys() == _spends(tx, head.txid):
            continue  # a version of just these is stored, and offered
        found.append((head, list(left.values())))
    return found


def in_mempool(tx: Tx, signed_until: int) -> list[tuple[Sweep, list[Coin]]]:
    """Newest versions of sweeps that can be, signed at `signed_until` or below, whose coins are all still final."""
    found = []
    for current in sweeps_to_watch(tx):
        if mined_version(tx, current.family) is not None:
            continue
        head = versions(tx, current.family)[-1]
        if head.stored_height > signed_until or _spends(tx, head.txid) != _spends(tx, current.txid):
            continue
        coins = coins_of(tx, head.txid)
        if all(_final(tx, coin.outpoint) for coin in coins):
            found.append((head, coins))
    return found


def _left(tx: Tx, family: str) -> list[Coin]:
    """Coins that a family claims and that are booked, here and unspent, of payments that are judged."""
    coins = {coin.outpoint: coin for version in versions(tx, family) for coin in coins_of(tx, version.txid)}
    return [coin for outpoint, coin in sorted(coins.items()) if _final(tx, outpoint)]


def _final(tx: Tx, outpoint: OutPoint) -> bool:
    row = tx.one(
        "SELECT 1 AS fine FROM output o JOIN incoming_tx t ON t.txid = o.txid"
        " JOIN payment p ON p.number = o.payment_number"
        " WHERE o.txid = :txid AND o.vout = :vout AND o.booked = 1 AND t.mined = 1 AND o.spent_by IS NULL"
        " AND p.unsettled = 0 AND p.booking_due = 0",
        **outpoint._asdict(),
    )
    return row is not None


def _spends(tx: Tx, txid: str) -> set[OutPoint]:
    rows = tx.all("SELECT prev_txid, prev_vout FROM sweep_spend WHERE sweep_txid = :txid", txid=txid)
    return {OutPoint(row["prev_txid"], row["prev_vout"]) for row in rows}
