"""What a record needs of the database: what people did, a fingerprint of the facts, the ledger to show."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from payments.facts import Resolution
from payments.model import ExcessPolicy, LatePolicy, OutPoint, Terms
from payments.record import PaymentRecord
from storage.payments import Derive, NewPayment, create
from storage.resolutions import decision_by_id, resolve
from storage.spends import spend_credits
from storage.till import step_over
from storage.tx import Row, Tx

_FACTS: Final = {
    "cursor": "SELECT network, cursor_height, cursor_hash FROM till",
    "keychains": "SELECT id, descriptor, next_index FROM keychain ORDER BY id",
    "payments": "SELECT number, id, status, flags, window_closed, credits_posted, booking_due, unsettled, sequence,"
    " confirmed_at, completed_at FROM payment ORDER BY number",
    "blocks": "SELECT hash, active FROM block ORDER BY hash",
    "mined": "SELECT txid, block_hash FROM block_tx ORDER BY txid, block_hash",
    "transactions": "SELECT txid, in_mempool, mined, replaced_by FROM incoming_tx ORDER BY txid",
    "outputs": "SELECT txid, vout, payment_number, value_sat, paid_at, booked, spent_by FROM output"
    " ORDER BY txid, vout",
    "ledger": "SELECT hash FROM transfer ORDER BY id",
    "transfers": "SELECT count(*) AS n FROM transfer",
    "sweeps": "SELECT txid, state, is_current, broadcast_at FROM sweep ORDER BY txid",
}
CHAIN_FACTS: Final = ("cursor", "blocks", "mined", "transactions", "transfers")
"""How far the till had come, whatever it made of it."""


@dataclass(frozen=True, slots=True)
class Newest:
    """Up to where people's acts are known: numbers of a payment, a transfer and a decision."""

    payment: int = 0
    transfer: int = 0
    decision: int = 0

    def after(self, acts: list[dict[str, Any]]) -> Newest:
        """What is known with these acts, and not one that came while they were written down."""
        return Newest(
            max([self.payment, *(act["created"]["number"] for act in acts if "created" in act)]),
            max([self.transfer, *(act["spent"]["transfer"] for act in acts if "spent" in act)]),
            max([self.decision, *(act["resolved"]["decision"] for act in acts if "resolved" in act)]),
        )


def newest(tx: Tx) -> Newest:
    row = tx.one(
        "SELECT (SELECT MAX(number) FROM payment) AS payment, (SELECT MAX(id) FROM transfer) AS transfer,"
        " (SELECT MAX(id) FROM resolution) AS decision"
    )
    return Newest(row["payment"] or 0, row["transfer"] or 0, row["decision"] or 0) if row else Newest()


def acts_and_state(tx: Tx, known: Newest) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """People's acts since, and a fingerprint of what has just these: another process may write at any moment."""
    return acts_after(tx, known), fingerprint(tx)


def is_new(tx: Tx) -> bool:
    """Whether nothing was sold and no block was read yet."""
    row = tx.one("SELECT cursor_hash FROM till")
    return newest(tx) == Newest() and (row is None or row["cursor_hash"] is None)


def fingerprint(tx: Tx) -> dict[str, str]:
    """A hash for each kind of facts: two databases that hold the same have the same, whatever their random numbers."""
    return {name: _hash(tx.all(statement)) for name, statement in _FACTS.items()}


def _hash(rows: list[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row[name] for name in row.keys()]).encode() + b"\n")  # noqa: SIM118 - a sqlite3.Row
    return digest.hexdigest()[:16]


def acts_after(tx: Tx, known: Newest) -> list[dict[str, Any]]:
    """What people did since: payments that were created, credits that were spent, decisions of the operator, each as
    the words of a record."""
    created = tx.all("SELECT * FROM payment WHERE number > :number ORDER BY number", number=known.payment)
    spent = tx.all(
        "SELECT id, user_id, credits, reference, created_at FROM transfer"
        " WHERE id > :id AND kind = 'spend' ORDER BY id",
        id=known.transfer,
    )
    decided = tx.all("SELECT id FROM resolution WHERE id > :id ORDER BY id", id=known.decision)
    return [
        *({"created": _created(row)} for row in created),
        *({"spent": _spent(row)} for row in spent),
        *({"resolved": _resolved(tx, row["id"])} for row in decided),
    ]


def _spent(row: Row) -> dict[str, Any]:
    return {
        "transfer": row["id"],
        "user_id": row["user_id"],
        "credits": -row["credits"],
        "reference": row["reference"],
        "at": row["created_at"],
    }


def _resolved(tx: Tx, number: int) -> dict[str, Any]:
    payment_id, made = decision_by_id(tx, number)
    return {
        "decision": made.id,
        "payment_id": payment_id,
        "action": made.action.value,
        "reason": made.reason,
        "refund_txid": made.refund_txid,
        "coins": [list(coin) for coin in made.coins],
        "at": made.decided_at,
    }


def _created(row: Row) -> dict[str, Any]:
    kept = ("number", "id", "user_id", "package_id", "metadata", "address", "address_index")
    terms = ("amount_sat", "credits", "confirmations_required", "tolerance_sat", "late", "excess")
    return {
        **{name: row[name] for name in kept},
        "terms": {name: row[name] for name in (*terms, "created_at", "expires_at")}
        | {"tiers": json.loads(row["tiers"])},
    }


def create_again(tx: Tx, act: dict[str, Any], keychain_id: int, derive: Derive) -> PaymentRecord:
    """A recorded payment, under its own id."""
    given = dict(act["terms"])
    given |= {"late": LatePolicy(given["late"]), "excess": ExcessPolicy(given["excess"])}
    terms = Terms(**given | {"tiers": tuple((above, depth) for above, depth in given["tiers"])})
    wanted = NewPayment(act["user_id"], act["package_id"], act["metadata"], terms, max_open=1_000_000_000)
    step_over(tx, keychain_id, act.get("address_index", 0))  # as it may have done, which no older record says
    return create(tx, wanted, keychain_id, derive, terms.created_at, payment_id=act["id"])


def spend_again(tx: Tx, act: dict[str, Any]) -> int:
    """A recorded spend; the number of its transfer."""
    return int(spend_credits(tx, act["user_id"], act["credits"], act["reference"], act["at"]).entry["id"])


def resolve_again(tx: Tx, act: dict[str, Any]) -> int:
    """A recorded decision about the same coins; its number."""
    coins = [OutPoint(txid, vout) for txid, vout in act["coins"]]
    done = resolve(
        tx,
        act["payment_id"],
        Resolution(act["action"]),
        act["reason"],
        act["at"],
        refund_txid=act["refund_txid"],
        coins=coins or None,
    )
    return done.decision.id


def ledger_shown(tx: Tx) -> dict[str, Any]:
    """Transfers in their order, balances, payments: what a person compares."""
    accounts = tx.all("SELECT kind, unit, owner, balance FROM account ORDER BY kind, unit, owner")
    payments = tx.all(
        "SELECT number, id AS payment_id, user_id, status, flags, received_sat, confirmed_sat, credits_posted,"
        " failure_reason, tx_hash, detected_at, confirmed_at, completed_at, sequence FROM payment ORDER BY number"
    )
    last = tx.one("SELECT hash FROM transfer ORDER BY id DESC LIMIT 1")
    return {
        "transfers": [_transfer(tx, row) for row in tx.all("SELECT * FROM transfer ORDER BY id")],
        "accounts": [dict(row) for row in accounts],
        "payments": [dict(row) for row in payments],
        "ledger_hash": None if last is None else last["hash"],
    }


def _transfer(tx: Tx, row: Row) -> dict[str, Any]:
    moved = tx.one(
        "SELECT coalesce(sum(abs(l.delta)), 0) AS sat FROM transfer_line l JOIN account a ON a.id = l.account_id"
        " WHERE l.transfer_id = :id AND a.unit = 'sat'",
        id=row["id"],
    )
    kept = ("id", "kind", "payment_number", "user_id", "txid", "vout", "epoch", "credits", "reference", "created_at")
    return {
        **{name: row[name] for name in kept},
        "moved_sat": int(moved["sat"]) // 2 if moved else 0,
        "evidence": json.loads(row["evidence"]),
        "hash": row["hash"],
    }
