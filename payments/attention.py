"""What waits for the operator: one concern each, with a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from payments.facts import Facts, OutputFact, Resolution
from payments.model import Status
from payments.resolution import open_coins
from payments.status import PaymentState, held, settled


class ConcernKind(StrEnum):
    """Why somebody has to look."""

    LATE = "late"
    REVERSED = "reversed"
    UNDERPAID = "underpaid"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing to decide. `payment_id` or `txid` names what it is about, `sat` how much hangs on it, `since` (ms)
    is when it began."""

    kind: ConcernKind
    payment_id: str | None
    txid: str | None
    sat: int
    sentence: str
    since: int


def oldest_first(concerns: Iterable[Concern]) -> list[Concern]:
    return sorted(concerns, key=lambda c: (c.since, c.payment_id or "", c.txid or "", c.kind))


def concerns_of(
    facts: Facts, state: PaymentState, payment_id: str, tip_height: int, *, reversed_at: int | None
) -> list[Concern]:
    """What waits about one payment. Coins that are not final yet may still go away, and wait for nothing.

    `reversed_at` (ms) is when credits were last taken away, None when that was never or the operator knows.
    """
    found = []
    if state.failure_reason == "reversed" and reversed_at is not None:
        sentence = (
            "A reorganisation undid it, and its credits were taken back. Talk to the customer: once the coins are "
            "back, so are the credits; else --action ignore takes it off this list."
        )
        found.append(Concern(ConcernKind.REVERSED, payment_id, None, facts.terms.amount_sat, sentence, reversed_at))
    waiting = [o for o in open_coins(facts, Resolution.IGNORE) if settled(o, facts.terms, tip_height)]
    if waiting:
        found.append(_about(waiting, facts, state, payment_id))
    return found


def late_forward(payment_id: str, sweep_txid: str | None, sat: int, since: int) -> Concern:
    """Coins of a payment did not get to the owner by the deadline; a block may take `sweep_txid` yet."""
    where = f"they are in sweep {sweep_txid}, which no block has taken" if sweep_txid else "no sweep has taken them"
    sentence = (
        f"{sat} sat did not get to the owner by forwarding.deadline_hours: {where}. `nodetill forward plan` says why; "
        "the credits stay, and it is still tried."
    )
    return Concern(ConcernKind.FORWARD, payment_id, sweep_txid, sat, sentence, since)


def _about(waiting: list[OutputFact], facts: Facts, state: PaymentState, payment_id: str) -> Concern:
    sat, since = sum(o.value_sat for o in waiting), max(o.paid_at for o in waiting)
    if state.status is Status.EXPIRED or not held(facts) & {o.outpoint for o in waiting}:
        sentence = (
            f"{sat} sat came, {state.remaining_sat} of {facts.terms.amount_sat} sat are missing: send them back and "
            "say --action refunded --txid, or --action ignore."
        )
        return Concern(ConcernKind.UNDERPAID, payment_id, None, sat, sentence, since)
    on_top = " on top" if facts.credits_posted > 0 else ""
    sentence = (
        f'{sat} sat came{on_top} after the window and are held (payments.late = "hold"): --action credit gives the '
        "credits; or send them back and say --action refunded --txid; or --action ignore."
    )
    return Concern(ConcernKind.LATE, payment_id, None, sat, sentence, since)
