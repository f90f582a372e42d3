"""Reading a payment back as the record that the rules and the pages work with."""

from __future__ import annotations

import json

from payments.facts import Facts, OutputFact, Resolution
from payments.model import ExcessPolicy, Flag, LatePolicy, OutPoint, Status, Terms
from payments.record import PaymentRecord
from payments.status import PaymentState
from storage.dead_sweeps import DEAD
from storage.tx import Row, Tx

_OUTPUTS = f"""
SELECT o.txid, o.vout, o.value_sat, o.first_seen, o.paid_at, o.booked,
       t.in_mempool, t.replaced_by, t.coinbase,
       (SELECT b.height FROM block_tx l JOIN block b ON b.hash = l.block_hash
         WHERE l.txid = o.txid AND b.active = 1) AS height,
       EXISTS (SELECT 1 FROM block_tx l JOIN block b ON b.hash = l.block_hash
         WHERE l.txid = o.txid AND b.active = 0) AS was_disconnected,
       (SELECT r.action FROM resolution_output d JOIN resolution r ON r.id = d.resolution_id
         WHERE d.txid = o.txid AND d.vout = o.vout ORDER BY d.set_aside DESC LIMIT 1) AS decision,
       (SELECT r.refund_txid FROM resolution_output d JOIN resolution r ON r.id = d.resolution_id
         WHERE d.txid = o.txid AND d.vout = o.vout AND d.set_aside = 1) AS refund_txid,
       (SELECT s.txid FROM sweep_spend c JOIN sweep s ON s.txid = c.sweep_txid
         WHERE c.prev_txid = o.txid AND c.prev_vout = o.vout AND s.is_current = 1 AND s.state <> 'stored'
           AND NOT {DEAD} ORDER BY s.created_at DESC LIMIT 1) AS swept_by
  FROM output o JOIN incoming_tx t ON t.txid = o.txid
 WHERE o.payment_number = :number
 ORDER BY o.first_seen, o.txid, o.vout
"""  # noqa: S608 - fixed texts


def tip_height(tx: Tx) -> int:
    """Height of the block up to which everything was processed; 0 before the first."""
    row = tx.one("SELECT cursor_height FROM till WHERE only_row = 1")
    return 0 if row is None or row["cursor_height"] is None else int(row["cursor_height"])


def payment_by_number(tx: Tx, number: int) -> PaymentRecord:
    row = tx.one("SELECT * FROM payment WHERE number = :number", number=number)
    if row is None:
        raise LookupError(f"no payment has number {number}")
    return record_of(tx, row)


def payment_by_id(tx: Tx, payment_id: str) -> PaymentRecord | None:
    """The payment, or None when nobody was ever given that id."""
    row = tx.one("SELECT * FROM payment WHERE id = :id", id=payment_id)
    return None if row is None else record_of(tx, row)


def record_of(tx: Tx, row: Row, height: int | None = None) -> PaymentRecord:
    """Complete a row of `payment` with its outputs. `height` saves asking for the tip again."""
    outputs: list[Row] = []
    if row["detected_at"] is not None or row["unsettled"]:
        outputs = tx.all(_OUTPUTS, number=row["number"])
    tip = tip_height(tx) if height is None else height
    facts = facts_of(row, outputs)
    return PaymentRecord(
        number=row["number"],
        id=row["id"],
        user_id=row["user_id"],
        package_id=row["package_id"],
        metadata=row["metadata"],
        address=row["address"],
        address_index=row["address_index"],
        facts=facts,
        state=state_in(row),
        sequence=row["sequence"],
        confirmed_at=row["confirmed_at"],
        completed_at=row["completed_at"],
        forwarding_txid=_forwarding_txid(outputs),
        tip_height=tip,
    )


def fresh_facts(tx: Tx, row: Row) -> Facts:
    """Facts as they stand now, outputs always read."""
    return facts_of(row, tx.all(_OUTPUTS, number=row["number"]))


def facts_of(row: Row, outputs: list[Row]) -> Facts:
    return Facts(
        terms=Terms(
            amount_sat=row["amount_sat"],
            credits=row["credits"],
            confirmations_required=row["confirmations_required"],
            tolerance_sat=row["tolerance_sat"],
            late=LatePolicy(row["late"]),
            excess=ExcessPolicy(row["excess"]),
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            tiers=_tiers(row["tiers"]),
        ),
        outputs=tuple(_output(o) for o in outputs),
        window_closed=bool(row["window_closed"]),
        credits_posted=row["credits_posted"],
        ever_credited=bool(row["ever_credited"]),
        watch_only=bool(row["watch_only"]),
    )


def _tiers(text: str) -> tuple[tuple[int, int], ...]:
    """`[[above_sat, confirmations], …]`; most shops have none."""
    return tuple((above, confirmations) for above, confirmations in json.loads(text)) if text != "[]" else ()


def _forwarding_txid(outputs: list[Row]) -> str | None:
    return next((o["swept_by"] for o in reversed(outputs) if o["swept_by"]), None)


def _output(row: Row) -> OutputFact:
    return OutputFact(
        outpoint=OutPoint(row["txid"], row["vout"]),
        value_sat=row["value_sat"],
        first_seen=row["first_seen"],
        paid_at=row["paid_at"],
        in_mempool=bool(row["in_mempool"]),
        height=row["height"],
        replaced_by=row["replaced_by"],
        was_disconnected=bool(row["was_disconnected"]),
        coinbase=bool(row["coinbase"]),
        booked=bool(row["booked"]),
        forwarded=row["swept_by"] is not None,
        decision=Resolution(row["decision"]) if row["decision"] else None,
        refund_txid=row["refund_txid"],
    )


def state_in(row: Row) -> PaymentState:
    """The state as it was last derived. `confirmations` is the depth that was last told in an event."""
    return PaymentState(
        status=Status(row["status"]),
        flags=tuple(Flag(flag) for flag in row["flags"].split()),
        received_sat=row["received_sat"],
        confirmed_sat=row["confirmed_sat"],
        remaining_sat=row["remaining_sat"],
        confirmations=row["told_depth"],
        tx_hash=row["tx_hash"],
        detected_at=row["detected_at"],
        failure_reason=row["failure_reason"],
        wake_height=row["wake_height"],
    )
