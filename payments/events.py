"""Events are the difference between two states of a payment."""

from __future__ import annotations

from enum import StrEnum

from payments.model import Flag, Status
from payments.status import PaymentState


class EventType(StrEnum):
    """Names of everything a shop can be told (contract, section "Events and webhooks").

    `payment.dropped` is ours: coins that were on their way are no longer, without a replacement or a
    reorganisation that would tell it. Else a payment could go back to pending in silence. So is
    `payment.forwarding_failed`: it is credited, and its coins did not get to the owner in time.
    `till.restored`: what was told since the backup is forgotten here, and the shop should know. `payment.resolved`: the
    operator decided about coins of it, and not every decision moves the status.
    """

    CREATED = "payment.created"
    DETECTED = "payment.detected"
    CONFIRMING = "payment.confirming"
    CONFIRMED = "payment.confirmed"
    FORWARDED = "payment.forwarded"
    EXPIRED = "payment.expired"
    FAILED = "payment.failed"
    UNDERPAID = "payment.underpaid"
    OVERPAID = "payment.overpaid"
    LATE = "payment.late"
    REPLACED = "payment.replaced"
    REORGED = "payment.reorged"
    DROPPED = "payment.dropped"
    FORWARDING_FAILED = "payment.forwarding_failed"
    RESOLVED = "payment.resolved"
    CREDITS_ADDED = "credits.added"
    CREDITS_REVERSED = "credits.reversed"
    CREDITS_SPENT = "credits.spent"
    TILL_RESTORED = "till.restored"


_FLAG_EVENTS = {
    Flag.UNDERPAID: EventType.UNDERPAID,
    Flag.OVERPAID: EventType.OVERPAID,
    Flag.LATE: EventType.LATE,
    Flag.REPLACED: EventType.REPLACED,
    Flag.REORGED: EventType.REORGED,
}


def events_between(before: PaymentState, after: PaymentState, *, decided: bool = False) -> list[EventType]:
    """What happened to a payment, in the order in which a reader would tell it.

    `decided`: the operator's word is all that is new, so nothing on the chain has sunk or was replaced.
    """
    found: list[EventType] = [EventType.RESOLVED] if decided else []
    if before.detected_at is None and after.detected_at is not None:
        found.append(EventType.DETECTED)
    grew = after.received_sat > before.received_sat
    sank = after.confirmations < before.confirmations
    other = None not in (before.tx_hash, after.tx_hash) and before.tx_hash != after.tx_hash
    settled = after.confirmed_sat > before.confirmed_sat
    again = {
        Flag.UNDERPAID: grew or settled,
        Flag.OVERPAID: grew,
        Flag.REORGED: sank,
        Flag.REPLACED: other and not grew,
    }
    flagged = [
        event
        for flag, event in _FLAG_EVENTS.items()
        if flag in after.flags and (flag not in before.flags or (again.get(flag, False) and not decided))
    ]
    if after.received_sat < before.received_sat and not {EventType.REPLACED, EventType.REORGED} & set(flagged):
        flagged.append(EventType.DROPPED)
    return found + flagged + _status_events(before, after)


def _status_events(before: PaymentState, after: PaymentState) -> list[EventType]:
    changed = before.status is not after.status
    match after.status:
        case Status.CONFIRMING:
            deeper = after.confirmations > before.confirmations
            return [EventType.CONFIRMING] if changed or deeper else []
        case Status.CONFIRMED:
            return [EventType.CONFIRMED] if changed and before.status is not Status.FORWARDED else []
        case Status.FORWARDED if changed:
            # Watch-only: the coins are with the owner at the moment of confirmation, both are told.
            skipped = before.status is not Status.CONFIRMED
            return [EventType.CONFIRMED, EventType.FORWARDED] if skipped else [EventType.FORWARDED]
        case Status.EXPIRED if changed:
            return [EventType.EXPIRED]
        case Status.FAILED if changed or before.failure_reason != after.failure_reason:
            return [EventType.FAILED]
    return []
