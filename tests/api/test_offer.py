"""What the shop promises for a package."""

from __future__ import annotations

import pytest

from api.shop import Offer
from payments.model import ExcessPolicy, LatePolicy, Package

TIERS = ((10_000, 4), (100_000, 6))


@pytest.mark.parametrize(
    ("price_sat", "confirmations"),
    [(1_000, 3), (10_000, 3), (10_001, 4), (100_000, 4), (100_001, 6)],
)
def test_dearer_packages_wait_longer(price_sat: int, confirmations: int) -> None:
    offer = Offer(confirmations_required=3, tiers=TIERS)
    terms = offer.terms(Package("p", "P", 7, price_sat), now=0)
    assert (terms.amount_sat, terms.credits) == (price_sat, 7)
    assert terms.confirmations_required == confirmations
    assert terms.tiers == tuple(tier for tier in TIERS if tier[1] > confirmations)


def test_the_promise_is_kept_with_the_payment() -> None:
    offer = Offer(window_ms=90_000, tolerance_sat=5, late=LatePolicy.HOLD, excess=ExcessPolicy.KEEP)
    terms = offer.terms(Package("p", "P", 1, 1_000), now=1_700_000_000_000)
    assert (terms.created_at, terms.expires_at) == (1_700_000_000_000, 1_700_000_090_000)
    assert (terms.tolerance_sat, terms.late, terms.excess) == (5, LatePolicy.HOLD, ExcessPolicy.KEEP)
