"""The ledger: transfers with their lines, append-only, each outpoint booked at most once at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from payments.events import EventType
from payments.facts import Facts, Resolution
from payments.ledger import Account, Line, Transfer, TransferKind, transfers_due
from payments.ledger_chain import FIRST, Entry, EntryLine, entry_hash
from payments.model import OutPoint, Status
from payments.record import PaymentRecord
from storage import evaluation, forwards
from storage.credits import entry_view
from storage.evaluation import Change, evaluate
from storage.events import append
from storage.records import fresh_facts, payment_by_number, tip_height
from storage.resolutions import decisions_of
from storage.tx import Row, Tx


@dataclass(frozen=True, slots=True)
class Booking:
    """What booking did to a payment: `credits` is the difference on the user's account."""

    payment: PaymentRecord
    credits: int
    before: Status


def bookings_due(tx: Tx, limit: int = 200) -> list[PaymentRecord]:
    """Payments whose ledger entries do not agree with the facts at this tip."""
    rows = tx.all(
        "SELECT number FROM payment WHERE booking_due = 1 AND unsettled = 0 ORDER BY number LIMIT :limit",
        limit=limit,
    )
    return [payment_by_number(tx, row["number"]) for row in rows]


def book(tx: Tx, number: int, evidence: Mapping[OutPoint, dict[str, Any]], now: int) -> Booking | None:
    """Bring the ledger level with the facts of one payment, and its state with the ledger.

    `evidence` holds for each outpoint what the node answered when it was asked about it just now;
    deposits of which one is without are left for the next pass, and what is gone goes without them. Runs again
    without effect.
    """
    row = tx.one("SELECT * FROM payment WHERE number = :number", number=number)
    if row is None or row["unsettled"]:
        return None
    facts, height = fresh_facts(tx, row), tip_height(tx)
    due = transfers_due(facts, row["user_id"], height)
    deposits = [t.outpoint for t in due if t.kind is TransferKind.DEPOSIT and t.outpoint is not None]
    if any(outpoint not in evidence for outpoint in deposits):
        due = transfers_due(facts, row["user_id"], height, unproven=deposits)
        if not due:
            return None
    _post_forwards(tx, row, due, now)
    word = _operators_word(tx, number, facts)
    for transfer in due:
        proof = {"tip_height": height, "confirmations_required": facts.terms.confirmations_required}
        proof |= word if transfer.credits > 0 else {}
        proof |= evidence.get(transfer.outpoint, {}) if transfer.outpoint else {}
        _post_for_payment(tx, number, row["user_id"], transfer, proof, now)
    _post_forwards(tx, row, (), now)
    credits = sum(transfer.credits for transfer in due)
    evaluate(tx, [number], now)
    return Booking(payment_by_number(tx, number), credits, Status(row["status"]))


def _operators_word(tx: Tx, number: int, facts: Facts) -> dict[str, Any]:
    """For the evidence: the decisions without which late coins give no credits."""
    if not any(output.decision is Resolution.CREDIT for output in facts.outputs):
        return {}
    return {"resolutions": [d.id for d in decisions_of(tx, number) if d.action is Resolution.CREDIT]}


def settle(tx: Tx, now: int) -> tuple[list[Change], list[Booking]]:
    """At the tip: judge the payments that a disconnected block had left open.

    Coins that are gone leave the ledger in the same transaction, so nobody sees a payment that is
    reversed and credited at once. This needs no evidence; deposits do, and wait for `book`.
    """
    taken_back: list[tuple[int, int, Status]] = []
    for row in tx.all("SELECT * FROM payment WHERE unsettled = 1 ORDER BY number"):
        facts, height = fresh_facts(tx, row), tip_height(tx)
        due = transfers_due(facts, row["user_id"], height)
        if due and all(transfer.kind is not TransferKind.DEPOSIT for transfer in due):
            _post_forwards(tx, row, due, now)
            for transfer in due:
                _post_for_payment(tx, row["number"], row["user_id"], transfer, {"tip_height": height}, now)
            taken_back.append((row["number"], sum(transfer.credits for transfer in due), Status(row["status"])))
    changes = evaluation.settle(tx, now)
    return changes, [Booking(payment_by_number(tx, number), credits, was) for number, credits, was in taken_back]


def _post_forwards(tx: Tx, payment: Row, due: Iterable[Transfer], now: int) -> None:
    """Forwards of a payment's coins: taken back before what is `due` takes the coins, and written again
    once the coins are back."""
    losing = {transfer.outpoint for transfer in due if transfer.kind is TransferKind.REVERSAL}
    sweeps = () if payment["watch_only"] else forwards.sweeps_of(tx, payment["number"])
    for sweep, transfer in forwards.forwards_due(tx, sweeps, losing):
        post(tx, transfer, {"sweep": sweep}, now)


def _post_for_payment(
    tx: Tx, number: int, user_id: str, transfer: Transfer, evidence: dict[str, Any], now: int
) -> None:
    post(tx, transfer, evidence, now, payment_number=number, user_id=user_id)
    outpoint = transfer.outpoint
    if outpoint is not None and transfer.kind is not TransferKind.ADJUSTMENT:
        tx.execute(
            "UPDATE output SET booked = :booked WHERE txid = :txid AND vout = :vout",
            booked=int(transfer.kind is TransferKind.DEPOSIT),
            txid=outpoint.txid,
            vout=outpoint.vout,
        )
    if transfer.credits:
        tx.execute(
            "UPDATE payment SET credits_posted = credits_posted + :credits, sequence = sequence + 1,"
            " ever_credited = CASE WHEN :credits > 0 THEN 1 ELSE ever_credited END WHERE number = :number",
            credits=transfer.credits,
            number=number,
        )
        row = tx.one("SELECT sequence FROM payment WHERE number = :number", number=number)
        kind = EventType.CREDITS_ADDED if transfer.credits > 0 else EventType.CREDITS_REVERSED
        entry = entry_view(tx, user_id)
        append(tx, kind, entry, now, payment_number=number, sequence=row["sequence"] if row else 0)


def post(
    tx: Tx,
    transfer: Transfer,
    evidence: dict[str, Any],
    now: int,
    *,
    payment_number: int | None = None,
    user_id: str | None = None,
    reference: str | None = None,
) -> int:
    """Write one transfer. Raises `AlreadyThere` when its outpoint (or reference) was booked already."""
    outpoint = transfer.outpoint
    entry = Entry(
        kind=transfer.kind.value,
        payment_number=payment_number,
        txid=outpoint.txid if outpoint else None,
        vout=outpoint.vout if outpoint else None,
        epoch=_epoch(tx, transfer.kind, outpoint) if outpoint else 0,
        user_id=user_id,
        reference=reference,
        credits=transfer.credits,
        evidence=json.dumps(evidence, separators=(",", ":"), sort_keys=True),
        created_at=now,
        lines=tuple(_balanced(tx, line) for line in transfer.lines),
    )
    number = _seal(tx, entry)
    for line in entry.lines:
        tx.execute(
            "INSERT INTO transfer_line (transfer_id, account_id, delta, balance_after)"
            " SELECT :transfer, id, :delta, :after FROM account"
            " WHERE kind = :kind AND unit = :unit AND owner = :owner",
            transfer=number,
            delta=line.delta,
            after=line.balance_after,
            kind=line.kind,
            unit=line.unit,
            owner=line.owner,
        )
    return number


def _balanced(tx: Tx, line: Line) -> EntryLine:
    """Move the account's balance; the line as it will be stored."""
    account = line.account
    return EntryLine(account.kind.value, account.unit.value, account.owner, line.delta, _add(tx, account, line.delta))


def _seal(tx: Tx, entry: Entry) -> int:
    """Put the transfer's row at the end of the hash chain; its number. Writers queue up, so nobody comes between.

    Numbers count 1, 2, 3… on both databases: those of a PostgreSQL sequence stay used after a transaction that
    was cut off, and then the same history would have other numbers when it is played again.
    """
    row = tx.one(
        "INSERT INTO transfer (id, kind, payment_number, txid, vout, epoch, user_id, reference, credits,"
        " evidence, created_at, hash) VALUES ((SELECT coalesce(MAX(id), 0) + 1 FROM transfer),"
        " :kind, :payment, :txid, :vout, :epoch, :user_id, :reference,"
        " :credits, :evidence, :now, :hash) RETURNING id",
        kind=entry.kind,
        payment=entry.payment_number,
        txid=entry.txid,
        vout=entry.vout,
        epoch=entry.epoch,
        user_id=entry.user_id,
        reference=entry.reference,
        credits=entry.credits,
        evidence=entry.evidence,
        now=entry.created_at,
        hash=entry_hash(newest_hash(tx), entry),
    )
    assert row is not None  # noqa: S101 - RETURNING always answers
    return int(row["id"])


def newest_hash(tx: Tx) -> str:
    """What the next transfer is chained to."""
    row = tx.one("SELECT hash FROM transfer ORDER BY id DESC LIMIT 1")
    return FIRST if row is None else str(row["hash"])


def _epoch(tx: Tx, kind: TransferKind, outpoint: OutPoint) -> int:
    """How often the outpoint was taken back (for a deposit), or which of its deposits is taken back;
    a forward and its reversal are counted alike.

    A second deposit without a reversal between them meets the first one's unique key, and so does a
    second reversal; one of what was never booked gets -1, which the database refuses.
    """
    undone = {
        TransferKind.DEPOSIT: TransferKind.REVERSAL,
        TransferKind.FORWARD: TransferKind.FORWARD_REVERSAL,
    }
    undoes = {reversal: kind for kind, reversal in undone.items()}
    row = tx.one(
        "SELECT count(*) AS times FROM transfer WHERE kind = :kind AND txid = :txid AND vout = :vout",
        kind=(undone | undoes).get(kind, kind).value,
        txid=outpoint.txid,
        vout=outpoint.vout,
    )
    times = int(row["times"]) if row else 0
    return times - 1 if kind in undoes else times


def _add(tx: Tx, account: Account, delta: int) -> int:
    row = tx.one(
        "INSERT INTO account (kind, unit, owner, balance) VALUES (:kind, :unit, :owner, :delta)"
        " ON CONFLICT (kind, unit, owner) DO UPDATE SET balance = account.balance + excluded.balance"
        " RETURNING balance",
        kind=account.kind.value,
        unit=account.unit.value,
        owner=account.owner,
        delta=delta,
    )
    assert row is not None  # noqa: S101 - RETURNING always answers
    return int(row["balance"])
