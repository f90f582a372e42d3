"""What the operator may decide about which coins, and what he is told when he may not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments.facts import Facts, OutputFact, Resolution
from payments.ledger import transfers_due
from payments.model import ExcessPolicy, LatePolicy, OutPoint
from payments.resolution import NotPossible, coins_to_decide, open_coins
from payments.status import state_of
from tests.payments.given import TIP, TOO_LATE, credited, facts, gone, output, terms
from tests.payments.test_by_the_book import any_facts
from tests.payments.test_ledger import apply

CREDIT, IGNORE, REFUNDED = Resolution.CREDIT, Resolution.IGNORE, Resolution.REFUNDED
HOLD = terms(late=LatePolicy.HOLD)
KEEP = terms(late=LatePolicy.HOLD, excess=ExcessPolicy.KEEP)


def late(name: str, value_sat: int, **changed: object) -> OutputFact:
    return output(name, value_sat, **{"depth": 3, "paid_at": TOO_LATE, **changed})  # type: ignore[arg-type]


def closed(*outputs: OutputFact, **changed: object) -> Facts:
    return facts(*outputs, **{"promise": HOLD, "window_closed": True, **changed})  # type: ignore[arg-type]


def decided(known: Facts, action: Resolution) -> str:
    return "".join(outpoint.txid for outpoint in coins_to_decide(known, state_of(known, TIP), action))


def refused(known: Facts, action: Resolution, named: list[OutPoint] | None = None) -> str:
    with pytest.raises(NotPossible) as error:
        coins_to_decide(known, state_of(known, TIP), action, named)
    return str(error.value)


@pytest.mark.parametrize(
    ("known", "action", "coins"),
    [
        pytest.param(closed(late("a", 40_000)), CREDIT, "a", id="held"),
        pytest.param(closed(late("a", 40_000, depth=None)), CREDIT, "a", id="held, in the mempool"),
        pytest.param(closed(late("a", 40_000)), REFUNDED, "a", id="held, sent back"),
        pytest.param(closed(output("a", 20_000, depth=9), late("b", 20_000)), CREDIT, "b", id="a late half"),
        pytest.param(closed(output("a", 20_000, depth=9), late("b", 20_000)), REFUNDED, "ab", id="both halves"),
        pytest.param(
            closed(output("a", 20_000), late("b", 20_000, depth=None)), IGNORE, "ab", id="both halves, not mined"
        ),
        pytest.param(
            facts(output("a", 20_000), late("b", 20_000, depth=None), promise=HOLD),
            IGNORE,
            "b",
            id="while the window counts as open, what came in time is not set aside",
        ),
        pytest.param(closed(output("a", 20_000, depth=9)), IGNORE, "a", id="expired and underpaid"),
        pytest.param(closed(output("a", 40_000), late("b", 1_000)), IGNORE, "b", id="only what is on top"),
        pytest.param(
            credited(output("a", 40_000, depth=9, booked=True), late("b", 1_000), promise=HOLD, window_closed=True),
            CREDIT,
            "b",
            id="held on top of a paid one",
        ),
        pytest.param(closed(late("a", 40_000, decision=REFUNDED), late("b", 40_000)), CREDIT, "b", id="paid anew"),
        pytest.param(
            closed(gone("a", 20_000), late("b", 20_000, decision=CREDIT)),
            REFUNDED,
            "b",
            id="allowed, and what it was to complete is gone",
        ),
        pytest.param(
            facts(gone("a", 40_000), promise=HOLD, window_closed=True, ever_credited=True),
            IGNORE,
            "",
            id="a reversal is acknowledged",
        ),
    ],
)
def test_what_is_decided(known: Facts, action: Resolution, coins: str) -> None:
    assert decided(known, action) == coins


@pytest.mark.parametrize(
    ("known", "action", "words"),
    [
        pytest.param(facts(), CREDIT, "no coins of this payment are here", id="nothing came"),
        pytest.param(closed(gone("a", 40_000)), REFUNDED, "no coins of this payment are here", id="gone again"),
        pytest.param(facts(output("a", 20_000)), IGNORE, "the window is open", id="still open"),
        pytest.param(facts(output("a", 40_000)), REFUNDED, "never takes credits away", id="about to be credited"),
        pytest.param(
            credited(output("a", 40_000, depth=9, booked=True), window_closed=True),
            REFUNDED,
            "never takes credits away",
            id="credited",
        ),
        pytest.param(facts(output("a", 40_000)), CREDIT, "credited by itself", id="needs no word"),
        pytest.param(closed(output("a", 20_000)), CREDIT, "20000 of 40000 sat are missing", id="underpaid in time"),
        pytest.param(closed(late("a", 20_000)), CREDIT, "less than the 40000 sat asked", id="late and underpaid"),
        pytest.param(
            credited(output("a", 40_000, depth=9, booked=True), late("b", 1_000), promise=KEEP, window_closed=True),
            CREDIT,
            'payments.excess = "keep"',
            id="on top, where that gives nothing",
        ),
        pytest.param(
            credited(output("a", 40_000, depth=9, booked=True), late("b", 99), promise=HOLD, window_closed=True),
            CREDIT,
            "less than one credit",
            id="dust on top",
        ),
        pytest.param(closed(late("a", 40_000, decision=REFUNDED)), CREDIT, "for good", id="refunded is for good"),
        pytest.param(closed(late("a", 40_000, decision=IGNORE)), REFUNDED, "for good", id="ignored is for good"),
        pytest.param(
            closed(late("a", 40_000, decision=CREDIT)), REFUNDED, "never takes credits away", id="allowed: it counts"
        ),
        pytest.param(
            facts(gone("a", 40_000), window_closed=True, ever_credited=True),
            REFUNDED,
            "--action ignore takes it off",
            id="reversed: nothing to send back",
        ),
    ],
)
def test_what_is_refused(known: Facts, action: Resolution, words: str) -> None:
    said = refused(known, action)
    assert words in said
    assert "\n" not in said


def test_coins_by_name() -> None:
    known = closed(late("a", 40_000), late("b", 40_000), late("c", 1, decision=IGNORE), gone("d", 5))
    state = state_of(known, TIP)
    assert coins_to_decide(known, state, REFUNDED, [OutPoint("b", 0), OutPoint("b", 0)]) == (OutPoint("b", 0),)
    for name, words in {"c": "was decided: ignore", "d": "is dropped", "e": "is no coin of this payment"}.items():
        assert words in refused(known, CREDIT, [OutPoint("a", 0), OutPoint(name, 0)])
    assert "less than the 40000" in refused(closed(late("a", 40_000), late("b", 5)), CREDIT, [OutPoint("b", 0)])


@settings(max_examples=500, deadline=None)
@given(any_facts(), st.sampled_from(Resolution), st.booleans())
def test_no_decision_takes_credits_away(known: Facts, action: Resolution, window_closed: bool) -> None:
    """Level ledger, any decision that is open: what follows adds credits after `credit`, and moves none else."""
    known = apply(known, transfers_due(known, "u1", TIP))
    known = replace(known, window_closed=window_closed)
    chosen = {o.outpoint for o in open_coins(known, action)}
    after = replace(
        known, outputs=tuple(replace(o, decision=action) if o.outpoint in chosen else o for o in known.outputs)
    )
    credits = sum(t.credits for t in transfers_due(after, "u1", TIP))
    assert credits >= 0 if action is CREDIT else credits == 0
    assert not chosen & {o.outpoint for o in open_coins(after, CREDIT)}, "decided once"
    if action is not CREDIT:
        assert not chosen & {o.outpoint for o in open_coins(after, action)}, "set aside for good"
