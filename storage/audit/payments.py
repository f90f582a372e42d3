"""Each payment against its facts: address, state, credits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from payments.difference import Check, Difference
from payments.facts import Facts
from payments.ledger import transfers_due
from payments.status import PaymentState, state_of
from storage.audit.promises import promise_differences
from storage.audit.question import Derive, Findings, Question
from storage.records import fresh_facts, state_in
from storage.tx import Row, Tx

_PAGE = 100
_NEWEST_PAYMENTS, _NEWEST_TRANSFERS = 1_000, 1_000
_DERIVED = (
    "status",
    "flags",
    "received_sat",
    "confirmed_sat",
    "remaining_sat",
    "tx_hash",
    "detected_at",
    "failure_reason",
    "wake_height",
)
"""Everything of a state but the depth, which is kept as it was last told."""

_HAND = "The database was changed by hand, or this is a defect of nodetill: compare with a backup."

_RECENT = (
    "SELECT number FROM payment WHERE number > (SELECT max(number) FROM payment) - :payments"
    " UNION SELECT number FROM payment WHERE booking_due = 1"
    " UNION SELECT number FROM payment WHERE unsettled = 1"
    " UNION SELECT payment_number FROM transfer WHERE payment_number IS NOT NULL AND id > :transfer"
    " UNION SELECT o.payment_number FROM output o JOIN incoming_tx t ON t.txid = o.txid WHERE t.in_mempool = 1"
    " UNION SELECT o.payment_number FROM output o JOIN block_tx l ON l.txid = o.txid"
    " JOIN block b ON b.hash = l.block_hash WHERE b.height >= :from"
)


def payment_differences(tx: Tx, question: Question, findings: Findings) -> None:
    """Look at each payment that the question is about, and add what is found."""
    numbers = _numbers(tx, question, findings)
    keychains = _Keychains(tx, question)
    below: dict[int, int] = {}
    heights = None if findings.cursor is None else _judged_at(tx, findings.cursor.height)
    for start in range(0, len(numbers), _PAGE):
        for number in numbers[start : start + _PAGE]:
            row = tx.one("SELECT * FROM payment WHERE number = :number", number=number)
            if row is None:
                continue  # its transfers or outputs are left: other checks tell
            if question.full:
                findings.differences += _in_order(row, below)
            findings.differences += keychains.check(row)
            findings.differences += promise_differences(tx, row)
            if heights is not None and not row["unsettled"]:  # else a reorganisation is under way: judged at the tip
                findings.differences += _judged(tx, row, heights, question, findings)
            findings.payments += 1
        question.step("payments", min(start + _PAGE, len(numbers)), len(numbers))


def _numbers(tx: Tx, question: Question, findings: Findings) -> list[int]:
    if question.full:
        return [row["number"] for row in tx.all("SELECT number FROM payment ORDER BY number")]
    blocks = question.scanned.blocks
    rows = tx.all(
        _RECENT,
        payments=_NEWEST_PAYMENTS,
        transfer=findings.newest_transfer - _NEWEST_TRANSFERS,
        **{"from": blocks[0].header.height if blocks else 0},
    )
    return sorted(row["number"] for row in rows)


def _in_order(row: Row, below: dict[int, int]) -> Iterator[Difference]:
    """Address numbers only go up: one that is given twice, or again, would be paid by two customers."""
    keychain, index = row["keychain_id"], row["address_index"]
    if index <= below.get(keychain, -1):
        text = (
            f"Payment {row['id']} has address number {index}, an earlier one had {below[keychain]}: numbers were given "
            "again, as after restoring an old copy. See docs/operations.md, Backup."
        )
        yield Difference(Check.ADDRESS, f"{row['id']} number", text)
    below[keychain] = max(index, below.get(keychain, -1))


class _Keychains:
    """Addresses made again from the descriptors."""

    def __init__(self, tx: Tx, question: Question) -> None:
        self._next: dict[int, int] = {}
        self._derive: dict[int, Derive] = {}
        for row in tx.all("SELECT id, descriptor, next_index FROM keychain"):
            self._next[row["id"]] = row["next_index"]
            with suppress(ValueError):  # a descriptor that nobody can read derives nothing
                self._derive[row["id"]] = question.opened(row["descriptor"])

    def check(self, row: Row) -> Iterator[Difference]:
        index, keychain = row["address_index"], row["keychain_id"]
        script, address = self._derive[keychain](index) if keychain in self._derive else (b"", "unknown")
        if (bytes(row["script_pubkey"]), row["address"]) != (script, address):
            text = (
                f"Payment {row['id']} shows address {row['address']}; by the descriptor number {index} is {address}. "
                "Stop the service: customers may be paying somebody else. Find out who changed the database."
            )
            yield Difference(Check.ADDRESS, str(row["id"]), text)
        if index >= self._next.get(keychain, 0):
            text = (
                f"Payment {row['id']} has address number {index}, and {self._next.get(keychain)} is given out next: "
                "the same address would go to two customers. Stop the service and raise keychain.next_index."
            )
            yield Difference(Check.ADDRESS, f"{row['id']} number", text)


def _judged(tx: Tx, row: Row, heights: range, question: Question, findings: Findings) -> list[Difference]:
    try:
        facts = fresh_facts(tx, row)
        if facts.credits_posted > 0 and not any(output.booked for output in facts.outputs):
            text = (
                f"Payment {row['id']} shows {facts.credits_posted} credits, and none of its outputs is booked. {_HAND}"
            )
            return [Difference(Check.CREDITS, str(row["id"]), text)]
        return [*_derived(row, facts, heights), *_due(row, facts, heights, question, findings)]
    except ValueError as error:  # a status, a policy or a tier that does not exist
        return [Difference(Check.STATE, str(row["id"]), f"Payment {row['id']} cannot be read: {error}. {_HAND}")]


def _judged_at(tx: Tx, height: int) -> range:
    """Heights at which payments were judged last: our own, or, when blocks were just undone, one above it."""
    row = tx.one("SELECT max(height) AS top FROM block WHERE height > :height", height=height)
    return range(height, max(height, (row and row["top"]) or 0) + 1)


def _derived(row: Row, facts: Facts, heights: range) -> Iterator[Difference]:
    stored = _compared(state_in(row))
    if any(stored == _compared(state_of(facts, height)) for height in heights):
        return
    for name, derived in _compared(state_of(facts, heights[0])).items():
        if (has := stored[name]) != derived:
            text = f"Payment {row['id']} shows {name} {_said(has)}; by its facts it is {_said(derived)}. {_HAND}"
            yield Difference(Check.STATE, f"{row['id']} {name}", text)


def _compared(state: PaymentState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in _DERIVED}


def _due(row: Row, facts: Facts, heights: range, question: Question, findings: Findings) -> Iterator[Difference]:
    due = transfers_due(facts, row["user_id"], heights[0])
    if not due:
        if row["booking_due"] and not any(transfers_due(facts, row["user_id"], height) for height in heights):
            text = (
                f"Payment {row['id']} is marked as to be booked, and nothing is due. The service mends it at its tip."
            )
            yield Difference(Check.CREDITS_DUE, str(row["id"]), text)
        return
    if row["booking_due"] and (findings.frozen or findings.cursor != question.scanned.tip):
        findings.notes.append(f"Payment {row['id']} is to be booked when the service is level with the node again.")
        return
    credits = facts.credits_posted + sum(transfer.credits for transfer in due)
    text = (
        f"Payment {row['id']}: by its facts at height {heights[0]} {credits} credits are due, "
        f"{facts.credits_posted} are on the account of {row['user_id']}. Is the service running? Its log says why not."
    )
    sat = sum(abs(line.delta) for transfer in due for line in transfer.lines if line.account.kind == "chain")
    yield Difference(Check.CREDITS_DUE, str(row["id"]), text, sat)


def _said(value: object) -> str:
    """As a sentence has it."""
    return " ".join(value) or "none" if isinstance(value, tuple) else "none" if value is None else str(value)
