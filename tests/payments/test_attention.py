"""The list of what waits for the operator."""

from __future__ import annotations

import pytest

from payments.attention import Concern, ConcernKind, concerns_of, oldest_first
from payments.facts import Facts, Resolution
from payments.model import LatePolicy
from payments.status import state_of
from tests.payments.given import IN_TIME, TIP, TOO_LATE, credited, facts, gone, output, terms

HOLD = terms(late=LatePolicy.HOLD)
LATE, REVERSED, UNDERPAID, _ = ConcernKind


def told(known: Facts, reversed_at: int | None = None) -> list[tuple[ConcernKind, int, int]]:
    found = concerns_of(known, state_of(known, TIP), "p1", TIP, reversed_at=reversed_at)
    return [(c.kind, c.sat, c.since) for c in found]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        pytest.param(facts(window_closed=True), [], id="nothing came"),
        pytest.param(facts(output("a", 20_000, depth=9)), [], id="the rest may come"),
        pytest.param(
            facts(output("a", 20_000, depth=9), window_closed=True), [(UNDERPAID, 20_000, IN_TIME)], id="underpaid"
        ),
        pytest.param(facts(output("a", 20_000, depth=1), window_closed=True), [], id="underpaid, not final yet"),
        pytest.param(
            facts(output("a", 20_000, depth=9, decision=Resolution.IGNORE), window_closed=True), [], id="decided"
        ),
        pytest.param(
            facts(output("a", 40_000, depth=3, paid_at=TOO_LATE), promise=HOLD, window_closed=True),
            [(LATE, 40_000, TOO_LATE)],
            id="late and held",
        ),
        pytest.param(
            facts(
                output("a", 20_000, depth=9),
                output("b", 20_000, depth=3, paid_at=TOO_LATE),
                promise=HOLD,
                window_closed=True,
            ),
            [(LATE, 40_000, TOO_LATE)],
            id="a late half: all of it waits",
        ),
        pytest.param(
            facts(output("a", 20_000, depth=3, paid_at=TOO_LATE), promise=HOLD, window_closed=True),
            [(UNDERPAID, 20_000, TOO_LATE)],
            id="late and underpaid",
        ),
        pytest.param(
            credited(
                output("a", 40_000, depth=9, booked=True),
                output("b", 700, depth=3, paid_at=TOO_LATE, booked=True),
                promise=HOLD,
                window_closed=True,
            ),
            [(LATE, 700, TOO_LATE)],
            id="late on top of a paid one",
        ),
        pytest.param(credited(output("a", 40_000, depth=9, booked=True), window_closed=True), [], id="paid"),
    ],
)
def test_what_waits(known: Facts, expected: list[tuple[ConcernKind, int, int]]) -> None:
    assert told(known) == expected


def test_a_reversal_waits_until_somebody_knows() -> None:
    undone = facts(gone("a", 40_000), window_closed=True, ever_credited=True)
    assert told(undone, reversed_at=7) == [(REVERSED, 40_000, 7)]
    assert told(undone) == []
    assert told(credited(output("a", 40_000, depth=9, booked=True)), reversed_at=7) == []


def test_a_reversal_of_which_a_part_is_there() -> None:
    part = facts(output("a", 20_000, depth=9), window_closed=True, ever_credited=True)
    assert told(part, reversed_at=7) == [(REVERSED, 40_000, 7), (UNDERPAID, 20_000, IN_TIME)]


def test_the_oldest_comes_first() -> None:
    def since(at: int, name: str) -> Concern:
        return Concern(LATE, name, None, 1, "…", at)

    assert [c.payment_id for c in oldest_first([since(2, "b"), since(1, "c"), since(2, "a")])] == ["c", "a", "b"]
