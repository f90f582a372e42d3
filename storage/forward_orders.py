"""What the operator asks of the forwarder: to stop, to go on, to sweep or to bump now.

An order is answered once; who asked and waits no longer withdraws it.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage import looks
from storage.dead_sweeps import DEAD
from storage.tx import Tx


@dataclass(frozen=True, slots=True)
class Order:
    """`kind` is run, or bump with the `txid` of a sweep."""

    number: int
    kind: str
    txid: str | None
    asked_at: int


@dataclass(frozen=True, slots=True)
class Answer:
    done: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Work:
    """What waits besides coins: `waiting` when a sweep is dead, or has been in the mempool for long."""

    paused: bool
    orders: tuple[Order, ...]
    waiting: bool


def work_for(tx: Tx, signed_until: int) -> Work:
    """Orders that are open, and whether a sweep signed at that height or below is in no block."""
    row = tx.one(
        "SELECT 1 AS waiting FROM sweep s WHERE s.is_current = 1 AND s.state <> 'confirmed' AND"  # noqa: S608
        f" ({DEAD} OR (SELECT max(v.stored_height) FROM sweep v WHERE v.family = s.family) <= :height"
        " AND NOT EXISTS (SELECT 1 FROM block_tx l JOIN block b ON b.hash = l.block_hash"
        "  WHERE l.txid = s.txid AND b.active = 1)) LIMIT 1",
        height=signed_until,
    )
    orders = tx.all("SELECT * FROM forward_order WHERE done_at IS NULL ORDER BY id")
    return Work(
        is_paused(tx), tuple(Order(r["id"], r["kind"], r["txid"], r["asked_at"]) for r in orders), row is not None
    )


def is_paused(tx: Tx) -> bool:
    row = tx.one("SELECT forwarding_paused FROM till WHERE only_row = 1")
    return row is not None and bool(row["forwarding_paused"])


def pause(tx: Tx, *, paused: bool) -> bool:
    """Sign nothing new (or go on); whether that changes anything. What has left is kept alive all the same."""
    changed = tx.execute(
        "UPDATE till SET forwarding_paused = :paused WHERE only_row = 1 AND forwarding_paused <> :paused",
        paused=int(paused),
    )
    looks.want(tx)
    return bool(changed)


def ask(tx: Tx, kind: str, txid: str | None, now: int) -> int:
    """Ask for one thing, and for a look at once; the number of the order."""
    row = tx.one(
        "INSERT INTO forward_order (kind, txid, asked_at) VALUES (:kind, :txid, :now) RETURNING id",
        kind=kind,
        txid=txid,
        now=now,
    )
    assert row is not None  # noqa: S101 - RETURNING always answers
    looks.want(tx)
    return int(row["id"])


def answer_order(tx: Tx, number: int, answer: Answer, now: int) -> bool:
    """Answer an order, once; False when it was answered or withdrawn before."""
    return bool(
        tx.execute(
            "UPDATE forward_order SET done_at = :now, done = :done, answer = :sentence"
            " WHERE id = :number AND done_at IS NULL",
            number=number,
            done=int(answer.done),
            sentence=answer.sentence,
            now=now,
        )
    )


def answer_of(tx: Tx, number: int) -> Answer | None:
    """What was answered; None while it is open."""
    row = tx.one("SELECT done, answer FROM forward_order WHERE id = :number AND done_at IS NOT NULL", number=number)
    return None if row is None else Answer(bool(row["done"]), row["answer"])
