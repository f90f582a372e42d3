"""The JSON of a payment: the contract's fields, all of them, in the contract's order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from payments.record import PaymentRecord
from payments.status import state_of
from payments.view import GONE_SHOWN, payers_view, payment_view, rfc3339
from tests.payments.given import CLOSES, IN_TIME, OPENED, TIP, facts, gone, output

FIELDS = [
    *("payment_id", "user_id", "package_id", "credits", "metadata", "status", "flags"),
    *("amount_sat", "amount_btc", "received_sat", "confirmed_sat", "remaining_sat"),
    *("address", "uri", "checkout_url", "confirmations", "confirmations_required", "tx_hash", "transactions"),
    *("forwarding_tx_hash", "credited", "failure_reason"),
    *("created_at", "expires_at", "detected_at", "confirmed_at", "completed_at"),
]


def record(**changed: Any) -> PaymentRecord:
    known = changed.pop("known", facts(output("a", 40_000, depth=1)))
    fields: dict[str, Any] = {
        "number": 7,
        "id": "0123456789abcdef0123456789abcdef",
        "user_id": "u1",
        "package_id": "small",
        "metadata": '{"order": 9}',
        "address": "bcrt1qexample",
        "address_index": 4,
        "facts": known,
        "state": state_of(known, TIP),
        "sequence": 3,
        "confirmed_at": None,
        "completed_at": None,
        "forwarding_txid": None,
        "tip_height": TIP,
    }
    return PaymentRecord(**fields | changed)


def test_a_confirming_payment_field_by_field() -> None:
    shown = payment_view(record(), "https://shop.example")
    assert list(shown) == FIELDS
    assert shown == {
        "payment_id": "0123456789abcdef0123456789abcdef",
        "user_id": "u1",
        "package_id": "small",
        "credits": 400,
        "metadata": {"order": 9},
        "status": "confirming",
        "flags": [],
        "amount_sat": 40_000,
        "amount_btc": "0.00040000",
        "received_sat": 40_000,
        "confirmed_sat": 0,
        "remaining_sat": 0,
        "address": "bcrt1qexample",
        "uri": "bitcoin:bcrt1qexample?amount=0.00040000",
        "checkout_url": "https://shop.example/pay/0123456789abcdef0123456789abcdef",
        "confirmations": 1,
        "confirmations_required": 3,
        "tx_hash": "a",
        "transactions": [
            {
                "txid": "a",
                "vout": 0,
                "amount_sat": 40_000,
                "confirmations": 1,
                "block_height": TIP,
                "state": "confirmed",
            }
        ],
        "forwarding_tx_hash": None,
        "credited": 0,
        "failure_reason": None,
        "created_at": rfc3339(OPENED),
        "expires_at": rfc3339(CLOSES),
        "detected_at": rfc3339(IN_TIME),
        "confirmed_at": None,
        "completed_at": None,
    }
    assert json.loads(json.dumps(shown)) == shown


def test_confirmations_are_counted_from_the_tip_of_now() -> None:
    """Between two thresholds nothing is derived again; the depth must be right all the same."""
    shown = payment_view(record(tip_height=TIP + 40), "")
    assert shown["confirmations"] == 41
    assert shown["transactions"][0]["confirmations"] == 41


def test_a_finished_payment() -> None:
    known = facts(
        output("a", 40_000, depth=3, booked=True, forwarded=True),
        credits_posted=400,
        ever_credited=True,
        watch_only=False,
    )
    shown = payment_view(record(known=known, confirmed_at=5, completed_at=6, forwarding_txid="f"), "")
    assert (shown["status"], shown["credited"], shown["forwarding_tx_hash"]) == ("forwarded", 400, "f")
    assert (shown["confirmed_at"], shown["completed_at"]) == (rfc3339(5), rfc3339(6))


def test_a_fresh_payment_has_empty_places_and_no_missing_ones() -> None:
    shown = payment_view(record(known=facts()), "")
    assert list(shown) == FIELDS
    assert (shown["tx_hash"], shown["detected_at"], shown["transactions"]) == (None, None, [])
    assert (shown["received_sat"], shown["remaining_sat"], shown["confirmations"]) == (0, 40_000, 0)


def test_a_replaced_transaction_says_by_what() -> None:
    shown = payment_view(record(known=facts(gone("a", 40_000, replaced_by="x"))), "")["transactions"][0]
    assert (shown["state"], shown["replaced_by"], shown["block_height"]) == ("replaced", "x", None)


def test_the_payer_sees_nothing_of_the_shop() -> None:
    full, payers = payment_view(record(), "u"), payers_view(record(), "u")
    assert list(payers) == [name for name in FIELDS if name not in ("user_id", "metadata")]
    assert all(payers[name] == full[name] for name in payers)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_795_391_999_123, "2026-11-22T23:59:59.123Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
    ],
)
def test_rfc3339(ms: int, text: str) -> None:
    assert rfc3339(ms) == text


def test_of_a_thousand_replaced_ones_the_newest_are_shown() -> None:
    """Each event tells the whole payment, and a payer may raise his fee as often as he likes."""
    chain = [gone(f"{n}", 40_000, replaced_by=f"{n + 1}") for n in range(1_000)]
    known = facts(*chain, output("1000", 40_000, depth=1), output("other", 7))
    shown = [one["txid"] for one in payment_view(record(known=known), "")["transactions"]]
    assert shown == [*(f"{n}" for n in range(1_000 - GONE_SHOWN, 1_001)), "other"]
