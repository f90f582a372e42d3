"""An output of ours that waits to be swept."""

from __future__ import annotations

from dataclasses import dataclass

from payments.model import OutPoint


@dataclass(frozen=True, slots=True)
class Coin:
    """A booked output whose key is derived from `address_index`. `since` (ms) is when the ledger booked it."""

    outpoint: OutPoint
    value_sat: int
    address_index: int
    script_pubkey: bytes
    payment_id: str
    payment_number: int
    since: int
