"""`state_of` when payers, nodes and miners change their minds: one named scenario a line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from payments.facts import Facts
from payments.model import Flag, LatePolicy, Status
from payments.status import state_of
from tests.payments.given import CLOSES, IN_TIME, TIP, TOO_LATE, case, credited, facts, gone, output, terms

P, CG, CD, F, X, FL = (
    Status.PENDING,
    Status.CONFIRMING,
    Status.CONFIRMED,
    Status.FORWARDED,
    Status.EXPIRED,
    Status.FAILED,
)
HOLD = terms(late=LatePolicy.HOLD)

UNDONE = [
    case(
        "bumped (BIP 125) and still paying us: the first moment counts",
        facts(gone("a", 40_000, replaced_by="b"), output("b", 40_000, paid_at=TOO_LATE), promise=HOLD),
        CG,
        received_sat=40_000,
        flags=(Flag.REPLACED,),
        tx_hash="b",
    ),
    case(
        "bumped twice: the first moment still counts",
        facts(
            gone("a", 40_000, replaced_by="b"),
            gone("b", 40_000, replaced_by="c", paid_at=TOO_LATE),
            output("c", 40_000, paid_at=TOO_LATE + 1),
        ),
        CG,
        flags=(Flag.REPLACED,),
    ),
    case(
        "bumped late to pay more: that is a late payment",
        facts(gone("a", 1_000, replaced_by="b"), output("b", 40_000, paid_at=TOO_LATE)),
        CG,
        flags=(Flag.LATE, Flag.REPLACED),
    ),
    case(
        "a small early one merged with a large late one is late",
        facts(
            gone("a", 1, replaced_by="m"),
            gone("b", 40_000, replaced_by="m", paid_at=TOO_LATE),
            output("m", 40_001, paid_at=TOO_LATE + 1),
        ),
        CG,
        flags=(Flag.OVERPAID, Flag.LATE, Flag.REPLACED),
    ),
    case(
        "two halves in time, merged into one later: in time",
        facts(
            gone("a", 20_000, replaced_by="m"),
            gone("b", 20_000, replaced_by="m", paid_at=CLOSES),
            output("m", 40_000, paid_at=TOO_LATE),
        ),
        CG,
        flags=(Flag.REPLACED,),
    ),
    case(
        "replaced elsewhere, window open",
        facts(gone("a", 40_000, replaced_by="x")),
        P,
        received_sat=0,
        remaining_sat=40_000,
        flags=(Flag.REPLACED,),
        tx_hash=None,
        detected_at=IN_TIME,
    ),
    case("replaced elsewhere, window over", facts(gone("a", 40_000, replaced_by="x"), window_closed=True), X),
    case("dropped from the mempool", facts(gone("a", 40_000)), P, received_sat=0, flags=()),
    case(
        "reorged before N, back in the mempool",
        facts(output("a", 40_000, was_disconnected=True)),
        CG,
        confirmations=0,
        flags=(Flag.REORGED,),
    ),
    case("reorged before N and gone", facts(gone("a", 40_000, was_disconnected=True)), P, flags=(Flag.REORGED,)),
    case(
        "booked and undone",
        credited(output("a", 40_000, booked=True, was_disconnected=True)),
        FL,
        failure_reason="reversed",
        confirmed_sat=0,
        flags=(Flag.REORGED,),
    ),
    case(
        "reversed, coins on their way back",
        credited(output("a", 40_000, depth=2, was_disconnected=True), credits=0),
        FL,
        failure_reason="reversed",
        wake_height=TIP + 1,
    ),
    case(
        "coins back, N deep, about to be booked",
        credited(output("a", 40_000, depth=3, was_disconnected=True), credits=0),
        CG,
        failure_reason=None,
    ),
    case("coins back and booked", credited(output("a", 40_000, depth=3, booked=True, was_disconnected=True)), F),
    case(
        "re-mined in the new branch: booked stays final while shallow",
        credited(output("a", 40_000, depth=1, booked=True, was_disconnected=True)),
        F,
        confirmed_sat=40_000,
        confirmations=1,
    ),
    case(
        "a double spend of one of two booked outputs",
        credited(output("a", 20_000, depth=5, booked=True), gone("b", 20_000, booked=True, was_disconnected=True)),
        FL,
        failure_reason="reversed",
        confirmed_sat=20_000,
    ),
]


@pytest.mark.parametrize(("known", "status", "expected"), UNDONE)
def test_state_of(known: Facts, status: Status, expected: dict[str, Any]) -> None:
    state = state_of(known, TIP)
    assert state.status is status
    assert {name: getattr(state, name) for name in expected} == expected


def test_replacements_in_a_circle_end() -> None:
    """A and B that name each other (facts of a confused mempool) must not hang the till."""
    circle = facts(
        gone("a", 5, replaced_by="b"), gone("b", 5, replaced_by="a"), output("c", 5), gone("d", 5, replaced_by="c")
    )
    both_live = replace(circle, outputs=(output("a", 5, replaced_by="b"), *circle.outputs[1:]))
    assert state_of(circle, TIP).received_sat == 5
    assert state_of(both_live, TIP).received_sat == 10
