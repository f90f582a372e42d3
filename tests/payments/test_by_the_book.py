"""What the fast rules say of any facts is what the plain definition says, read out slowly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from payments.facts import Facts, OutputFact, Resolution
from payments.ledger import TransferKind, transfers_due
from payments.model import ExcessPolicy, LatePolicy, OutPoint, Terms
from payments.status import covering, credits_for, settled
from tests.payments.given import IN_TIME, TIP, TOO_LATE, output, terms

Said = tuple[TransferKind, OutPoint, int]
VALUES = (0, 1, 546, 19_999, 20_000, 40_000, 50_001, 90_000, 1_000_000)
TIERS = ((), ((50_000, 4),), ((40_000, 4), (90_000, 5)), ((90_000, 4), (200_000, 6), (300_000, 7)))


def worth(promise: Terms, counted: Sequence[OutputFact], posted: int) -> int:
    """Credits for these final outputs: each depth vouches for what is below the tier that asks for more."""
    total = sum(o.value_sat for o in counted)
    depths = [promise.confirmations_required, *(confirmations for _, confirmations in promise.tiers)]
    bounds = [*(above_sat for above_sat, _ in promise.tiers), total]
    vouched = 0
    for number, (needed, bound) in enumerate(zip(depths, bounds, strict=True)):
        deep = [o for o in counted if number == 0 or o.depth(TIP) >= o.needs_depth(needed)]
        vouched = max(vouched, min(bound, sum(o.value_sat for o in deep)))
    return max(credits_for(promise, vouched), min(posted, credits_for(promise, total)))


def gives_nothing(o: OutputFact, paid_at: int | None, promise: Terms) -> bool:
    """By the operator's word, or for want of it. One that is gone (None) was not held any more when it went."""
    if o.decision in (Resolution.IGNORE, Resolution.REFUNDED):
        return True
    held = promise.late is LatePolicy.HOLD and paid_at is not None and paid_at > promise.expires_at
    return held and o.decision is not Resolution.CREDIT


def due_by_the_book(known: Facts) -> list[Said]:
    """Each transfer from a fresh look at all outputs that count after it."""
    moments = {o.outpoint: o.paid_at for o in known.in_payers_order()}
    aside = {o.outpoint for o in known.outputs if gives_nothing(o, moments.get(o.outpoint), known.terms)}
    gone = [o for o in known.outputs if o.booked and o.height is None]
    come = [o for o in known.outputs if not o.booked and settled(o, known.terms, TIP)]
    come.sort(key=lambda o: (o.paid_at, o.outpoint))
    posted, said = known.credits_posted, list[Said]()
    for step in range(1, len(gone) + len(come) + 1):
        lost, won = gone[:step], come[: max(0, step - len(gone))]
        counted = [o for o in known.outputs if (o.booked and o not in lost) or o in won]
        target = worth(known.terms, [o for o in counted if o.outpoint not in aside], posted)
        target = max(target, posted) if won else min(target, posted)  # who comes takes nothing, who goes gives nothing
        kind = TransferKind.DEPOSIT if won else TransferKind.REVERSAL
        said.append((kind, (won or lost)[-1].outpoint, target - posted))
        posted = target
    booked = [o for o in known.outputs if (o.booked and o not in gone) or o in come]
    target = worth(known.terms, [o for o in booked if o.outpoint not in aside], posted)
    if target != posted:
        named = said[-1][1] if said else max(o.outpoint for o in booked)
        said.append((TransferKind.ADJUSTMENT, named, target - posted))
    return said


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    """Up to eight outputs anywhere, booked or not, under any promise; `credits_posted` as the till keeps it."""
    places = [(name, vout) for name in "abcd" for vout in range(2)]
    outputs = [
        output(
            name,
            draw(st.sampled_from(VALUES)),
            vout=vout,
            depth=(depth := draw(st.none() | st.integers(1, 7) | st.just(101))),
            paid_at=draw(st.sampled_from([IN_TIME, IN_TIME + 1, TOO_LATE])),
            coinbase=draw(st.booleans()),
            in_mempool=depth is None and draw(st.booleans()),
            booked=draw(st.booleans()),
            decision=draw(st.sampled_from([None, None, *Resolution])),
        )
        for name, vout in draw(st.lists(st.sampled_from(places), max_size=8, unique=True))
    ]
    promise = terms(
        late=draw(st.sampled_from(LatePolicy)),
        excess=draw(st.sampled_from(ExcessPolicy)),
        tolerance_sat=draw(st.sampled_from([0, 100])),
        tiers=draw(st.sampled_from(TIERS)),
    )
    full = credits_for(promise, sum(o.value_sat for o in outputs if o.booked))
    return Facts(
        promise,
        tuple(outputs),
        credits_posted=draw(st.integers(0, full)),
        watch_only=draw(st.booleans()),
    )


@settings(max_examples=800, deadline=None)
@given(any_facts())
def test_what_the_ledger_must_write(known: Facts) -> None:
    told = [(t.kind, t.outpoint, t.credits) for t in transfers_due(known, "u1", TIP)]
    assert told == due_by_the_book(known)


@settings(max_examples=200, deadline=None)
@given(any_facts())
def test_what_covers_the_amount(known: Facts) -> None:
    """No set of outputs that pays the amount is deeper, and none of the chosen ones can be left out."""
    needed = known.terms.needed_sat
    live = [o for o in known.outputs if o.live and o.decision not in (Resolution.IGNORE, Resolution.REFUNDED)]

    def pays(some: Sequence[OutputFact]) -> bool:
        return sum(o.value_sat for o in some) >= needed

    chosen = covering(known, TIP)
    paying = [some for size in range(1, len(live) + 1) for some in combinations(live, size) if pays(some)]
    assert bool(chosen) is bool(paying)
    if chosen:
        assert pays(chosen)
        assert not any(pays([o for o in chosen if o is not left]) for left in chosen)
        assert min(o.depth(TIP) for o in chosen) == max(min(o.depth(TIP) for o in some) for some in paying)
