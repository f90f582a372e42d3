"""`state_of`: one named scenario a line, as a shop would tell it."""

from __future__ import annotations

from typing import Any

import pytest

from payments.facts import Facts, OutputFact, Resolution
from payments.model import ExcessPolicy, Flag, LatePolicy, OutputState, Status
from payments.status import confirmations_of, covering, credits_for, state_of
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
TOLERANT = terms(tolerance_sat=100)


SEEN = [
    case("nothing seen", facts(), P, remaining_sat=40_000, tx_hash=None, detected_at=None, wake_height=None),
    case(
        "exact in the mempool",
        facts(output("a", 40_000)),
        CG,
        received_sat=40_000,
        remaining_sat=0,
        confirmations=0,
        confirmed_sat=0,
        tx_hash="a",
        detected_at=IN_TIME,
        flags=(),
        wake_height=None,
    ),
    case(
        "exact, one deep: the next depth is news",
        facts(output("a", 40_000, depth=1)),
        CG,
        confirmations=1,
        wake_height=TIP + 1,
    ),
    case("exact, N-1 deep", facts(output("a", 40_000, depth=2)), CG, confirmed_sat=0, confirmations=2),
    case(
        "exact, N deep, not yet booked: no block changes that",
        facts(output("a", 40_000, depth=3)),
        CG,
        confirmed_sat=40_000,
        confirmations=3,
        wake_height=None,
    ),
    case(
        "two outputs in one transaction",
        facts(output("a", 15_000), output("a", 25_000, vout=1)),
        CG,
        received_sat=40_000,
        remaining_sat=0,
        tx_hash="a",
    ),
    case(
        "several transactions",
        facts(output("a", 10_000), output("b", 10_000, depth=1), output("c", 20_000)),
        CG,
        received_sat=40_000,
        confirmations=0,
    ),
    case(
        "partial",
        facts(output("a", 39_999)),
        P,
        received_sat=39_999,
        remaining_sat=1,
        flags=(Flag.UNDERPAID,),
        confirmations=0,
        tx_hash="a",
    ),
    case("partial, deep: wakes to be booked", facts(output("a", 39_999, depth=1)), P, wake_height=TIP + 2),
    case(
        "each depth up to the tier's is news",
        facts(output("a", 40_000, depth=4), promise=terms(tiers=((30_000, 6),))),
        CG,
        wake_height=TIP + 1,
    ),
    case("over", facts(output("a", 40_001)), CG, remaining_sat=0, flags=(Flag.OVERPAID,)),
    case("one satoshi above the tolerance", facts(output("a", 39_899), promise=TOLERANT), P, remaining_sat=101),
    case("just within the tolerance", facts(output("a", 39_900), promise=TOLERANT), CG, remaining_sat=0, flags=()),
    case("nothing is never enough, whatever the tolerance", facts(promise=terms(tolerance_sat=50_000)), P),
    case(
        "11 dust outputs, then the real one",
        facts(
            *(output("dust", 546, vout=n, depth=9) for n in range(11)),
            output("real", 40_000, depth=1, paid_at=IN_TIME + 9),
        ),
        CG,
        received_sat=46_006,
        confirmations=1,
        tx_hash="real",
        flags=(Flag.OVERPAID,),
    ),
]

WINDOW = [
    case("window over, nothing paid", facts(window_closed=True), X),
    case("window over, part paid", facts(output("a", 1), window_closed=True), X, flags=(Flag.UNDERPAID,)),
    case(
        "window does not count once the full amount was seen",
        facts(output("a", 40_000), window_closed=True),
        CG,
        flags=(),
    ),
    case(
        "late, credited by policy",
        facts(output("a", 40_000, paid_at=TOO_LATE), window_closed=True),
        CG,
        flags=(Flag.LATE,),
    ),
    case("the last millisecond is in time", facts(output("a", 40_000, paid_at=CLOSES)), CG, flags=()),
    case(
        "second half late makes it late",
        facts(output("a", 20_000), output("b", 20_000, paid_at=TOO_LATE), window_closed=True),
        CG,
        flags=(Flag.LATE,),
    ),
    case(
        "excess that comes late is told, and changes nothing else",
        facts(output("a", 40_000), output("b", 5, paid_at=TOO_LATE)),
        CG,
        flags=(Flag.OVERPAID, Flag.LATE),
    ),
    case(
        "excess that comes late is held, what came in time stays paid",
        credited(
            output("a", 40_000, depth=9, booked=True),
            output("b", 4_000_000, depth=3, booked=True, paid_at=TOO_LATE),
            promise=HOLD,
        ),
        F,
        flags=(Flag.OVERPAID, Flag.LATE),
    ),
    case(
        "a stranger's dust does not undo a forward",
        credited(
            output("a", 40_000, depth=9, booked=True, forwarded=True),
            output("b", 600, depth=3, booked=True),
            watch_only=False,
        ),
        F,
    ),
    case("late and held, unconfirmed", facts(output("a", 40_000, paid_at=TOO_LATE), promise=HOLD), CG),
    case(
        "late and held, N deep",
        facts(output("a", 40_000, depth=3, paid_at=TOO_LATE), promise=HOLD),
        FL,
        failure_reason="late",
        confirmed_sat=40_000,
    ),
    case(
        "held until the operator credits: due",
        facts(output("a", 40_000, depth=3, paid_at=TOO_LATE, booked=True, decision=Resolution.CREDIT), promise=HOLD),
        CG,
        failure_reason=None,
    ),
    case(
        "held until the operator credits: done",
        credited(output("a", 40_000, depth=3, paid_at=TOO_LATE, booked=True, decision=Resolution.CREDIT), promise=HOLD),
        F,
        failure_reason=None,
    ),
    case(
        "held and refunded: expired, and what is on the chain is told all the same",
        facts(
            output("a", 40_000, depth=3, paid_at=TOO_LATE, booked=True, decision=Resolution.REFUNDED),
            promise=HOLD,
            window_closed=True,
        ),
        X,
        failure_reason=None,
        flags=(Flag.LATE,),
        received_sat=40_000,
        confirmed_sat=40_000,
        remaining_sat=40_000,
        confirmations=0,
        tx_hash="a",
    ),
    case(
        "credited by the operator before it is deep: confirming, and then it counts",
        facts(output("a", 40_000, depth=1, paid_at=TOO_LATE, decision=Resolution.CREDIT), promise=HOLD),
        CG,
        wake_height=TIP + 1,
    ),
    case(
        "a half was ignored, the other half does not complete it",
        facts(
            output("a", 20_000, depth=9, booked=True, decision=Resolution.IGNORE),
            output("b", 20_000, depth=3, paid_at=TOO_LATE),
            window_closed=True,
        ),
        X,
        flags=(Flag.UNDERPAID, Flag.LATE),
        received_sat=40_000,
        remaining_sat=20_000,
    ),
    case(
        "refunded, and then paid anew",
        facts(
            output("a", 40_000, depth=9, paid_at=TOO_LATE, booked=True, decision=Resolution.REFUNDED),
            output("b", 40_000, depth=2, paid_at=TOO_LATE + 1),
            window_closed=True,
        ),
        CG,
        flags=(Flag.LATE,),
        received_sat=80_000,
        remaining_sat=0,
        confirmations=2,
        tx_hash="b",
    ),
    case(
        "late coins on top of a paid one were refunded: it stays paid",
        credited(
            output("a", 40_000, depth=9, booked=True),
            output("b", 40_000, depth=9, paid_at=TOO_LATE, booked=True, decision=Resolution.REFUNDED),
            promise=HOLD,
        ),
        F,
        flags=(Flag.LATE,),
    ),
    case(
        "set aside coins that are forwarded do not make a payment forwarded",
        credited(
            output("a", 40_000, depth=9, booked=True),
            output("b", 40_000, depth=9, paid_at=TOO_LATE, booked=True, forwarded=True, decision=Resolution.IGNORE),
            promise=HOLD,
            watch_only=False,
        ),
        CD,
    ),
]

DEPTHS = [
    case("coinbase is not final at N", facts(output("a", 40_000, depth=99, coinbase=True)), CG, confirmed_sat=0),
    case("coinbase is final at 100", facts(output("a", 40_000, depth=100, coinbase=True)), CG, confirmed_sat=40_000),
    case(
        "shallowest output needed counts",
        facts(output("a", 20_000, depth=6), output("b", 20_000, depth=2)),
        CG,
        confirmations=2,
    ),
    case(
        "shallow output that is not needed does not count",
        facts(output("a", 40_000, depth=6), output("b", 40_000)),
        CG,
        confirmations=6,
        confirmed_sat=40_000,
    ),
    case("watch-only: confirmed and forwarded fall together", credited(output("a", 40_000, depth=3, booked=True)), F),
    case(
        "forwarding mode: credited, the coins still here",
        credited(output("a", 40_000, depth=3, booked=True), watch_only=False),
        CD,
    ),
    case(
        "forwarding mode: on their way",
        credited(output("a", 40_000, depth=3, booked=True, forwarded=True), watch_only=False),
        F,
    ),
    case(
        "forwarding mode: one of two still here",
        credited(
            output("a", 20_000, depth=3, booked=True, forwarded=True),
            output("b", 20_000, depth=3, booked=True),
            watch_only=False,
        ),
        CD,
    ),
    case(
        "credited, and excess comes later: stays paid, wakes for it",
        credited(output("a", 40_000, depth=9, booked=True), output("b", 7, depth=1)),
        F,
        flags=(Flag.OVERPAID,),
        wake_height=TIP + 2,
    ),
]


@pytest.mark.parametrize(("known", "status", "expected"), [*SEEN, *WINDOW, *DEPTHS])
def test_state_of(known: Facts, status: Status, expected: dict[str, Any]) -> None:
    state = state_of(known, TIP)
    assert state.status is status
    assert {name: getattr(state, name) for name in expected} == expected
    assert confirmations_of(known, TIP) == state.confirmations


@pytest.mark.parametrize(
    ("excess", "sat", "credits"),
    [
        pytest.param(ExcessPolicy.CREDIT, 39_899, 0, id="below the tolerance"),
        pytest.param(ExcessPolicy.CREDIT, 39_900, 400, id="within the tolerance"),
        pytest.param(ExcessPolicy.CREDIT, 40_000, 400, id="exact"),
        pytest.param(ExcessPolicy.CREDIT, 40_099, 400, id="excess rounded down"),
        pytest.param(ExcessPolicy.CREDIT, 40_100, 401, id="excess in proportion"),
        pytest.param(ExcessPolicy.CREDIT, 80_000, 800, id="twice"),
        pytest.param(ExcessPolicy.KEEP, 80_000, 400, id="kept"),
        pytest.param(ExcessPolicy.CREDIT, 2_100_000_000_000_000, 21_000_000_000_000, id="all the money there is"),
    ],
)
def test_credits_for(excess: ExcessPolicy, sat: int, credits: int) -> None:
    assert credits_for(terms(tolerance_sat=100, excess=excess), sat) == credits


def test_the_deepest_outputs_cover_and_are_told_in_the_payers_order() -> None:
    early = output("early", 30_000, depth=2, paid_at=IN_TIME)
    deep = output("deep", 30_000, depth=5, paid_at=IN_TIME + 1)
    unneeded = output("mempool", 30_000, paid_at=IN_TIME - 1)
    assert covering(facts(unneeded, deep, early), TIP) == (early, deep)


@pytest.mark.parametrize(
    ("fact", "state"),
    [
        pytest.param(output("a", 1), OutputState.MEMPOOL, id="mempool"),
        pytest.param(output("a", 1, depth=1), OutputState.CONFIRMED, id="confirmed"),
        pytest.param(gone("a", 1), OutputState.DROPPED, id="dropped"),
        pytest.param(gone("a", 1, replaced_by="b"), OutputState.REPLACED, id="replaced"),
        pytest.param(gone("a", 1, was_disconnected=True), OutputState.REORGED, id="reorged"),
        pytest.param(
            gone("a", 1, was_disconnected=True, replaced_by="b"),
            OutputState.REPLACED,
            id="double spent after a reorganisation",
        ),
    ],
)
def test_the_state_of_an_output(fact: OutputFact, state: OutputState) -> None:
    assert fact.state is state
