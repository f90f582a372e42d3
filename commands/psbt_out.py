"""`nodetill forward psbt --out`: what is to be signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from commands.console import (
    print_json,
    with_database,
)
from commands.offline_desk import offline_desk
from commands.psbt_file import PIPE, write_psbt
from config.settings import Settings
from node_watcher.clock import now_ms
from node_watcher.forwarding.feerate import feerates
from node_watcher.forwarding.handing_out import HandedOut, HandingOut
from payments.amount import btc_text
from payments.sweep_plan import plan
from storage import signed_elsewhere
from storage.coins_due import coins_due
from storage.database import Database

_EVERYTHING = 1_000_000


@with_database
async def hand_out(settings: Settings, batch: int, replace: str | None) -> HandedOut:
    url = settings.database.url.get_secret_value()
    async with (
        Database(url, read_only=True) as database,
        offline_desk(settings, database) as (desk, descriptor, tip),
    ):
        rates = await feerates(desk.rpc, desk.rules.target_blocks, desk.network)
        making = HandingOut(desk, descriptor)
        if replace is not None:
            found = await database.read(signed_elsewhere.replaceable, replace)
            return await making.replacement(found, rates, tip)
        coins = await database.read(coins_due, desk.keychain_id, _EVERYTHING)
        made = plan(coins, rates.now, desk.rules, desk.vsize_of, now_ms(), at_once=True)
        return await making.batch(made, batch, rates, tip)


def give_out(handed: HandedOut, out: Path, as_json: bool) -> None:
    if out != PIPE:
        write_psbt(out, handed.psbt)
    elif not as_json:
        print(handed.psbt)
    if as_json:
        print_json(_view(handed, out))
        return
    arrives = handed.value_sat - handed.fee_sat
    lines = [
        f"Spends {len(handed.coins)} coins of {btc_text(handed.value_sat)} BTC"
        + (f", and replaces {handed.replaces}" if handed.replaces else "")
        + ".",
        f"Compare on the device: {btc_text(arrives)} BTC arrive at {handed.destination}",
        f"Fee {handed.fee_sat} sat for up to {handed.vsize} vB.",
    ]
    if handed.gone:
        lines.append(
            f"Left out: {len(handed.gone)} coins that the node says are spent, by whom nodetill does not know."
        )
    if handed.bare:
        lines.append(
            f"The node could not show {len(handed.bare)} of the transactions that paid (it is pruned?): some hardware"
            " wallets ask for them."
        )
    where = "It" if out == PIPE else str(out)
    lines.append(
        f"{where} is not signed. Sign it without sending it, and hand it in with `nodetill forward psbt --in FILE`."
    )
    for line in lines:
        typer.echo(line, err=out == PIPE)


def _view(handed: HandedOut, out: Path) -> dict[str, Any]:
    return {
        "out": None if out == PIPE else str(out),
        "psbt": handed.psbt if out == PIPE else None,
        "destination": handed.destination,
        "inputs": [
            {
                "txid": coin.outpoint.txid,
                "vout": coin.outpoint.vout,
                "value_sat": coin.value_sat,
                "payment_id": coin.payment_id,
            }
            for coin in handed.coins
        ],
        "value_sat": handed.value_sat,
        "fee_sat": handed.fee_sat,
        "arrives_sat": handed.value_sat - handed.fee_sat,
        "max_vsize": handed.vsize,
        "replaces": handed.replaces,
        "left_out": [f"{coin.outpoint.txid}:{coin.outpoint.vout}" for coin in handed.gone],
        "without_previous": list(handed.bare),
    }
