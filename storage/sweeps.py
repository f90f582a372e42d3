"""Sweeps: signed transactions to the owner, stored with their inputs before they are broadcast.

The primary key on the input's outpoint is what makes "forwarded once" true. A state moves forward:
stored, broadcast, confirmed; only a block that is undone takes back that it was confirmed.

A sweep is dead while a transaction that it spends from is neither in the mempool nor in the active
chain: nobody can take it. It rests, its forwards are taken back with the deposit, and it is worth
as much as before when that transaction returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from payments.model import OutPoint
from storage.evaluation import Change, evaluate
from storage.forwards import forwards_due
from storage.ledger import post
from storage.records import tip_height
from storage.tx import Row, Tx

FINAL_DEPTH = 6
"""A sweep this deep is not watched any more."""


@dataclass(frozen=True, slots=True)
class Coin:
    """A booked output that can be swept: its key is derived from `address_index`."""

    outpoint: OutPoint
    value_sat: int
    address_index: int
    script_pubkey: bytes
    payment_id: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """A signed transaction to the owner. Amounts in satoshi, `value_sat` before the fee."""

    txid: str
    raw: bytes
    state: str
    value_sat: int
    fee_sat: int
    created_at: int


def coins_due(tx: Tx, keychain_id: int, limit: int) -> list[tuple[int, list[Coin]]]:
    """Payments with coins that no sweep spends yet: `(payment number, coins)`, oldest first.

    Only what the ledger has booked: final, in the active chain, and not taken back since.
    """
    rows = tx.all(
        "SELECT p.number, p.id, p.address_index, p.script_pubkey, o.txid, o.vout, o.value_sat"
        # CROSS JOIN keeps SQLite from walking every payment: begin with the few coins that are still here.
        " FROM output o CROSS JOIN payment p"
        " LEFT JOIN sweep_input i ON i.prev_txid = o.txid AND i.prev_vout = o.vout"
        " WHERE p.number = o.payment_number AND p.keychain_id = :keychain"
        " AND p.watch_only = 0 AND p.unsettled = 0 AND p.booking_due = 0"
        " AND o.booked = 1 AND o.spent_by IS NULL AND i.sweep_txid IS NULL"
        " AND p.status IN ('confirmed', 'forwarded', 'expired') ORDER BY o.payment_number LIMIT :limit",
        keychain=keychain_id,
        limit=limit,
    )
    grouped: dict[int, list[Coin]] = {}
    for row in rows:
        coin = Coin(
            OutPoint(row["txid"], row["vout"]),
            row["value_sat"],
            row["address_index"],
            bytes(row["script_pubkey"]),
            row["id"],
        )
        grouped.setdefault(row["number"], []).append(coin)
    return list(grouped.items())


def store_sweep(tx: Tx, sweep: Sweep, coins: Sequence[Coin], destination: str, now: int) -> None:
    """Keep the signed bytes and claim their inputs. Raises `AlreadyThere` when one is claimed already."""
    if (value := sum(coin.value_sat for coin in coins)) != sweep.value_sat:
        raise ValueError(f"sweep {sweep.txid} says {sweep.value_sat} sat, its coins hold {value} sat")
    tx.execute(
        "INSERT INTO sweep (txid, raw, state, destination, value_sat, fee_sat, created_at)"
        " VALUES (:txid, :raw, 'stored', :destination, :value, :fee, :now)",
        txid=sweep.txid,
        raw=sweep.raw,
        destination=destination,
        value=sweep.value_sat,
        fee=sweep.fee_sat,
        now=now,
    )
    for coin in coins:
        tx.execute(
            "INSERT INTO sweep_input (prev_txid, prev_vout, sweep_txid) VALUES (:txid, :vout, :sweep)",
            txid=coin.outpoint.txid,
            vout=coin.outpoint.vout,
            sweep=sweep.txid,
        )
    for _, transfer in forwards_due(tx, [sweep.txid]):
        post(tx, transfer, {"sweep": sweep.txid}, now)


def sweeps_to_watch(tx: Tx) -> list[Sweep]:
    """Sweeps that may still have to be broadcast (again): what is not deep enough yet, and not dead.

    One that never left waits while a reorganisation has a coin of it; one that left is everybody's, and is kept
    alive beside its coins.
    """
    rows = tx.all(
        "SELECT * FROM sweep s WHERE s.state <> 'confirmed'"
        " AND NOT EXISTS (SELECT 1 FROM sweep_input i JOIN incoming_tx t ON t.txid = i.prev_txid"
        " WHERE i.sweep_txid = s.txid AND t.in_mempool = 0 AND t.mined = 0)"
        " AND (s.state <> 'stored' OR NOT EXISTS (SELECT 1 FROM sweep_input i"
        " JOIN output o ON o.txid = i.prev_txid AND o.vout = i.prev_vout"
        " WHERE i.sweep_txid = s.txid AND o.booked = 0)) ORDER BY s.created_at"
    )
    return [_sweep(row) for row in rows]


def record_broadcast(tx: Tx, txid: str, now: int) -> list[Change]:
    """The node has the sweep (in its mempool or a block): the payments it empties are forwarded."""
    tx.execute(
        "UPDATE sweep SET state = 'broadcast', broadcast_at = :now, last_error = NULL"
        " WHERE txid = :txid AND state = 'stored'",
        txid=txid,
        now=now,
    )
    return evaluate(tx, _payments_of(tx, txid), now)


def record_refused(tx: Tx, txid: str, reason: str) -> None:
    """The node did not take it this time. Nothing else changes: the same bytes are offered again."""
    tx.execute("UPDATE sweep SET last_error = :reason WHERE txid = :txid", txid=txid, reason=reason)


def close_deep_sweeps(tx: Tx) -> int:
    """Stop watching sweeps that are `FINAL_DEPTH` deep; how many."""
    return tx.execute(
        "UPDATE sweep SET state = 'confirmed' WHERE state = 'broadcast' AND txid IN ("
        "SELECT l.txid FROM block_tx l JOIN block b ON b.hash = l.block_hash"
        " WHERE b.active = 1 AND b.height <= :height)",
        height=tip_height(tx) - FINAL_DEPTH + 1,
    )


def in_active_block(tx: Tx, txid: str) -> bool:
    """Whether a block of the active chain holds the transaction, as far as we have processed it."""
    row = tx.one(
        "SELECT 1 AS found FROM block_tx l JOIN block b ON b.hash = l.block_hash WHERE l.txid = :txid AND b.active = 1",
        txid=txid,
    )
    return row is not None


def backlog_sat(tx: Tx) -> int:
    """Satoshi that were booked for forwarding and are in no sweep that was broadcast, or in one that is dead."""
    row = tx.one(
        "SELECT coalesce(sum(o.value_sat), 0) AS total FROM output o"
        " JOIN payment p ON p.number = o.payment_number"
        " LEFT JOIN sweep_input i ON i.prev_txid = o.txid AND i.prev_vout = o.vout"
        " LEFT JOIN sweep s ON s.txid = i.sweep_txid AND s.state <> 'stored'"
        " AND s.txid NOT IN (SELECT d.sweep_txid FROM sweep_input d JOIN incoming_tx t ON t.txid = d.prev_txid"
        " WHERE t.in_mempool = 0 AND t.mined = 0)"
        " WHERE o.booked = 1 AND o.spent_by IS NULL AND p.watch_only = 0 AND s.txid IS NULL"
    )
    return int(row["total"]) if row else 0


def _payments_of(tx: Tx, txid: str) -> set[int]:
    rows = tx.all(
        "SELECT DISTINCT o.payment_number FROM sweep_input i"
        " JOIN output o ON o.txid = i.prev_txid AND o.vout = i.prev_vout WHERE i.sweep_txid = :txid",
        txid=txid,
    )
    return {row["payment_number"] for row in rows}


def _sweep(row: Row) -> Sweep:
    return Sweep(
        txid=row["txid"],
        raw=bytes(row["raw"]),
        state=row["state"],
        value_sat=row["value_sat"],
        fee_sat=row["fee_sat"],
        created_at=row["created_at"],
    )
