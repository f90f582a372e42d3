"""What the signer signs at all: its own destination, and fees up to its own caps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from node_watcher.signing.signer import SweepInput, SweepRefused, estimate_vsize, sweep_value


@dataclass(frozen=True, slots=True)
class Caps:
    """From the signer's own configuration; what a request says of them counts for nothing.

    `max_feerate` in sat/vB of the estimated size, `max_fee_sat` for one sweep, `daily_cap_sat` for the value of all
    inputs that are signed for within 24 hours.
    """

    destination: str
    destination_script: bytes
    max_feerate: Decimal
    max_fee_sat: int
    daily_cap_sat: int

    def refuse_beyond(
        self, inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int
    ) -> None:
        """Raise `SweepRefused` for another destination, a senseless sweep, or a fee above a cap."""
        if destination_script != self.destination_script:
            raise SweepRefused(
                f"the sweep would go to script {destination_script.hex()[:80]}, and the signer signs for its own "
                f"destination {self.destination} only: wallet.forward_to and the signer's destination must be the same"
            )
        sweep_value(inputs, destination_script, fee_sat, locktime)
        size = estimate_vsize(len(inputs), destination_script)
        if fee_sat > (most := fee_up_to(self.max_feerate, size)):
            raise SweepRefused(
                f"a fee of {fee_sat} sat for {size} vB is above the signer's max_feerate of {self.max_feerate} sat/vB, "
                f"which allows {most} sat"
            )
        if fee_sat > self.max_fee_sat:
            raise SweepRefused(f"a fee of {fee_sat} sat is above the signer's max_fee_sat of {self.max_fee_sat}")


def fee_up_to(feerate: Decimal, vsize: int) -> int:
    """The fee at a feerate, rounded up as a sweep's own fee is."""
    return int((feerate * vsize).to_integral_value(ROUND_CEILING))
