"""Coins whose deadline went by before a block took them to the owner: told once, until they arrive."""

from __future__ import annotations

from collections.abc import Collection

from payments.events import EventType
from payments.model import OutPoint
from payments.view import payment_view
from storage.events import append
from storage.records import record_of
from storage.tx import Tx


def told(tx: Tx) -> set[OutPoint]:
    """Coins that are known to be late."""
    return {OutPoint(row["txid"], row["vout"]) for row in tx.all("SELECT txid, vout FROM forward_late")}


def in_unmined_sweeps(tx: Tx, booked_until: int) -> set[OutPoint]:
    """Coins, booked at that time or before, whose sweep is in no block of the active chain."""
    rows = tx.all(
        "SELECT i.prev_txid, i.prev_vout FROM sweep s JOIN sweep_input i ON i.sweep_txid = s.family"
        " JOIN output o ON o.txid = i.prev_txid AND o.vout = i.prev_vout"
        " WHERE s.is_current = 1 AND s.state <> 'confirmed' AND o.booked = 1 AND o.spent_by IS NULL"
        " AND (SELECT max(t.created_at) FROM transfer t WHERE t.kind = 'deposit' AND t.txid = o.txid"
        "  AND t.vout = o.vout) <= :until",
        until=booked_until,
    )
    return {OutPoint(row["prev_txid"], row["prev_vout"]) for row in rows}


def record_late(tx: Tx, coins: Collection[OutPoint], now: int) -> list[str]:
    """The deadline of these coins is over: ids of their payments, each of which gets an event. Credits stay."""
    numbers = set()
    for outpoint in sorted(coins):
        added = tx.execute(
            "INSERT INTO forward_late (txid, vout, since) VALUES (:txid, :vout, :now) ON CONFLICT DO NOTHING",
            txid=outpoint.txid,
            vout=outpoint.vout,
            now=now,
        )
        row = tx.one("SELECT payment_number FROM output WHERE txid = :txid AND vout = :vout", **outpoint._asdict())
        if added and row is not None:
            numbers.add(row["payment_number"])
    return [_tell(tx, number, now) for number in sorted(numbers)]


def record_arrived(tx: Tx, coins: Collection[OutPoint]) -> None:
    """These are late no more: a block took them, or they are not to be forwarded any longer."""
    tx.many("DELETE FROM forward_late WHERE txid = :txid AND vout = :vout", [coin._asdict() for coin in sorted(coins)])


def _tell(tx: Tx, number: int, now: int) -> str:
    tx.execute("UPDATE payment SET sequence = sequence + 1 WHERE number = :number", number=number)
    row = tx.one("SELECT * FROM payment WHERE number = :number", number=number)
    assert row is not None  # noqa: S101 - an output names its payment
    data = payment_view(record_of(tx, row), tx.context.public_url)
    append(tx, EventType.FORWARDING_FAILED, data, now, payment_number=number, sequence=row["sequence"])
    return str(row["id"])
