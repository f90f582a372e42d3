"""The plan of money out as a table for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from payments.amount import btc_text
from payments.coin import Coin
from payments.forward import ForwardRules
from payments.sweep_plan import Plan
from payments.view import rfc3339
from storage.forwarding_view import ForwardingView, OpenSweep


@dataclass(frozen=True, slots=True)
class Planned:
    """`feerate` in sat/vB, None without an estimate. `offline`: nobody signs here."""

    view: ForwardingView
    plan: Plan
    feerate: Decimal | None
    rules: ForwardRules
    offline: bool = False


def planned_view(planned: Planned) -> dict[str, Any]:
    """For programs. Amounts in satoshi, shares in percent as text."""
    return {
        "paused": planned.view.paused and not planned.offline,
        "waits_for": "psbt" if planned.offline else None,
        "feerate": None if planned.feerate is None else f"{planned.feerate:f}",
        "max_feerate": f"{planned.rules.max_feerate:f}",
        "batches": [
            {
                "inputs": len(batch.coins),
                "value_sat": batch.value_sat,
                "fee_sat": batch.fee_sat,
                "fee_share": _share(batch.fee_sat, batch.value_sat),
                "coins": [_coin(coin) for coin in batch.coins],
            }
            for batch in planned.plan.batches
        ],
        "held": [_coin(entry.coin) | {"reason": entry.reason} for entry in planned.plan.held],
        "held_sat": sum(entry.coin.value_sat for entry in planned.plan.held),
        "sweeps": [asdict(sweep) | {"feerate": _feerate(sweep)} for sweep in planned.view.sweeps],
        "late": [f"{outpoint.txid}:{outpoint.vout}" for outpoint in sorted(planned.view.late)],
    }


def show_planned(planned: Planned) -> None:
    """For people: what goes, what stays and why, what is under way."""
    out = Console(soft_wrap=True, highlight=False)
    now = "no estimate" if planned.feerate is None else f"{planned.feerate:.2f} sat/vB"
    out.print(f"Feerate {now}, cap {planned.rules.max_feerate} sat/vB.")
    if planned.offline:
        out.print("Nobody signs here: coins wait for `nodetill forward psbt`.")
    elif planned.view.paused:
        out.print("Forwarding is paused: nothing is signed until `nodetill forward resume`.")
    if planned.plan.batches:
        table = Table("inputs", "BTC", "fee (sat)", "share", title_justify="left")
        table.title = "waits for a PSBT that you sign" if planned.offline else "goes with the next round"
        for batch in planned.plan.batches:
            share = f"{_share(batch.fee_sat, batch.value_sat)} %"
            table.add_row(str(len(batch.coins)), btc_text(batch.value_sat), str(batch.fee_sat), share)
        out.print(table)
    if planned.plan.held:
        table = Table("payment", "sat", "why it stays", title="stays", title_justify="left")
        for entry in planned.plan.held:
            table.add_row(entry.coin.payment_id, str(entry.coin.value_sat), escape(entry.reason))
        out.print(table)
    if planned.view.sweeps:
        table = Table("sweep", "state", "inputs", "BTC", "fee (sat)", "sat/vB", "versions", "what the node said last")
        table.title, table.title_justify = "under way", "left"
        for sweep in planned.view.sweeps:
            state = f"block {sweep.mined_at}" if sweep.mined_at is not None else sweep.state
            figures = (btc_text(sweep.value_sat), str(sweep.fee_sat), _feerate(sweep), str(sweep.versions))
            table.add_row(sweep.txid, state, str(sweep.inputs), *figures, escape(sweep.last_error or "-"))
        out.print(table)
    if planned.view.late:
        out.print(f"{len(planned.view.late)} coins are past forwarding.deadline_hours.")
    if not (planned.plan.batches or planned.plan.held or planned.view.sweeps):
        out.print("No coin waits.")


def _coin(coin: Coin) -> dict[str, Any]:
    return {
        "txid": coin.outpoint.txid,
        "vout": coin.outpoint.vout,
        "value_sat": coin.value_sat,
        "payment_id": coin.payment_id,
        "since": rfc3339(coin.since),
    }


def _share(fee_sat: int, value_sat: int) -> str:
    return _hundredths(fee_sat * 100, value_sat)


def _feerate(sweep: OpenSweep) -> str:
    return _hundredths(sweep.fee_sat, sweep.vsize) if sweep.vsize else "-"


def _hundredths(part: int, whole: int) -> str:
    """How many times `whole` goes into `part`, with two digits after the point, rounded down."""
    return f"{part // whole}.{part * 100 // whole % 100:02}"
