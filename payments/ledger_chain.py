"""The ledger's hash chain: each transfer seals its own content and, through the hash before it, all before it.

Whoever changes, removes or slips in a transfer of the past must write every later hash anew, and what he then
shows is another newest hash than the one that was noted before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

FIRST: Final = "0" * 64
"""Stands for the hash before the first transfer."""


class EntryLine(NamedTuple):
    """One line of a transfer as the database holds it, its account by name."""

    kind: str
    unit: str
    owner: str
    delta: int
    balance_after: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One transfer as the database holds it. `evidence` is the text that is stored, `created_at` in milliseconds.

    The row's own number is no part of it: order is what the chain itself tells.
    """

    kind: str
    payment_number: int | None
    txid: str | None
    vout: int | None
    epoch: int
    user_id: str | None
    reference: str | None
    credits: int
    evidence: str
    created_at: int
    lines: tuple[EntryLine, ...]


def entry_text(entry: Entry) -> str:
    """The canonical text (docs/schema.md): a JSON array in ASCII without spaces, lines by the name of their account."""
    content = [
        entry.kind,
        entry.payment_number,
        entry.txid,
        entry.vout,
        entry.epoch,
        entry.user_id,
        entry.reference,
        entry.credits,
        entry.evidence,
        entry.created_at,
        sorted(entry.lines),
    ]
    return json.dumps(content, ensure_ascii=True, separators=(",", ":"))


def entry_hash(previous: str, entry: Entry) -> str:
    """SHA-256, as 64 hex digits, over the previous transfer's hash, a line feed, and the canonical text."""
    return sha256(f"{previous}\n{entry_text(entry)}".encode("ascii")).hexdigest()
