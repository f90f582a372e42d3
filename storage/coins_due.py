"""Coins that wait to go to the owner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from payments.coin import Coin
from payments.model import OutPoint
from storage.dead_sweeps import DEAD
from storage.tx import Row, Tx

_COIN = (
    "SELECT p.number, p.id, p.address_index, p.script_pubkey, o.txid, o.vout, o.value_sat,"
    " (SELECT max(t.created_at) FROM transfer t WHERE t.kind = 'deposit' AND t.txid = o.txid AND t.vout = o.vout)"
    " AS since"
)


def coins_due(tx: Tx, keychain_id: int, limit: int) -> list[Coin]:
    """Coins that no sweep claims yet, by payment.

    Only what the ledger has booked: final, in the active chain, and not taken back since.
    """
    rows = tx.all(
        # CROSS JOIN keeps SQLite from walking every payment: begin with the few coins that are still here.
        f"{_COIN} FROM output o CROSS JOIN payment p"
        " LEFT JOIN sweep_input i ON i.prev_txid = o.txid AND i.prev_vout = o.vout"
        " WHERE p.number = o.payment_number AND p.keychain_id = :keychain"
        " AND p.watch_only = 0 AND p.unsettled = 0 AND p.booking_due = 0"
        " AND o.booked = 1 AND o.spent_by IS NULL AND i.sweep_txid IS NULL"
        " AND p.status IN ('confirmed', 'forwarded', 'expired') ORDER BY o.payment_number, o.txid, o.vout LIMIT :limit",
        keychain=keychain_id,
        limit=limit,
    )
    return [_coin(row) for row in rows]


def coins_of(tx: Tx, sweep_txid: str) -> list[Coin]:
    """Coins that a version of a sweep spends, in the order of its family's claims."""
    rows = tx.all(
        f"{_COIN} FROM sweep_spend x JOIN output o ON o.txid = x.prev_txid AND o.vout = x.prev_vout"
        " JOIN payment p ON p.number = o.payment_number WHERE x.sweep_txid = :sweep ORDER BY o.txid, o.vout",
        sweep=sweep_txid,
    )
    return [_coin(row) for row in rows]


def coins_at(tx: Tx, outpoints: Iterable[OutPoint]) -> list[Coin]:
    """The coins there, in that order, whatever became of them; without those that are none of this till."""
    found = []
    for outpoint in outpoints:
        row = tx.one(
            f"{_COIN} FROM output o JOIN payment p ON p.number = o.payment_number"
            " WHERE o.txid = :txid AND o.vout = :vout",
            **outpoint._asdict(),
        )
        if row is not None:
            found.append(_coin(row))
    return found


def booked_coins_at(tx: Tx, outpoints: Sequence[OutPoint]) -> list[Coin]:
    """Of the coins at these outpoints those that are booked, of forwarding payments, in this order."""
    rows = [
        tx.one(
            "SELECT 1 AS booked FROM output o JOIN payment p ON p.number = o.payment_number"
            " WHERE o.txid = :txid AND o.vout = :vout AND o.booked = 1 AND p.watch_only = 0",
            **outpoint._asdict(),
        )
        for outpoint in outpoints
    ]
    return coins_at(tx, [outpoint for outpoint, row in zip(outpoints, rows, strict=True) if row is not None])


def backlog_sat(tx: Tx) -> int:
    """Satoshi that were booked for forwarding and that no broadcast sweep can take."""
    row = tx.one(
        "SELECT coalesce(sum(o.value_sat), 0) AS total FROM output o"  # noqa: S608 - fixed texts
        " JOIN payment p ON p.number = o.payment_number"
        " WHERE o.booked = 1 AND o.spent_by IS NULL AND p.watch_only = 0"
        " AND NOT EXISTS (SELECT 1 FROM sweep_spend c JOIN sweep s ON s.txid = c.sweep_txid"
        "  WHERE c.prev_txid = o.txid AND c.prev_vout = o.vout AND s.is_current = 1 AND s.state <> 'stored'"
        f"  AND NOT {DEAD})"
    )
    return int(row["total"]) if row else 0


def _coin(row: Row) -> Coin:
    return Coin(
        OutPoint(row["txid"], row["vout"]),
        row["value_sat"],
        row["address_index"],
        bytes(row["script_pubkey"]),
        row["id"],
        row["number"],
        row["since"] or 0,
    )
