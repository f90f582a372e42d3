"""What an audit can find: a place where the chain, the facts and the ledger do not say the same."""

from __future__ import annotations

from collections import Counter
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
    PROMISE = "promise"
    DECISION = "decision"
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
    """By how many satoshi chain and ledger differ: each coin counted once, by its largest difference.

    Accounts and payments only say again what the coins below them say; they count where no coin does.
    """
    coins: dict[str, int] = {}
    sums: Counter[Check] = Counter()
    for difference in differences:
        if difference.check in _ABOUT_COINS:
            coins[difference.about] = max(coins.get(difference.about, 0), abs(difference.sat))
        else:
            sums[difference.check] += abs(difference.sat)
    return sum(coins.values()) or max(sums.values(), default=0)


_ABOUT_COINS = (Check.DEPOSIT, Check.MISSED, Check.OUTPUT, Check.UNFOUNDED, Check.SPENT, Check.SWEEP)
