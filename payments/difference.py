"""What an audit can find: a place where the chain, the facts and the ledger do not say the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Check(StrEnum):
    """What was compared. Names for programs; `docs/operations.md` says what to do about each."""

    HASH_CHAIN = "hash-chain"
    BALANCE = "balance"
    BOOKED_ONCE = "booked-once"
    DEPOSIT = "deposit"
    TOTALS = "totals"
    CREDITS = "credits"
    CREDITS_DUE = "credits-due"
    STATE = "state"
    ADDRESS = "address"
    CURSOR = "cursor"
    BLOCK = "block"
    MISSED = "missed"
    OUTPUT = "output"
    UNFOUNDED = "unfounded"
    SPENT = "spent"
    SWEEP = "sweep"

    @property
    def breaks_ledger(self) -> bool:
        """Whether the ledger contradicts itself: then nothing more is built on it, and credits wait."""
        return self in (Check.HASH_CHAIN, Check.BALANCE, Check.BOOKED_ONCE)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `about` names the thing (an outpoint, a payment id, `transfer 7`), `detail` is the sentence
    a person can act on, `sat` by how many satoshi the two sides differ (0 where it is about something else)."""

    check: Check
    about: str
    detail: str
    sat: int = 0

    @property
    def key(self) -> tuple[Check, str]:
        """The same in two audits is the same difference."""
        return self.check, self.about


def total_sat(differences: Iterable[Difference]) -> int:
    """By how many satoshi chain and ledger differ: each thing counted once, by its largest difference.

    The totals only say again what the things below them say; they count where nothing else does.
    """
    things: dict[str, int] = {}
    totals = 0
    for difference in differences:
        if difference.check is Check.TOTALS:
            totals = max(totals, abs(difference.sat))
        else:
            things[difference.about] = max(things.get(difference.about, 0), abs(difference.sat))
    return sum(things.values()) or totals
