"""A payment as the till remembers it: identity, promise, facts, and the state last derived."""

from __future__ import annotations

from dataclasses import dataclass

from payments.facts import Facts
from payments.status import PaymentState


@dataclass(frozen=True, slots=True)
class PaymentRecord:
    """One payment with everything that its JSON shows.

    `number` is the row's own small integer, `id` the 128 random bits that the world sees,
    `metadata` the JSON text the shop gave, `sequence` the number of its last event.
    `confirmed_at` is None whenever its credits are not on the account.
    """

    number: int
    id: str
    user_id: str
    package_id: str
    metadata: str
    address: str
    address_index: int
    facts: Facts
    state: PaymentState
    sequence: int
    confirmed_at: int | None
    completed_at: int | None
    forwarding_txid: str | None
    tip_height: int
