"""Payments: created with an address of their own, listed, counted."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from payments.events import EventType
from payments.facts import Facts
from payments.model import Status, Terms
from payments.record import PaymentRecord
from payments.status import state_of
from payments.view import payment_view
from storage.errors import StorageError
from storage.events import append
from storage.records import record_of, tip_height
from storage.tx import Tx, Value


class TooManyOpen(StorageError):
    """The user has as many unpaid payments open as `payments.max_open_per_user` allows."""


@dataclass(frozen=True, slots=True)
class NewPayment:
    """What somebody asks for, with the promise that the shop's settings make of it."""

    user_id: str
    package_id: str
    metadata: str
    terms: Terms
    max_open: int


Derive = Callable[[int], tuple[bytes, str]]
"""Index of an address in the owner's descriptor -> `(script_pubkey, address)`."""


def create(
    tx: Tx, wanted: NewPayment, keychain_id: int, derive: Derive, now: int, *, payment_id: str | None = None
) -> PaymentRecord:
    """Reserve the next address and store the payment with its event.

    It is committed before anybody sees the address, so no coins can come before their script is known.
    `payment_id` is for a payment that is created once more, from a record; else it is drawn.
    """
    _refuse_too_many(tx, wanted)
    chain = tx.one(
        "UPDATE keychain SET next_index = next_index + 1 WHERE id = :id"
        " RETURNING next_index - 1 AS free, watch_only, (SELECT cursor_height FROM till) AS tip",
        id=keychain_id,
    )
    if chain is None:
        raise LookupError(f"no keychain {keychain_id}")
    script, address = derive(chain["free"])
    facts, tip = Facts(wanted.terms, watch_only=bool(chain["watch_only"])), chain["tip"] or 0
    record = PaymentRecord(
        number=0,
        id=payment_id or secrets.token_hex(16),
        user_id=wanted.user_id,
        package_id=wanted.package_id,
        metadata=wanted.metadata,
        address=address,
        address_index=chain["free"],
        facts=facts,
        state=state_of(facts, tip),
        sequence=1,
        confirmed_at=None,
        completed_at=None,
        forwarding_txid=None,
        tip_height=tip,
    )
    record = replace(record, number=_insert(tx, record, keychain_id, script))
    data = payment_view(record, tx.context.public_url)
    append(tx, EventType.CREATED, data, now, payment_number=record.number, sequence=1)
    return record


def _insert(tx: Tx, new: PaymentRecord, keychain_id: int, script: bytes) -> int:
    """Write the row of a payment that nobody has paid yet; its number, which no transaction that was taken back
    has used up (see `ledger._seal`): it goes into the ledger's hashes."""
    terms = new.facts.terms
    row = tx.one(
        "INSERT INTO payment (number, id, user_id, package_id, metadata, keychain_id, address_index, address,"
        " script_pubkey, watch_only, amount_sat, credits, confirmations_required, tolerance_sat, late, excess,"
        " tiers, created_at, expires_at, status, remaining_sat, sequence)"
        " VALUES ((SELECT coalesce(MAX(number), 0) + 1 FROM payment), :id, :user_id, :package_id,"
        " :metadata, :keychain, :index, :address, :script, :watch_only, :amount, :credits, :confirmations, :tolerance,"
        " :late, :excess, :tiers, :created_at, :expires_at, :status, :remaining, :sequence) RETURNING number",
        id=new.id,
        user_id=new.user_id,
        package_id=new.package_id,
        metadata=new.metadata,
        keychain=keychain_id,
        index=new.address_index,
        address=new.address,
        script=script,
        watch_only=int(new.facts.watch_only),
        amount=terms.amount_sat,
        credits=terms.credits,
        confirmations=terms.confirmations_required,
        tolerance=terms.tolerance_sat,
        late=terms.late.value,
        excess=terms.excess.value,
        tiers=json.dumps(terms.tiers),
        created_at=terms.created_at,
        expires_at=terms.expires_at,
        status=new.state.status.value,
        remaining=new.state.remaining_sat,
        sequence=new.sequence,
    )
    assert row is not None  # noqa: S101 - RETURNING always answers
    return int(row["number"])


def _refuse_too_many(tx: Tx, wanted: NewPayment) -> None:
    row = tx.one(
        "SELECT count(*) AS n FROM payment WHERE user_id = :user_id AND status = 'pending'",
        user_id=wanted.user_id,
    )
    if row is not None and row["n"] >= wanted.max_open:
        raise TooManyOpen(
            f"User {wanted.user_id} has {row['n']} unpaid payments open; pay or let one of them expire first."
        )


def list_payments(
    tx: Tx, *, user_id: str | None, status: Status | None, before: int | None, limit: int
) -> list[PaymentRecord]:
    """Payments, newest first, with numbers below `before`."""
    conditions, values = ["1 = 1"], dict[str, Value](limit=limit)
    for condition, name, value in (
        ("user_id = :user_id", "user_id", user_id),
        ("status = :status", "status", status.value if status else None),
        ("number < :before", "before", before),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    where = " AND ".join(conditions)
    rows = tx.all(
        f"SELECT * FROM payment WHERE {where} ORDER BY number DESC LIMIT :limit",  # noqa: S608 - fixed texts
        **values,
    )
    height = tip_height(tx)
    return [record_of(tx, row, height) for row in rows]


def counts_by_status(tx: Tx) -> dict[str, int]:
    """How many payments stand at each status."""
    return {row["status"]: row["n"] for row in tx.all("SELECT status, count(*) AS n FROM payment GROUP BY status")}


ALL_SCRIPTS = "SELECT number, script_pubkey FROM payment ORDER BY number"
"""For `Database.stream`: every script that was ever handed out."""


def scripts_after(tx: Tx, number: int, limit: int = 10_000) -> list[tuple[int, bytes, int, int]]:
    """`(number, script_pubkey, keychain_id, address_index)` of the payments created after that number, in order."""
    rows = tx.all(
        "SELECT number, script_pubkey, keychain_id, address_index FROM payment"
        " WHERE number > :number ORDER BY number LIMIT :limit",
        number=number,
        limit=limit,
    )
    return [(row["number"], bytes(row["script_pubkey"]), row["keychain_id"], row["address_index"]) for row in rows]
