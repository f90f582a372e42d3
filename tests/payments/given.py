"""Short ways to write down promises and facts in the tests of payments/."""

from __future__ import annotations

from typing import Any

import pytest

from payments.facts import Facts, OutputFact
from payments.model import ExcessPolicy, LatePolicy, OutPoint, Status, Terms

TIP = 100
OPENED, CLOSES = 1_000_000, 1_600_000
IN_TIME, TOO_LATE = OPENED + 1_000, CLOSES + 1_000


def terms(**changed: Any) -> Terms:
    """40,000 sat for 400 credits at 3 confirmations, without tolerance; late and excess are credited."""
    promise: dict[str, Any] = {
        "amount_sat": 40_000,
        "credits": 400,
        "confirmations_required": 3,
        "tolerance_sat": 0,
        "late": LatePolicy.CREDIT,
        "excess": ExcessPolicy.CREDIT,
        "created_at": OPENED,
        "expires_at": CLOSES,
    }
    return Terms(**promise | changed)


def output(name: str, value_sat: int, *, depth: int | None = None, vout: int = 0, **changed: Any) -> OutputFact:
    """An output of the transaction `name`: in the mempool, or `depth` deep under `TIP`."""
    seen = changed.get("paid_at", IN_TIME)
    fact: dict[str, Any] = {
        "outpoint": OutPoint(name, vout),
        "value_sat": value_sat,
        "first_seen": seen,
        "paid_at": seen,
        "in_mempool": depth is None,
        "height": None if depth is None else TIP - depth + 1,
        "replaced_by": None,
        "was_disconnected": False,
        "coinbase": False,
        "booked": False,
        "forwarded": False,
    }
    return OutputFact(**fact | changed)


def gone(name: str, value_sat: int, **changed: Any) -> OutputFact:
    """An output that is neither in the mempool nor in the active chain."""
    return output(name, value_sat, **{"in_mempool": False} | changed)


def facts(*outputs: OutputFact, promise: Terms | None = None, **changed: Any) -> Facts:
    return Facts(terms=promise or terms(), outputs=outputs, **changed)


def case(name: str, known: Facts, status: Status, **expected: Any) -> Any:
    return pytest.param(known, status, expected, id=name)


def credited(*outputs: OutputFact, credits: int = 400, **changed: Any) -> Facts:
    return facts(*outputs, credits_posted=credits, ever_credited=True, **changed)
