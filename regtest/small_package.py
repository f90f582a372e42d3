"""One small package (40,000 sat, 400 credits), as most scenarios buy it: seen, and credited once."""

from __future__ import annotations

from regtest.service import RunningService

PRICE_SAT, CREDITS = 40_000, 400


def seen(till: RunningService, user_id: str) -> str:
    """The id of a payment whose full amount is in the mempool."""
    payment = till.create("small", user_id)
    till.node.pay(payment["address"], PRICE_SAT)
    till.wait_payment(payment["payment_id"], "confirming")
    return str(payment["payment_id"])


def credited_once(till: RunningService, payment_id: str, user_id: str) -> None:
    """Its coins are the owner's, and this user has its credits and no other entry."""
    assert till.wait_payment(payment_id, "forwarded")["credited"] == CREDITS
    assert till.entries(user_id) == [("payment", CREDITS)]
    assert till.events_of(payment_id).count("credits.added") == 1


def credited_without_a_stir(till: RunningService, payment_id: str, user_id: str) -> None:
    """The same, and the shop never heard that the payment was in doubt."""
    credited_once(till, payment_id, user_id)
    assert {"payment.dropped", "payment.reorged"}.isdisjoint(till.events_of(payment_id))
