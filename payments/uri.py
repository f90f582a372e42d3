"""The payment URI that wallets open, and the same text shaped for a small QR symbol (BIP321)."""

from __future__ import annotations

from urllib.parse import quote

from payments.amount import btc_text

_SEGWIT_PREFIXES = ("bc1", "tb1", "bcrt1")


def payment_uri(address: str, amount_sat: int, label: str | None = None) -> str:
    """`bitcoin:<address>?amount=<btc>`, the amount in decimal bitcoin with eight places.

    A label is shown and often stored by the payer's wallet: put no personal data into it.
    """
    if amount_sat <= 0:
        raise ValueError(f"a payment URI asks for a positive amount, not for {amount_sat} satoshi")
    uri = f"bitcoin:{address}?amount={btc_text(amount_sat)}"
    return uri if not label else f"{uri}&label={quote(label, safe='')}"


def qr_text(uri: str) -> str:
    """The URI as a QR symbol should carry it: a bech32 address in upper case.

    QR has a denser mode for upper case letters and digits, and bech32 may be written in either
    case (BIP173). Base58 addresses mean something else in upper case and stay as they are.
    """
    scheme, colon, rest = uri.partition(":")
    address, mark, query = rest.partition("?")
    if address.lower().startswith(_SEGWIT_PREFIXES):
        address = address.upper()
    return f"{scheme}{colon}{address}{mark}{query}"
