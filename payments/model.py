"""The nouns that every room of the house shares.

Amounts are integer satoshi, times integer milliseconds since the epoch (UTC), txids and block
hashes hex strings in display order (the order that `bitcoin-cli` prints), scripts raw bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class OutPoint(NamedTuple):
    """One output of one transaction: what BIP 141 calls an outpoint."""

    txid: str
    vout: int


class BlockId(NamedTuple):
    """A block by height *and* hash: two blocks share a height exactly when it matters."""

    height: int
    hash: str


class Status(StrEnum):
    """Where a payment stands, for people and for shops."""

    PENDING = "pending"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    FORWARDED = "forwarded"
    EXPIRED = "expired"
    FAILED = "failed"


class Flag(StrEnum):
    """What a person should know about a payment besides its status."""

    UNDERPAID = "underpaid"
    OVERPAID = "overpaid"
    LATE = "late"
    REPLACED = "replaced"
    REORGED = "reorged"


class OutputState(StrEnum):
    """Where the transaction that pays us stands."""

    MEMPOOL = "mempool"
    CONFIRMED = "confirmed"
    REPLACED = "replaced"
    DROPPED = "dropped"
    REORGED = "reorged"


class LatePolicy(StrEnum):
    """What a payment that is complete only after its window gets."""

    CREDIT = "credit"
    HOLD = "hold"


class ExcessPolicy(StrEnum):
    """What satoshi above the asked amount give."""

    CREDIT = "credit"
    KEEP = "keep"


class Package(NamedTuple):
    """One thing the shop sells."""

    id: str
    name: str
    credits: int
    price_sat: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What was promised when the payment was created. It never changes afterwards.

    `tiers` are `(above_sat, confirmations)`, ascending: what is received above a sum must be that deep
    before it gives credits. Only those above the price: the price's own is `confirmations_required`.
    """

    amount_sat: int
    credits: int
    confirmations_required: int
    tolerance_sat: int
    late: LatePolicy
    excess: ExcessPolicy
    created_at: int
    expires_at: int
    tiers: tuple[tuple[int, int], ...] = ()

    @property
    def needed_sat(self) -> int:
        """Least number of satoshi that counts as paid in full."""
        return max(1, self.amount_sat - self.tolerance_sat)


class BlockHeader(NamedTuple):
    """What we keep of a block. `time` is the header's own claim, in milliseconds."""

    height: int
    hash: str
    prev_hash: str
    time: int

    @property
    def id(self) -> BlockId:
        return BlockId(self.height, self.hash)


class PaidOutput(NamedTuple):
    """An output of somebody's transaction that pays one of our scripts."""

    vout: int
    value_sat: int
    script_pubkey: bytes


class IncomingTx(NamedTuple):
    """A transaction that pays us, reduced to what the till needs of it."""

    txid: str
    prevouts: tuple[OutPoint, ...]
    outputs: tuple[PaidOutput, ...]
    coinbase: bool
