"""Status is derived, never written: `state_of` looks at the facts and says where a payment stands."""

from __future__ import annotations

from dataclasses import dataclass

from payments.facts import Facts, OutputFact
from payments.model import ExcessPolicy, Flag, LatePolicy, OutPoint, Status, Terms


@dataclass(frozen=True, slots=True)
class PaymentState:
    """Where a payment stands at a tip. All amounts in satoshi.

    `received_sat` and `confirmed_sat` are what the chain shows. `remaining_sat` is what is missing, and coins that
    the operator set aside do not fill it.

    `wake_height` is the height at which the next block may change something although no new fact
    arrives (a threshold of confirmations is crossed); None when only a new fact can.
    """

    status: Status
    flags: tuple[Flag, ...]
    received_sat: int
    confirmed_sat: int
    remaining_sat: int
    confirmations: int
    tx_hash: str | None
    detected_at: int | None
    failure_reason: str | None
    wake_height: int | None


def credits_for(terms: Terms, sat: int) -> int:
    """Credits that `sat` satoshi are worth: nothing below the asked amount, then in proportion, rounded down."""
    if sat < terms.needed_sat:
        return 0
    if sat <= terms.amount_sat or terms.excess is ExcessPolicy.KEEP:
        return terms.credits
    return terms.credits * sat // terms.amount_sat


def covering(facts: Facts, tip_height: int) -> tuple[OutputFact, ...]:
    """The deepest outputs that it takes to pay the amount, in the payer's order; empty while they do not.

    Dust that came before the real payment is not among them: what can be left out is, smallest first. Nor are
    coins that the operator has set aside.
    """
    needed: dict[OutPoint, OutputFact] = {}
    total = 0
    ordered = [o for o in facts.in_payers_order() if not o.set_aside]
    for output in sorted(ordered, key=lambda o: -o.depth(tip_height)):
        needed[output.outpoint] = output
        total += output.value_sat
        if total >= facts.terms.needed_sat:
            break
    else:
        return ()
    for output in sorted(needed.values(), key=lambda o: o.value_sat):
        if total - output.value_sat >= facts.terms.needed_sat:
            total -= output.value_sat
            del needed[output.outpoint]
    return tuple(o for o in ordered if o.outpoint in needed)


def confirmations_of(facts: Facts, tip_height: int) -> int:
    """Depth of the shallowest output needed to cover the amount; 0 while the amount is not covered."""
    return min((o.depth(tip_height) for o in covering(facts, tip_height)), default=0)


def settled(output: OutputFact, terms: Terms, tip_height: int) -> bool:
    """Whether an output counts as final: deep enough, or booked before and still in the active chain."""
    if output.height is None:
        return False
    return output.booked or output.depth(tip_height) >= output.needs_depth(terms.confirmations_required)


def is_late(facts: Facts) -> bool:
    """Whether any part of what came was paid only after the window."""
    return any(output.paid_at > facts.terms.expires_at for output in facts.in_payers_order())


def held(facts: Facts) -> frozenset[OutPoint]:
    """Outputs that give no credit until the operator says so: paid after the window, under `late = hold`, and
    nothing decided about them yet.

    The window is a promise about the price, so coins that come later never buy at it, not even on
    top of a payment that was complete in time.
    """
    if facts.terms.late is not LatePolicy.HOLD:
        return frozenset()
    ordered = facts.in_payers_order()
    return frozenset(o.outpoint for o in ordered if o.paid_at > facts.terms.expires_at and o.decision is None)


def aside(facts: Facts) -> frozenset[OutPoint]:
    """Outputs that give no credit: held until the operator decides, or set aside by him for good, here or gone."""
    return held(facts) | frozenset(o.outpoint for o in facts.outputs if o.set_aside)


def state_of(facts: Facts, tip_height: int) -> PaymentState:
    """Derive everything the outside sees of a payment from its facts and the height of our tip."""
    terms = facts.terms
    live = [o for o in facts.outputs if o.live]
    received = sum(o.value_sat for o in live)
    counted = sum(o.value_sat for o in live if not o.set_aside)
    deep = [o for o in live if settled(o, terms, tip_height)]
    without = aside(facts)
    worth = credits_for(terms, sum(o.value_sat for o in deep if o.outpoint not in without))
    full = counted >= terms.needed_sat
    final = sum(o.value_sat for o in deep if not o.set_aside) >= terms.needed_sat
    cover = covering(facts, tip_height)
    confirmations = min((o.depth(tip_height) for o in cover), default=0)
    reason: str | None = None
    if worth > 0:
        status = _paid_status(facts)
    elif final:
        status, reason = Status.FAILED, "late"
    elif facts.ever_credited:
        status, reason = Status.FAILED, "reversed"
    elif full:
        status = Status.CONFIRMING
    else:
        status = Status.EXPIRED if facts.window_closed else Status.PENDING
    first = min(cover or facts.in_payers_order(), key=lambda o: o.first_seen, default=None)
    return PaymentState(
        status=status,
        flags=_flags(facts, counted),
        received_sat=received,
        confirmed_sat=sum(o.value_sat for o in deep),
        remaining_sat=0 if full else terms.amount_sat - counted,
        confirmations=confirmations,
        tx_hash=first.outpoint.txid if first else None,
        detected_at=min((o.first_seen for o in facts.outputs), default=None),
        failure_reason=reason,
        wake_height=_wake_height(facts, live, cover, status, tip_height),
    )


def _paid_status(facts: Facts) -> Status:
    """The amount is final. Confirmed means that the credits are on the account, so the ledger decides.

    What comes on top of a forwarded payment (a stranger's dust is enough) does not undo that.
    """
    if facts.credits_posted <= 0:
        return Status.CONFIRMING
    on_their_way = sum(o.value_sat for o in facts.outputs if o.booked and o.forwarded and not o.set_aside)
    done = facts.watch_only or on_their_way >= facts.terms.needed_sat
    return Status.FORWARDED if done else Status.CONFIRMED


def _flags(facts: Facts, counted: int) -> tuple[Flag, ...]:
    """`counted` satoshi are here or on their way, without what was set aside."""
    terms = facts.terms
    found = {
        Flag.UNDERPAID: 0 < counted < terms.needed_sat,
        Flag.OVERPAID: counted > terms.amount_sat,
        Flag.LATE: is_late(facts),
        Flag.REPLACED: any(o.replaced_by is not None for o in facts.outputs),
        Flag.REORGED: any(o.was_disconnected for o in facts.outputs),
    }
    return tuple(flag for flag, on in found.items() if on)


def _wake_height(
    facts: Facts, live: list[OutputFact], cover: tuple[OutputFact, ...], status: Status, tip_height: int
) -> int | None:
    received = sum(o.value_sat for o in live)
    tiers = [confirmations for above_sat, confirmations in facts.terms.tiers if received > above_sat]
    if status is Status.CONFIRMING and all(o.height is not None for o in cover):
        wanted = max([facts.terms.confirmations_required, *tiers])
        # Each new depth is news as long as it is waited for; what is deeper waits for its booking alone.
        if any(o.depth(tip_height) < o.needs_depth(wanted) for o in cover):
            return tip_height + 1
    crossings = [
        o.height + o.needs_depth(facts.terms.confirmations_required) - 1
        for o in live
        if o.height is not None and not settled(o, facts.terms, tip_height)
    ]
    crossings += [
        o.height + o.needs_depth(confirmations) - 1
        for confirmations in tiers
        for o in live
        if o.height is not None and o.depth(tip_height) < o.needs_depth(confirmations)
    ]
    return min(crossings, default=None)
