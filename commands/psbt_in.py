"""`nodetill forward psbt --in`: what was signed comes back, is stored, and is sent by the service."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import typer

from commands.console import (
    print_json,
    with_database,
)
from commands.event_context import event_context
from commands.offline_desk import offline_desk
from commands.progress import Progress
from config.settings import Settings
from node_watcher.clock import now_ms
from node_watcher.forwarding.handing_in import hand_in
from payments.amount import btc_text
from storage import signed_elsewhere
from storage.database import Database
from storage.errors import AlreadyThere, NotToBeSpent
from storage.sweep_versions import Sweep, sweep_by_txid

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class CameIn:
    """A sweep that was handed in, how far it is, and what is to be said of it."""

    sweep: Sweep
    state: str
    inputs: int
    new: bool
    good: bool
    sentence: str


@with_database
async def take_in(settings: Settings, given: bytes, patience: int) -> CameIn:
    url = settings.database.url.get_secret_value()
    async with Database(url, event_context(settings)) as database:
        async with offline_desk(settings, database) as (desk, _, tip):
            handed = await hand_in(desk, given, tip)
        sweep, outpoints, known = handed.sweep, handed.outpoints, handed.known
        if not known:
            try:
                write = signed_elsewhere.store_signed
                await database.write(write, sweep, desk.keychain_id, outpoints, now_ms())
            except AlreadyThere:
                if await database.read(sweep_by_txid, sweep.txid) is None:
                    raise NotToBeSpent("its coins went into another sweep just now: see `forward plan`") from None
                known = True
        if known:
            state = (await database.read(signed_elsewhere.came_of, sweep.txid)).state
            sentence = f"sweep {sweep.txid} was handed in before, and is {state}; nothing was changed"
            return CameIn(sweep, state, len(outpoints), False, True, sentence)
        return await _sent(database, sweep, len(outpoints), patience)


async def _sent(database: Database, sweep: Sweep, inputs: int, patience: int) -> CameIn:
    """Wait for the service to send what is stored."""
    progress, begun = Progress(), time.monotonic()
    try:
        while (came := await database.read(signed_elsewhere.came_of, sweep.txid)).state == "stored":
            if came.last_error is not None:
                why = f"the node did not take it: {came.last_error}; it is offered again"
                said = f"sweep {sweep.txid} is stored, but {why}"
                return CameIn(sweep, came.state, inputs, True, False, said)
            if time.monotonic() - begun >= patience:
                said = (
                    f"sweep {sweep.txid} is stored, and was not sent within {patience} seconds: it goes out as soon as"
                    " the service runs and /readyz is green"
                )
                return CameIn(sweep, came.state, inputs, True, True, said)
            progress.step("what the service does, seconds", int(time.monotonic() - begun), patience)
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        progress.end()
    arrives = btc_text(sweep.value_sat - sweep.fee_sat)
    said = f"{arrives} BTC are on their way to {sweep.destination}, for a fee of {sweep.fee_sat} sat. TX: {sweep.txid}"
    return CameIn(sweep, came.state, inputs, True, True, said)


def say_came(came: CameIn, as_json: bool) -> None:
    sweep = came.sweep
    if as_json:
        facts = ("txid", "replaces", "destination", "value_sat", "fee_sat", "vsize")
        shown = {name: getattr(sweep, name) for name in facts}
        print_json(shown | {"inputs": came.inputs, "state": came.state, "new": came.new, "answer": came.sentence})
    else:
        typer.echo(f"{came.sentence[:1].upper()}{came.sentence[1:]}.", err=not came.good)
    raise typer.Exit(0 if came.good else 1)
