"""Moments are inherited along replacements, and a payer who makes thousands of them costs little."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from payments.facts import OutputFact
from payments.model import LatePolicy, Status
from payments.moments import first_moments
from payments.status import state_of
from tests.payments.given import IN_TIME, TIP, TOO_LATE, facts, gone, output, terms


def by_the_book(outputs: list[OutputFact], txid: str) -> int:
    """The definition, read out slowly."""
    ours = [o for o in outputs if o.outpoint.txid == txid]
    own, total = min(o.paid_at for o in ours), 0
    originals = {o.outpoint.txid for o in outputs if o.replaced_by == txid and not o.live}
    for moment, original in sorted((by_the_book(outputs, original), original) for original in originals):
        total += sum(o.value_sat for o in outputs if o.outpoint.txid == original)
        if total >= sum(o.value_sat for o in ours):
            return min(own, moment)
    return own


@st.composite
def replacements(draw: st.DrawFn) -> list[OutputFact]:
    """Up to eight transactions, each replaced by a later one or alive."""
    names = "abcdefgh"[: draw(st.integers(1, 8))]
    found = []
    for place, name in enumerate(names):
        heir = draw(st.sampled_from([None, *names[place + 1 :], "z"]))
        for vout in range(draw(st.integers(1, 2))):
            made = output(name, draw(st.integers(1, 5)), vout=vout, paid_at=draw(st.integers(0, 9)))
            found.append(made if heir is None else replace(made, in_mempool=False, replaced_by=heir))
    return found


@settings(max_examples=500, deadline=None)
@given(replacements())
def test_as_the_book_says(outputs: list[OutputFact]) -> None:
    assert first_moments(outputs) == {o.outpoint.txid: by_the_book(outputs, o.outpoint.txid) for o in outputs}


def test_a_ring_is_left_as_it_is() -> None:
    ring = [gone("a", 1, replaced_by="b", paid_at=5), gone("b", 1, replaced_by="a", paid_at=3)]
    assert first_moments(ring) == {"a": 5, "b": 3}


def test_five_thousand_bumps() -> None:
    """Paid in time, the fee raised again and again long after the window: in time, and soon told."""
    last = 5_000
    chain = [gone("0", 40_000, replaced_by="1", paid_at=IN_TIME)]
    chain += [gone(f"{n}", 40_000, replaced_by=f"{n + 1}", paid_at=TOO_LATE + n) for n in range(1, last)]
    chain.append(output(f"{last}", 40_000, depth=3, paid_at=TOO_LATE + last))
    state = state_of(facts(*chain, promise=terms(late=LatePolicy.HOLD)), TIP)
    assert (state.status, state.failure_reason) == (Status.CONFIRMING, None)
    assert state.flags == ("replaced",)
