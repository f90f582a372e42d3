"""How the operator's payments look: tables for people, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from payments.attention import Concern
from payments.record import PaymentRecord
from payments.view import output_view, payment_view, rfc3339
from storage.payment_page import PaymentPage
from storage.resolutions import Decision


def concern_view(one: Concern) -> dict[str, Any]:
    return {
        "kind": one.kind.value,
        "payment_id": one.payment_id,
        "txid": one.txid,
        "amount_sat": one.sat,
        "sentence": one.sentence,
        "since": rfc3339(one.since),
    }


def decision_view(made: Decision) -> dict[str, Any]:
    return {
        "id": made.id,
        "action": made.action.value,
        "reason": made.reason,
        "refund_txid": made.refund_txid,
        "coins": [{"txid": coin.txid, "vout": coin.vout} for coin in made.coins],
        "decided_at": rfc3339(made.decided_at),
    }


def page_view(page: PaymentPage, public_url: str) -> dict[str, Any]:
    """The full payment, with all its coins, and what stands about it in the books."""
    payment = page.payment
    return {
        **payment_view(payment, public_url),
        "transactions": [output_view(output, payment.tip_height) for output in payment.facts.outputs],
        "attention": [concern_view(one) for one in page.concerns],
        "decisions": [decision_view(made) for made in page.decisions],
        "ledger": [_told(row) for row in page.entries],
        "events": [_told(row) for row in page.events],
        "sweeps": [_told(row) for row in page.sweeps],
    }


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {name: rfc3339(value) if name == "created_at" else value for name, value in row.items()}


def _out() -> Console:
    """No line is broken where there is no terminal: ids are to be copied."""
    return Console(highlight=False, soft_wrap=True)


def show_payments(found: Sequence[PaymentRecord]) -> None:
    table = Table("payment", "user", "status", "flags", "asked", "received", "credited", "created")
    for record in found:
        terms, state = record.facts.terms, record.state
        table.add_row(
            record.id,
            escape(record.user_id),
            state.status.value + (f" ({state.failure_reason})" if state.failure_reason else ""),
            " ".join(flag.value for flag in state.flags) or "-",
            str(terms.amount_sat),
            str(state.received_sat),
            str(record.facts.credits_posted),
            rfc3339(terms.created_at),
        )
    print_table(table)


def show_concerns(waiting: Sequence[Concern], total: int) -> None:
    """A sentence each: whoever reads it is to act on it."""
    if not total:
        print("Nothing waits for you.")
        return
    table = Table("since", "about", "why", "sat", "what to do", show_lines=True)
    for one in waiting:
        about = one.payment_id or one.txid or "-"
        table.add_row(rfc3339(one.since), about, one.kind.value, str(one.sat), escape(one.sentence))
    print_table(table)
    if total > len(waiting):
        print(f"{total - len(waiting)} more: raise --limit.")


def show_page(page: PaymentPage, public_url: str) -> None:
    out, shown = _out(), page_view(page, public_url)
    for name in (
        *("payment_id", "user_id", "package_id", "status", "failure_reason", "flags", "address", "amount_sat"),
        *("received_sat", "confirmed_sat", "remaining_sat", "confirmations", "confirmations_required", "credits"),
        *("credited", "created_at", "expires_at", "detected_at", "confirmed_at", "completed_at"),
    ):
        value = shown[name]
        out.print(f"{name:<24}{escape(' '.join(value) if isinstance(value, list) else str(value))}")
    for one in page.concerns:
        out.print(f"{'needs attention':<24}{escape(one.sentence)}")
    for title, rows in (
        ("Coins", shown["transactions"]),
        ("Decisions", [{**made, "coins": len(made["coins"])} for made in shown["decisions"]]),
        ("Ledger", [{k: v for k, v in row.items() if k != "evidence"} for row in shown["ledger"]]),
        ("Events", shown["events"]),
        ("Sweeps", shown["sweeps"]),
    ):
        if rows:
            names = list(dict.fromkeys(name for row in rows for name in row))
            table = Table(*names, title=title, title_justify="left")
            for row in rows:
                table.add_row(*("-" if row.get(name) is None else escape(str(row[name])) for name in names))
            print_table(table)


def print_table(table: Table) -> None:
    """As wide as it is where there is no terminal: programs cut ids out of it."""
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=max(80, Console(width=10_000).measure(table).maximum))
    out.print(table)
