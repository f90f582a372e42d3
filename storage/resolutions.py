"""The operator's decisions: written once, judged at once, told as an event, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from payments.facts import Facts, Resolution
from payments.model import OutPoint
from payments.record import PaymentRecord
from payments.resolution import NotPossible, coins_to_decide, open_coins
from payments.status import PaymentState
from storage.evaluation import evaluate
from storage.records import fresh_facts, payment_by_number, state_in
from storage.tx import Row, Tx


class UnknownPayment(LookupError):
    """Nobody was ever given this payment id."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One row of `resolution` with its coins. `decided_at` in milliseconds."""

    id: int
    action: Resolution
    reason: str
    refund_txid: str | None
    decided_at: int
    coins: tuple[OutPoint, ...]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What came of it. `repeated`: it was decided before, and nothing was changed."""

    payment: PaymentRecord
    decision: Decision
    repeated: bool


def resolve(
    tx: Tx,
    payment_id: str,
    action: Resolution,
    reason: str,
    now: int,
    *,
    refund_txid: str | None = None,
    coins: Sequence[OutPoint] | None = None,
) -> Resolved:
    """Decide about the coins of a payment that are open now, or about those of them that are named.

    The same again changes nothing. Credits are booked by the watcher's next pass, with the node's word. Raises
    `UnknownPayment` and `NotPossible`.
    """
    row = tx.one("SELECT * FROM payment WHERE id = :id", id=payment_id)
    if row is None:
        raise UnknownPayment(payment_id)
    number = row["number"]
    if row["unsettled"]:
        raise NotPossible(
            "A reorganisation is under way, and the payment is judged again at its end: decide then. If that takes "
            "long, see /readyz of the service."
        )
    facts, state = fresh_facts(tx, row), state_in(row)
    if (before := _the_same(tx, number, facts, state, action, refund_txid, coins)) is not None:
        return Resolved(payment_by_number(tx, number), before, repeated=True)
    chosen = coins_to_decide(facts, state, action, coins)
    decision = _write(tx, number, action, reason, refund_txid, chosen, now)
    evaluate(tx, [number], now, decided=True)
    return Resolved(payment_by_number(tx, number), decision, repeated=False)


def _the_same(
    tx: Tx,
    number: int,
    facts: Facts,
    state: PaymentState,
    action: Resolution,
    refund_txid: str | None,
    coins: Sequence[OutPoint] | None,
) -> Decision | None:
    """The decision of which this is a repetition. One refund is recorded once: coins that came since are not
    refunded by it, unless they are named."""
    made = decisions_of(tx, number)
    alike = [d for d in reversed(made) if (d.action, d.refund_txid) == (action, refund_txid)]
    if coins is not None:
        return next((d for d in alike if coins and set(coins) <= set(d.coins)), None)
    if alike and action is Resolution.REFUNDED:
        return alike[0]
    nothing_open = not open_coins(facts, action) and (
        action is not Resolution.IGNORE or state.failure_reason != "reversed" or acknowledged(tx, number)
    )
    return alike[0] if alike and nothing_open else None


def _write(
    tx: Tx,
    number: int,
    action: Resolution,
    reason: str,
    refund_txid: str | None,
    coins: Iterable[OutPoint],
    now: int,
) -> Decision:
    chosen = tuple(coins)
    row = tx.one(
        "INSERT INTO resolution (id, payment_number, action, reason, refund_txid, newest_transfer, decided_at)"
        " VALUES ((SELECT coalesce(MAX(id), 0) + 1 FROM resolution), :number, :action, :reason, :refund,"
        " (SELECT coalesce(MAX(id), 0) FROM transfer), :now) RETURNING id",
        number=number,
        action=action.value,
        reason=reason,
        refund=refund_txid,
        now=now,
    )
    assert row is not None  # noqa: S101 - RETURNING always answers
    tx.many(
        "INSERT INTO resolution_output (resolution_id, txid, vout, set_aside) VALUES (:id, :txid, :vout, :aside)",
        [
            {"id": row["id"], "txid": c.txid, "vout": c.vout, "aside": int(action is not Resolution.CREDIT)}
            for c in chosen
        ],
    )
    return Decision(row["id"], action, reason, refund_txid, now, chosen)


def decisions_of(tx: Tx, number: int) -> list[Decision]:
    """Every decision about a payment, in order."""
    rows = tx.all("SELECT * FROM resolution WHERE payment_number = :number ORDER BY id", number=number)
    return [_decision(tx, row) for row in rows]


def decision_by_id(tx: Tx, number: int) -> tuple[str, Decision]:
    """A decision, and the id of the payment that it is about."""
    row = tx.one(
        "SELECT r.*, p.id AS payment_id FROM resolution r JOIN payment p ON p.number = r.payment_number"
        " WHERE r.id = :id",
        id=number,
    )
    if row is None:
        raise LookupError(f"no decision has number {number}")
    return row["payment_id"], _decision(tx, row)


def _decision(tx: Tx, row: Row) -> Decision:
    coins = tx.all(
        "SELECT txid, vout FROM resolution_output WHERE resolution_id = :id ORDER BY txid, vout", id=row["id"]
    )
    return Decision(
        row["id"],
        Resolution(row["action"]),
        row["reason"],
        row["refund_txid"],
        row["decided_at"],
        tuple(OutPoint(coin["txid"], coin["vout"]) for coin in coins),
    )


def acknowledged(tx: Tx, number: int) -> bool:
    """Whether something was decided since credits of the payment were last taken away."""
    return reversed_since(tx, number) is None


def reversed_since(tx: Tx, number: int) -> int | None:
    """When (ms) credits of the payment were last taken away, if that is news to the operator; else None."""
    row = tx.one(
        "SELECT t.created_at FROM transfer t WHERE t.payment_number = :number AND t.credits < 0 AND NOT EXISTS"
        " (SELECT 1 FROM resolution r WHERE r.payment_number = :number AND r.newest_transfer >= t.id)"
        " ORDER BY t.id DESC LIMIT 1",
        number=number,
    )
    return None if row is None else int(row["created_at"])
