"""The JSON that people and shops see of a payment (contract, section "Payment")."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from payments.amount import btc_text
from payments.facts import OutputFact
from payments.record import PaymentRecord
from payments.status import confirmations_of
from payments.uri import payment_uri

GONE_SHOWN = 20
"""Outputs that were replaced, dropped or reorganised away, shown beside those that count."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(ms: int) -> str:
    """Milliseconds since the epoch as `2026-11-22T23:59:59.123Z` (RFC 3339, UTC)."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _maybe(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def output_view(output: OutputFact, tip_height: int) -> dict[str, Any]:
    """One entry of `transactions`."""
    shown: dict[str, Any] = {
        "txid": output.outpoint.txid,
        "vout": output.outpoint.vout,
        "amount_sat": output.value_sat,
        "confirmations": output.depth(tip_height),
        "block_height": output.height,
        "state": output.state.value,
    }
    if output.replaced_by is not None:
        shown["replaced_by"] = output.replaced_by
    if output.decision is not None:
        shown["decision"] = output.decision.value
    if output.refund_txid is not None:
        shown["refund_txid"] = output.refund_txid
    return shown


def _worth_showing(outputs: Sequence[OutputFact]) -> list[OutputFact]:
    """All that count, and the newest of those that do not: a payer may raise his fee a thousand times, and
    each event tells the whole payment."""
    gone = [o for o in outputs if not o.live]
    hidden = {o.outpoint for o in gone[:-GONE_SHOWN]}
    return [o for o in outputs if o.outpoint not in hidden]


def payment_view(record: PaymentRecord, public_url: str) -> dict[str, Any]:
    """The full payment. Confirmations are counted now, from the tip; everything else was derived with it."""
    facts, state, terms = record.facts, record.state, record.facts.terms
    return {
        "payment_id": record.id,
        "user_id": record.user_id,
        "package_id": record.package_id,
        "credits": terms.credits,
        "metadata": json.loads(record.metadata),
        "status": state.status.value,
        "flags": [flag.value for flag in state.flags],
        "amount_sat": terms.amount_sat,
        "amount_btc": btc_text(terms.amount_sat),
        "received_sat": state.received_sat,
        "confirmed_sat": state.confirmed_sat,
        "remaining_sat": state.remaining_sat,
        "address": record.address,
        "uri": payment_uri(record.address, terms.amount_sat),
        "checkout_url": f"{public_url}/pay/{record.id}",
        "confirmations": confirmations_of(facts, record.tip_height),
        "confirmations_required": terms.confirmations_required,
        "tx_hash": state.tx_hash,
        "transactions": [output_view(o, record.tip_height) for o in _worth_showing(facts.outputs)],
        "forwarding_tx_hash": record.forwarding_txid,
        "credited": facts.credits_posted,
        "failure_reason": state.failure_reason,
        "created_at": rfc3339(terms.created_at),
        "expires_at": rfc3339(terms.expires_at),
        "detected_at": _maybe(state.detected_at),
        "confirmed_at": _maybe(record.confirmed_at),
        "completed_at": _maybe(record.completed_at),
    }


def payers_view(record: PaymentRecord, public_url: str) -> dict[str, Any]:
    """What anybody who knows the payment id may see: nothing about who pays or what the shop noted."""
    shown = payment_view(record, public_url)
    del shown["user_id"], shown["metadata"]
    return shown
