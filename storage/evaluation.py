"""Ask `state_of` again, keep the answer, and tell the difference.

Called after every fact, inside the fact's own transaction. Nothing else writes a status.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from payments.events import events_between
from payments.ledger import transfers_due
from payments.model import Status
from payments.status import PaymentState, state_of
from payments.view import payment_view
from storage.dead_sweeps import with_neighbours
from storage.events import append
from storage.records import fresh_facts, record_of, state_in, tip_height
from storage.tx import Row, Tx


@dataclass(frozen=True, slots=True)
class Change:
    """A payment whose status moved: what the log tells."""

    payment_id: str
    user_id: str
    before: Status
    after: Status
    credits_posted: int


def evaluate(
    tx: Tx, numbers: Iterable[int], now: int, *, settling: bool = False, decided: bool = False
) -> list[Change]:
    """Derive the state of these payments again; returns those whose status changed.

    `now` only stamps events and `confirmed_at`; it decides nothing. In the middle of a
    reorganisation a payment of a disconnected block is left as it was: `settle` judges it. `decided`: the new
    fact is the operator's word, which is told whether or not it moves anything.
    """
    height = tip_height(tx)
    changes = []
    for number in sorted(set(numbers)):
        row = tx.one("SELECT * FROM payment WHERE number = :number", number=number)
        if row is None or (row["unsettled"] and not settling):
            continue
        if (change := _evaluate_one(tx, row, height, now, decided=decided)) is not None:
            changes.append(change)
    return changes


def _evaluate_one(tx: Tx, row: Row, height: int, now: int, *, decided: bool) -> Change | None:
    facts = fresh_facts(tx, row)
    before, after = state_in(row), state_of(facts, height)
    due = int(bool(transfers_due(facts, row["user_id"], height)))
    if before == after and due == row["booking_due"] and not row["unsettled"] and not decided:
        return None
    kinds = events_between(before, after, decided=decided)
    _keep(tx, row, after, now, due=due, sequence=row["sequence"] + len(kinds))
    if kinds:
        fresh = tx.one("SELECT * FROM payment WHERE number = :number", number=row["number"])
        assert fresh is not None  # noqa: S101 - the row was just updated
        data = payment_view(record_of(tx, fresh, height), tx.context.public_url)
        for offset, kind in enumerate(kinds, start=1):
            append(tx, kind, data, now, payment_number=row["number"], sequence=row["sequence"] + offset)
    if before.status is after.status:
        return None
    return Change(row["id"], row["user_id"], before.status, after.status, facts.credits_posted)


def _keep(tx: Tx, row: Row, after: PaymentState, now: int, *, due: int, sequence: int) -> None:
    paid = after.status in (Status.CONFIRMED, Status.FORWARDED)
    confirmed_at = (row["confirmed_at"] or now) if paid else None
    completed_at = (row["completed_at"] or now) if after.status is Status.FORWARDED else None
    tx.execute(
        "UPDATE payment SET status = :status, flags = :flags, received_sat = :received,"
        " confirmed_sat = :confirmed, remaining_sat = :remaining, told_depth = :depth, tx_hash = :tx_hash,"
        " detected_at = :detected_at, failure_reason = :reason, wake_height = :wake, booking_due = :due,"
        " confirmed_at = :confirmed_at, completed_at = :completed_at, unsettled = 0, sequence = :sequence"
        " WHERE number = :number",
        status=after.status.value,
        flags=" ".join(after.flags),
        received=after.received_sat,
        confirmed=after.confirmed_sat,
        remaining=after.remaining_sat,
        depth=after.confirmations,
        tx_hash=after.tx_hash,
        detected_at=after.detected_at,
        reason=after.failure_reason,
        wake=after.wake_height,
        due=due,
        confirmed_at=confirmed_at,
        completed_at=completed_at,
        sequence=sequence,
        number=row["number"],
    )


def windows_due(tx: Tx, until: int) -> bool:
    """Whether `close_windows` would find something to close."""
    row = tx.one("SELECT 1 AS due FROM payment WHERE window_closed = 0 AND expires_at <= :until LIMIT 1", until=until)
    return row is not None


def close_windows(tx: Tx, until: int, now: int) -> list[Change]:
    """Record that the price window of every payment due by `until` is over.

    `until` is the moment up to which the watcher has proved to have missed nothing, not the clock:
    a payment never expires on something that we have not looked at.
    """
    rows = tx.all(
        "SELECT number FROM payment WHERE window_closed = 0 AND expires_at <= :until ORDER BY expires_at LIMIT 500",
        until=until,
    )
    numbers = [row["number"] for row in rows]
    tx.many("UPDATE payment SET window_closed = 1 WHERE number = :number", [{"number": n} for n in numbers])
    return evaluate(tx, numbers, now)


def settle(tx: Tx, now: int) -> list[Change]:
    """At the tip: judge the payments that a disconnected block had left open."""
    rows = tx.all("SELECT number FROM payment WHERE unsettled = 1")
    return evaluate(tx, with_neighbours(tx, [row["number"] for row in rows]), now, settling=True)
