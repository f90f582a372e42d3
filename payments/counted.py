"""Final outputs of a payment as far as its credits depend on them: sums, which outputs join and leave."""

from __future__ import annotations

from payments.facts import OutputFact
from payments.model import Terms
from payments.status import credits_for


class Counted:
    """Add and remove outputs one by one; asking for the credits costs the same for one as for thousands.

    A depth vouches for no more than the tier above it begins with: who pays a small price with a large
    sum waits for what is on top as long as for a large price.
    """

    def __init__(self, terms: Terms, tip_height: int) -> None:
        self._terms, self._tip_height = terms, tip_height
        self._total = 0
        self._deep = [0] * len(terms.tiers)
        """For each tier, the satoshi that are deep enough for it."""

    def add(self, output: OutputFact) -> None:
        self._change(output, output.value_sat)

    def remove(self, output: OutputFact) -> None:
        self._change(output, -output.value_sat)

    def _change(self, output: OutputFact, value_sat: int) -> None:
        self._total += value_sat
        for number, (_, confirmations) in enumerate(self._terms.tiers):
            if output.depth(self._tip_height) >= output.needs_depth(confirmations):
                self._deep[number] += value_sat

    def credits(self, posted: int) -> int:
        """Credits that the payment should have when it has `posted`. What was given is not taken back for
        want of depth, only when the coins themselves are gone."""
        vouched = 0
        bounds = [above_sat for above_sat, _ in self._terms.tiers]
        for sat, bound in zip((self._total, *self._deep), (*bounds, None), strict=True):
            vouched = max(vouched, sat if bound is None else min(sat, bound))
        return max(credits_for(self._terms, vouched), min(posted, credits_for(self._terms, self._total)))
