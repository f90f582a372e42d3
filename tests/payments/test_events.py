"""Events are what lies between two states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from payments.events import EventType as E
from payments.events import events_between
from payments.facts import Facts, Resolution
from payments.model import LatePolicy
from payments.status import state_of
from tests.payments.given import TIP, TOO_LATE, facts, gone, output, terms

FULL, HALF = 40_000, 20_000
NOTHING = facts()
HOLD = terms(late=LatePolicy.HOLD)


def done(known: Facts, credits: int = 400) -> Facts:
    """The same facts after the ledger was brought level."""
    return replace(known, credits_posted=credits, ever_credited=True)


def decided(known: Facts, action: Resolution) -> Facts:
    """The same facts after the operator's word about all its coins."""
    return replace(known, outputs=tuple(replace(o, decision=action) for o in known.outputs))


DEEP = facts(output("a", FULL, depth=3, booked=True))
HELD = facts(output("a", FULL, depth=3, paid_at=TOO_LATE, booked=True), promise=HOLD)
UNDONE = done(facts(output("a", FULL, booked=True, was_disconnected=True)))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param(NOTHING, NOTHING, [], id="nothing happened"),
        pytest.param(NOTHING, facts(output("a", FULL)), [E.DETECTED, E.CONFIRMING], id="full amount seen"),
        pytest.param(NOTHING, facts(output("a", HALF)), [E.DETECTED, E.UNDERPAID], id="part seen"),
        pytest.param(
            facts(output("a", HALF)),
            facts(output("a", HALF), output("b", 5)),
            [E.UNDERPAID],
            id="more, still not enough",
        ),
        pytest.param(
            facts(output("a", HALF)), facts(output("a", HALF), output("b", HALF)), [E.CONFIRMING], id="the other half"
        ),
        pytest.param(facts(output("a", FULL)), facts(output("a", FULL), output("b", 1)), [E.OVERPAID], id="excess"),
        pytest.param(
            facts(output("a", FULL + 1)), facts(output("a", FULL + 1), output("b", 1)), [E.OVERPAID], id="more excess"
        ),
        pytest.param(facts(output("a", FULL)), facts(output("a", FULL, depth=1)), [E.CONFIRMING], id="first depth"),
        pytest.param(
            facts(output("a", FULL, depth=1)), facts(output("a", FULL, depth=2)), [E.CONFIRMING], id="each new depth"
        ),
        pytest.param(facts(output("a", FULL, depth=2)), facts(output("a", FULL, depth=2)), [], id="same depth again"),
        pytest.param(DEEP, done(DEEP), [E.CONFIRMED, E.FORWARDED], id="booked, watch-only"),
        pytest.param(
            replace(DEEP, watch_only=False),
            replace(done(DEEP), watch_only=False),
            [E.CONFIRMED],
            id="booked, forwarding mode",
        ),
        pytest.param(replace(done(DEEP), watch_only=False), done(DEEP), [E.FORWARDED], id="forwarded"),
        pytest.param(NOTHING, facts(window_closed=True), [E.EXPIRED], id="expired"),
        pytest.param(
            facts(window_closed=True),
            facts(output("a", FULL, paid_at=TOO_LATE), window_closed=True),
            [E.DETECTED, E.LATE, E.CONFIRMING],
            id="late",
        ),
        pytest.param(
            replace(HELD, outputs=(output("a", FULL, depth=2, paid_at=TOO_LATE),)), HELD, [E.FAILED], id="late and held"
        ),
        pytest.param(
            HELD,
            done(decided(HELD, Resolution.CREDIT)),
            [E.CONFIRMED, E.FORWARDED],
            id="held, then credited by the operator",
        ),
        pytest.param(
            facts(output("a", FULL)), facts(gone("a", FULL, replaced_by="x")), [E.REPLACED], id="replaced elsewhere"
        ),
        pytest.param(
            facts(output("a", FULL)),
            facts(gone("a", FULL, replaced_by="b"), output("b", FULL)),
            [E.REPLACED],
            id="bumped",
        ),
        pytest.param(
            facts(gone("a", FULL, replaced_by="b"), output("b", FULL)),
            facts(gone("a", FULL, replaced_by="b"), gone("b", FULL, replaced_by="c"), output("c", FULL)),
            [E.REPLACED],
            id="bumped a second time",
        ),
        pytest.param(
            facts(output("a", HALF, depth=2)),
            facts(output("a", HALF, depth=3)),
            [E.UNDERPAID],
            id="a part is final",
        ),
        pytest.param(facts(output("a", FULL)), facts(gone("a", FULL)), [E.DROPPED], id="dropped from the mempool"),
        pytest.param(facts(output("a", HALF)), facts(gone("a", HALF)), [E.DROPPED], id="a part dropped"),
        pytest.param(
            facts(gone("a", FULL, replaced_by="b"), output("b", FULL)),
            facts(gone("a", FULL, replaced_by="b"), gone("b", FULL, replaced_by="x")),
            [E.DROPPED],
            id="replaced a second time: the coins are gone again",
        ),
        pytest.param(
            facts(output("a", FULL, depth=2)),
            facts(output("a", FULL, was_disconnected=True)),
            [E.REORGED],
            id="reorganised, back in the mempool",
        ),
        pytest.param(
            facts(output("a", FULL, depth=2, was_disconnected=True)),
            facts(output("a", FULL, was_disconnected=True)),
            [E.REORGED],
            id="reorganised a second time",
        ),
        pytest.param(
            facts(gone("a", FULL), window_closed=True),
            facts(output("a", FULL), window_closed=True),
            [E.CONFIRMING],
            id="dropped and seen again",
        ),
        pytest.param(done(DEEP), UNDONE, [E.REORGED, E.FAILED], id="credited and undone"),
        pytest.param(
            replace(UNDONE, credits_posted=0),
            done(facts(output("a", FULL, depth=3, booked=True, was_disconnected=True))),
            [E.CONFIRMED, E.FORWARDED],
            id="undone and back",
        ),
    ],
)
def test_events_between(before: Facts, after: Facts, told: list[E]) -> None:
    assert events_between(state_of(before, TIP), state_of(after, TIP)) == told


def test_a_reorganisation_of_other_blocks_is_no_news() -> None:
    """The block of the payment stays, only the tip falls: fewer confirmations, nothing told."""
    known = facts(output("a", FULL, depth=3))
    assert events_between(state_of(known, TIP), state_of(known, TIP - 1)) == []


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param(HELD, decided(HELD, Resolution.CREDIT), [E.RESOLVED, E.CONFIRMING], id="held, to be credited"),
        pytest.param(
            replace(HELD, window_closed=True),
            decided(replace(HELD, window_closed=True), Resolution.REFUNDED),
            [E.RESOLVED, E.EXPIRED],
            id="held, refunded",
        ),
        pytest.param(
            facts(output("a", 20_000, depth=9, was_disconnected=True), window_closed=True),
            decided(facts(output("a", 20_000, depth=9, was_disconnected=True), window_closed=True), Resolution.IGNORE),
            [E.RESOLVED],
            id="nothing sank: no second payment.reorged",
        ),
        pytest.param(
            facts(
                output("a", FULL, depth=9, was_disconnected=True, paid_at=TOO_LATE),
                window_closed=True,
                promise=HELD.terms,
            ),
            decided(
                facts(
                    output("a", FULL, depth=9, was_disconnected=True, paid_at=TOO_LATE),
                    window_closed=True,
                    promise=HELD.terms,
                ),
                Resolution.IGNORE,
            ),
            [E.RESOLVED, E.EXPIRED],
            id="the depth of what counts falls to none, and no block was undone",
        ),
        pytest.param(done(DEEP), done(DEEP), [E.RESOLVED], id="a decision that moves nothing is told"),
    ],
)
def test_what_a_decision_tells(before: Facts, after: Facts, told: list[E]) -> None:
    assert events_between(state_of(before, TIP), state_of(after, TIP), decided=True) == told
