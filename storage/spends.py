"""The shop takes credits from a user's account, once per reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from payments.events import EventType
from payments.ledger import spend
from storage.credits import balance_of, entries_of, entry_view
from storage.errors import StorageError
from storage.events import append
from storage.ledger import post
from storage.tx import Tx


class InsufficientCredits(StorageError):
    """The account holds fewer credits than were to be spent."""

    def __init__(self, balance: int, amount: int) -> None:
        super().__init__(f"The account holds {balance} credits, {amount} were to be spent.")
        self.balance = balance


class ReferenceReused(StorageError):
    """The reference was used before for another amount: give each spend a reference of its own."""


@dataclass(frozen=True, slots=True)
class Spend:
    """A debit: its ledger entry and the balance after it. `repeated` when it had been done before."""

    entry: dict[str, Any]
    balance: int
    repeated: bool


def spend_credits(tx: Tx, user_id: str, amount: int, reference: str, now: int) -> Spend:
    """Debit `amount` credits. The same reference again answers with the first debit and takes nothing."""
    if amount < 1:
        raise ValueError(f"a spend takes at least 1 credit, not {amount}")
    done = tx.one(
        "SELECT id, credits FROM transfer WHERE user_id = :user_id AND reference = :reference",
        user_id=user_id,
        reference=reference,
    )
    if done is not None:
        if done["credits"] != -amount:
            raise ReferenceReused(f"reference {reference!r} was used for {-done['credits']} credits")
        return Spend(_entry_of(tx, user_id, done["id"]), balance_of(tx, user_id), repeated=True)
    available = balance_of(tx, user_id)
    if available < amount:
        raise InsufficientCredits(available, amount)
    post(tx, spend(user_id, amount), {}, now, user_id=user_id, reference=reference)
    entry = entry_view(tx, user_id)
    append(tx, EventType.CREDITS_SPENT, entry, now, payment_number=None, sequence=int(entry["id"]))
    return Spend(entry, available - amount, repeated=False)


def _entry_of(tx: Tx, user_id: str, transfer_id: int) -> dict[str, Any]:
    return {"user_id": user_id, **entries_of(tx, user_id, transfer_id + 1, 1)[0]}
