"""What is known about one payment: the input of `payments.status.state_of`.

A fact is something that was observed and does not depend on opinion: an output was seen, it is in
a block of the active chain, the price window closed, the ledger holds an entry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from payments.model import OutPoint, OutputState, Terms
from payments.moments import first_moments

COINBASE_MATURITY = 100
"""Blocks until a coinbase output can be spent (consensus rule, `COINBASE_MATURITY` of Bitcoin Core)."""


class Resolution(StrEnum):
    """What the operator decided about coins that give no credits by themselves.

    `CREDIT`: they count although they came late. `IGNORE` and `REFUNDED` set them aside: they give no credits, now
    or later. A coin that was set aside stays so.
    """

    CREDIT = "credit"
    IGNORE = "ignore"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class OutputFact:
    """One output that pays this payment, and where its transaction stands now.

    `first_seen` is when nodetill saw it; `paid_at` is the earliest proof of when the payer paid
    (the node's mempool entry time, or the time in the block header when that came first).
    `height` is that of the active block it is in, else None. `booked` means that the ledger counts
    it: it was final once and has not been taken back. `decision` is the operator's word about this very coin,
    `refund_txid` the transaction that he says has sent its value back.
    """

    outpoint: OutPoint
    value_sat: int
    first_seen: int
    paid_at: int
    in_mempool: bool
    height: int | None
    replaced_by: str | None
    was_disconnected: bool
    coinbase: bool
    booked: bool
    forwarded: bool
    decision: Resolution | None = None
    refund_txid: str | None = None

    @property
    def set_aside(self) -> bool:
        """Ignored or refunded: it is on the chain, and counts for nothing."""
        return self.decision in (Resolution.IGNORE, Resolution.REFUNDED)

    @property
    def state(self) -> OutputState:
        if self.height is not None:
            return OutputState.CONFIRMED
        if self.in_mempool:
            return OutputState.MEMPOOL
        if self.replaced_by is not None:
            return OutputState.REPLACED
        return OutputState.REORGED if self.was_disconnected else OutputState.DROPPED

    @property
    def live(self) -> bool:
        """Whether the coins are still on their way to us, or here."""
        return self.height is not None or self.in_mempool

    def depth(self, tip_height: int) -> int:
        """Confirmations at this tip: 0 in the mempool, 1 in the tip itself."""
        return 0 if self.height is None else max(0, tip_height - self.height + 1)

    def needs_depth(self, confirmations_required: int) -> int:
        return max(confirmations_required, COINBASE_MATURITY) if self.coinbase else confirmations_required


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything `state_of` may look at. No clock: that the window closed is a fact like any other.

    `credits_posted` is the net of this payment's ledger entries, `ever_credited` whether there was
    one above zero, taken back or not.
    """

    terms: Terms
    outputs: tuple[OutputFact, ...] = ()
    window_closed: bool = False
    credits_posted: int = 0
    ever_credited: bool = False
    watch_only: bool = True

    def in_payers_order(self) -> tuple[OutputFact, ...]:
        """Live outputs in the order in which they were paid.

        A replacement (BIP 125) keeps the moment at which as much was already on its way in what it
        replaced: the payer was in time and only raised the fee.
        """
        live = [o for o in self.outputs if o.live]
        if len(live) < len(self.outputs):
            moments = first_moments(self.outputs)
            live = [replace(o, paid_at=min(o.paid_at, moments[o.outpoint.txid])) for o in live]
        return tuple(sorted(live, key=lambda o: (o.paid_at, o.first_seen, o.outpoint)))
