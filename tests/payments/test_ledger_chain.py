"""The hash chain of the ledger: what each hash covers, and that nothing of a transfer is left out."""

from __future__ import annotations

from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.ledger_chain import FIRST, Entry, EntryLine, entry_hash, entry_text

DEPOSIT = Entry(
    kind="deposit",
    payment_number=7,
    txid="ab" * 32,
    vout=1,
    epoch=0,
    user_id="u1",
    reference=None,
    credits=400,
    evidence='{"confirmations":3}',
    created_at=1_700_000_000_000,
    lines=(
        EntryLine("chain", "sat", "", -40_000, -40_000),
        EntryLine("owner", "sat", "", 40_000, 40_000),
        EntryLine("issued", "credit", "", -400, -400),
        EntryLine("user", "credit", "u1", 400, 400),
    ),
)
CHANGED: dict[str, Any] = {
    "kind": "reversal",
    "payment_number": 8,
    "txid": "ac" * 32,
    "vout": 2,
    "epoch": 1,
    "user_id": "u2",
    "reference": "r",
    "credits": 401,
    "evidence": '{"confirmations":2}',
    "created_at": 1_700_000_000_001,
    "lines": DEPOSIT.lines[:3],
}


def test_the_text_is_what_the_schema_says() -> None:
    """docs/schema.md promises this text: whoever wants to verify the ledger with other means can."""
    assert entry_text(DEPOSIT) == (
        '["deposit",7,"' + "ab" * 32 + '",1,0,"u1",null,400,"{\\"confirmations\\":3}",1700000000000,'
        '[["chain","sat","",-40000,-40000],["issued","credit","",-400,-400],["owner","sat","",40000,40000],'
        '["user","credit","u1",400,400]]]'
    )
    assert entry_hash(FIRST, DEPOSIT) == sha256(f"{FIRST}\n{entry_text(DEPOSIT)}".encode()).hexdigest()


@pytest.mark.parametrize("name", [field.name for field in fields(Entry)])
def test_each_field_is_covered(name: str) -> None:
    assert entry_hash(FIRST, replace(DEPOSIT, **{name: CHANGED[name]})) != entry_hash(FIRST, DEPOSIT)


@pytest.mark.parametrize("place", range(len(DEPOSIT.lines)))
@pytest.mark.parametrize("change", [{"delta": 1}, {"balance_after": 1}, {"owner": "eve"}, {"unit": "x"}, {"kind": "x"}])
def test_each_line_is_covered(place: int, change: dict[str, Any]) -> None:
    lines = list(DEPOSIT.lines)
    lines[place] = lines[place]._replace(**change)
    assert entry_hash(FIRST, replace(DEPOSIT, lines=tuple(lines))) != entry_hash(FIRST, DEPOSIT)


def test_what_came_before_is_covered_and_the_order_of_lines_is_not() -> None:
    assert entry_hash("1" * 64, DEPOSIT) != entry_hash(FIRST, DEPOSIT)
    assert entry_hash(FIRST, replace(DEPOSIT, lines=DEPOSIT.lines[::-1])) == entry_hash(FIRST, DEPOSIT)


@given(st.text(), st.text())
def test_any_text_is_taken_and_none_runs_into_the_next(user: str, reference: str) -> None:
    """User ids and references are what the shop sends: quotes, line feeds, any script."""
    one = replace(DEPOSIT, user_id=user, reference=reference)
    assert entry_text(one).isascii()
    assert "\n" not in entry_text(one)
    if (user, reference) != (reference, user):
        assert entry_hash(FIRST, one) != entry_hash(FIRST, replace(one, user_id=reference, reference=user))
