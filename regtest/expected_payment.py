"""The contract's payment, field by field, as a black box must show it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Moment:
    """Equal to every RFC 3339 time in UTC with a `Z`."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and _MOMENT.fullmatch(other) is not None

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "a time in RFC 3339 with Z"


A_MOMENT = Moment()


def moment(text: str) -> datetime:
    """A time of the API."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def new_payment(
    shown: Mapping[str, Any],
    *,
    url: str,
    package: Mapping[str, Any],
    user_id: str,
    metadata: Mapping[str, Any] | None = None,
    confirmations_required: int = 3,
) -> dict[str, Any]:
    """Everything that a payment nobody has paid must say. Only its id, address and times are taken from `shown`."""
    price, address = package["price_sat"], shown.get("address")
    amount_btc = f"{Decimal(price) / 100_000_000:.8f}"
    return {
        "payment_id": shown.get("payment_id"),
        "user_id": user_id,
        "package_id": package["id"],
        "credits": package["credits"],
        "metadata": dict(metadata or {}),
        "status": "pending",
        "flags": [],
        "amount_sat": price,
        "amount_btc": amount_btc,
        "received_sat": 0,
        "confirmed_sat": 0,
        "remaining_sat": price,
        "address": address,
        "uri": f"bitcoin:{address}?amount={amount_btc}",
        "checkout_url": f"{url}/pay/{shown.get('payment_id')}",
        "confirmations": 0,
        "confirmations_required": confirmations_required,
        "tx_hash": None,
        "transactions": [],
        "forwarding_tx_hash": None,
        "credited": 0,
        "failure_reason": None,
        "created_at": A_MOMENT,
        "expires_at": A_MOMENT,
        "detected_at": None,
        "confirmed_at": None,
        "completed_at": None,
    }


def transaction(
    txid: str, vout: int, amount_sat: int, confirmations: int = 0, block_height: int | None = None, state: str = ""
) -> dict[str, Any]:
    """One entry of `transactions`."""
    return {
        "txid": txid,
        "vout": vout,
        "amount_sat": amount_sat,
        "confirmations": confirmations,
        "block_height": block_height,
        "state": state or ("confirmed" if confirmations else "mempool"),
    }


def wrong_fields(shown: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """A sentence for each field that is missing or other than expected. Additional fields are welcome."""
    wrong = []
    for name, value in expected.items():
        if name not in shown:
            wrong.append(f"{name} is missing")
        elif not _same(shown[name], value):
            wrong.append(f"{name} is {shown[name]!r}, expected {value!r}")
    return wrong


def _same(shown: Any, expected: Any) -> bool:
    if isinstance(expected, Moment):
        return bool(expected == shown)
    if isinstance(expected, list):
        return isinstance(shown, list) and len(shown) == len(expected) and all(map(_same, shown, expected))
    if isinstance(expected, dict):
        return isinstance(shown, dict) and all(
            name in shown and _same(shown[name], expected[name]) for name in expected
        )
    # 400 and 400.0 and True are equal in Python, and not in an interface.
    return type(shown) is type(expected) and bool(shown == expected)
