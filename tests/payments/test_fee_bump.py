"""When a sweep that no block takes offers more, and how much."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.fee_bump import Bump, NoBump, Waiting, bump_of
from payments.forward import ForwardRules, fee_for

RULES = ForwardRules(max_feerate=Decimal(50), target_blocks=6, min_sat=1_000, max_fee_share=Decimal(5))
ONE = Decimal(1)
STUCK = Waiting(value_sat=100_000, fee_sat=220, vsize=110, blocks=6, late=False)


def bump(sweep: Waiting = STUCK, feerate: str | None = "2", *, asked: bool = False) -> Bump | NoBump:
    return bump_of(sweep, None if feerate is None else Decimal(feerate), ONE, RULES, asked=asked)


def test_it_waits_for_the_blocks_it_aimed_at() -> None:
    young = replace(STUCK, blocks=5)
    assert bump(young) == NoBump()
    assert bump(young, asked=True) == bump() == Bump(330)


@pytest.mark.parametrize(
    "feerate, fee",
    [
        pytest.param("1", 330, id="at least the node's increment"),
        pytest.param("10", 1_100, id="what is asked now"),
        pytest.param("45.4", 4_994, id="nearly the share"),
        pytest.param("49", 5_000, id="no more than the share"),
    ],
)
def test_what_it_offers(feerate: str, fee: int) -> None:
    assert bump(feerate=feerate) == Bump(fee)


def test_one_that_pays_what_is_asked_offers_a_quarter_more() -> None:
    assert bump(replace(STUCK, fee_sat=2_200), "20") == Bump(2_751)


def test_the_cap_is_never_exceeded() -> None:
    late = replace(STUCK, late=True)
    assert bump(late, "90") == Bump(5_500)
    assert bump(replace(late, fee_sat=5_390), "90") == Bump(5_500)
    refused = bump(replace(late, fee_sat=5_391), "90")
    assert isinstance(refused, NoBump)
    assert "forwarding.max_feerate = 50" in (refused.reason or "")
    assert bump(replace(late, fee_sat=5_391), "90", asked=True) == refused, "nor when the operator asks"


def test_the_next_one_may_measure_more_or_less() -> None:
    """Other signatures have another length: the increment is paid for the largest size, and the cap kept by the
    smallest."""
    batch = Waiting(value_sat=5_000_000, fee_sat=3_430, vsize=3_430, blocks=6, late=False, next_vsize=3_442)
    assert bump(batch, "1") == Bump(3_430 + 3_442)
    assert bump(batch, "50") == Bump(50 * (3_442 - 18))
    assert bump(replace(batch, next_vsize=0), "50") == Bump(50 * 3_430)


def test_the_share_counts_until_the_deadline() -> None:
    full = replace(STUCK, fee_sat=4_891)
    refused = bump(full)
    assert isinstance(refused, NoBump)
    assert "forwarding.max_fee_share" in (refused.reason or "")
    assert bump(replace(full, late=True)) == Bump(5_500)
    assert bump(full, asked=True) == Bump(5_500)


def test_without_an_estimate_it_waits() -> None:
    assert bump(feerate=None) == NoBump("the node has no fee estimate yet")


def test_nothing_but_dust_would_arrive() -> None:
    refused = bump(Waiting(value_sat=1_000, fee_sat=400, vsize=110, blocks=9, late=True), "10")
    assert isinstance(refused, NoBump)
    assert "dust" in (refused.reason or "")


@given(
    st.integers(1_000, 10**7),
    st.integers(1, 6_000),
    st.integers(100, 20_000),
    st.decimals("0.1", 100, places=2),
    st.booleans(),
    st.booleans(),
)
def test_a_bump_is_relayed_and_within_what_the_owner_allows(
    value: int, fee: int, vsize: int, feerate: Decimal, late: bool, asked: bool
) -> None:
    sweep = Waiting(value, fee, vsize, 6, late)
    verdict = bump_of(sweep, feerate, ONE, RULES, asked=asked)
    if isinstance(verdict, Bump):
        assert verdict.fee_sat >= fee + vsize, "BIP125, rule 4"
        assert verdict.fee_sat <= fee_for(vsize, RULES.max_feerate)
        assert asked or late or verdict.fee_sat * 100 <= RULES.max_fee_share * value
        assert value - verdict.fee_sat >= 546
