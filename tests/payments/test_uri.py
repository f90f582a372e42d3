"""The payment URI, and how the QR symbol carries it."""

from __future__ import annotations

import pytest

from payments.uri import payment_uri, qr_text

BECH32 = "bcrt1qcr8te4kr609gcawutmrza0j4xv80jy8zeqchgx"
BASE58 = "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2"


def test_the_uri_asks_for_the_exact_amount() -> None:
    assert payment_uri(BECH32, 40_000) == f"bitcoin:{BECH32}?amount=0.00040000"


def test_a_label_is_percent_encoded() -> None:
    uri = payment_uri(BECH32, 1, label="400 credits & more?")
    assert uri == f"bitcoin:{BECH32}?amount=0.00000001&label=400%20credits%20%26%20more%3F"


@pytest.mark.parametrize("amount", [0, -1])
def test_no_uri_without_an_amount(amount: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        payment_uri(BECH32, amount)


def test_a_bech32_address_goes_into_the_symbol_in_upper_case() -> None:
    assert qr_text(payment_uri(BECH32, 40_000)) == f"bitcoin:{BECH32.upper()}?amount=0.00040000"


def test_a_base58_address_keeps_its_case() -> None:
    uri = payment_uri(BASE58, 40_000)
    assert qr_text(uri) == uri


def test_a_label_keeps_its_case() -> None:
    assert qr_text(payment_uri(BECH32, 1, label="Small")).endswith("&label=Small")
