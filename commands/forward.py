"""`nodetill forward`: money out, as the operator sees and orders it."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from commands.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    print_json,
    refuse,
    settings_from,
    with_database,
)
from commands.forward_plan import Planned, planned_view, show_planned
from commands.forward_psbt import psbt
from commands.forward_rules import forward_rules
from commands.keychain import destination_of, public_keychain
from commands.node_client import rpc_client
from commands.progress import Progress
from commands.till import reading, writing
from config.settings import Settings
from node_watcher.clock import now_ms
from node_watcher.forwarding.feerate import feerates
from node_watcher.rpc import NodeError
from node_watcher.signing.signer import estimate_vsize
from payments.sweep_plan import plan as plan_of
from storage import forward_orders
from storage.database import Database
from storage.forward_orders import Answer
from storage.forwarding_view import forwarding_view

app = typer.Typer(no_args_is_help=True, help="Money out (forwarding mode): what goes when, and why not yet.")
app.command("psbt")(psbt)
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.2


@app.command("plan")
def plan(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show what the next round would sweep and for what fee, what stays and why, and what is under way."""
    settings = _forwarding(settings_from(config))
    try:
        planned = _plan(settings)
    except NodeError as error:
        refuse(str(error))
    if as_json:
        print_json(planned_view(planned))
    else:
        show_planned(planned)


@with_database
async def _plan(settings: Settings) -> Planned:
    script, offline = destination_of(settings).script_pubkey, settings.wallet.mode == "offline"
    size = public_keychain(settings).size if offline else None
    rules, rpc = forward_rules(settings.forwarding), rpc_client(settings)
    try:
        async with reading(settings) as database:
            view = await database.read(forwarding_view)
        rates = await feerates(rpc, rules.target_blocks, settings.node.network)
    finally:
        await rpc.close()
    vsize_of = size or (lambda inputs: estimate_vsize(inputs, script))
    made = plan_of(view.coins, rates.now, rules, vsize_of, now_ms(), at_once=offline)
    return Planned(view, made, rates.now, rules, offline)


@app.command("run")
def run(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Sweep now what the rules allow, without waiting for company. The running service does it."""
    _say(_order(_signing(settings_from(config)), "run", None), as_json)


@app.command("bump")
def bump(
    txid: Annotated[str, typer.Argument(metavar="TXID", help="A sweep, or an earlier version of it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Replace a sweep that no block takes by one that pays more, up to forwarding.max_feerate."""
    txid = txid.strip().lower()
    if len(txid) != 64 or set(txid) - set("0123456789abcdef"):
        refuse("TXID: 64 hexadecimal digits are needed, as `nodetill forward plan` shows them.")
    _say(_order(_signing(settings_from(config)), "bump", txid), as_json)


@with_database
async def _order(settings: Settings, kind: str, txid: str | None) -> Answer:
    """Leave the order, and wait for the service to answer it."""
    progress = Progress()
    async with writing(settings) as database:
        number = await database.write(forward_orders.ask, kind, txid, now_ms())
        until = time.monotonic() + _PATIENCE_SECONDS
        try:
            while (answer := await database.read(forward_orders.answer_of, number)) is None:
                if time.monotonic() > until:
                    return await _withdraw(database, number)
                progress.step("the service's answer, seconds", int(_PATIENCE_SECONDS - until + time.monotonic()), 60)
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            progress.end()
    return answer


async def _withdraw(database: Database, number: int) -> Answer:
    nobody = Answer(
        False,
        "the service did not answer within a minute, and the order is withdrawn: is it running, is /readyz green?",
    )
    if await database.write(forward_orders.answer_order, number, nobody, now_ms()):
        return nobody
    return await database.read(forward_orders.answer_of, number) or nobody


@app.command("pause")
def pause(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Sign nothing new until `resume`. What has left already is kept alive; credits go on."""
    _pause(_signing(settings_from(config)), True, as_json)


@app.command("resume")
def resume(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Go on after `pause`."""
    _pause(_signing(settings_from(config)), False, as_json)


def _pause(settings: Settings, paused: bool, as_json: bool) -> None:
    changed = _write_pause(settings, paused)
    if as_json:
        print_json({"paused": paused, "changed": changed})
    else:
        print(f"Forwarding is {'paused' if paused else 'going on'}{'' if changed else ', as before'}.")


@with_database
async def _write_pause(settings: Settings, paused: bool) -> bool:
    async with writing(settings) as database:
        return await database.write(lambda tx: forward_orders.pause(tx, paused=paused))


def _say(answer: Answer, as_json: bool) -> None:
    if as_json:
        print_json({"done": answer.done, "answer": answer.sentence})
    else:
        typer.echo(f"{answer.sentence[:1].upper()}{answer.sentence[1:]}.", err=not answer.done)
    raise typer.Exit(0 if answer.done else 1)


def _forwarding(settings: Settings) -> Settings:
    if settings.wallet.mode == "watch-only":
        refuse(
            "wallet.descriptor: this till is watch-only, its coins are in your wallet at once and nothing is forwarded;"
            " see `nodetill init --help` for forwarding mode."
        )
    return settings


def _signing(settings: Settings) -> Settings:
    if _forwarding(settings).wallet.mode == "offline":
        refuse(
            "wallet.signer_socket is not set: nobody signs here, and coins wait until you do;"
            " `nodetill forward psbt` hands out what is to be signed, and takes it back."
        )
    return settings
