"""`nodetill restore`: a backup into an empty place, and what the operator has to look at afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from commands.backup import header_view
from commands.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    print_json,
    refuse,
    settings_from,
    with_database,
)
from commands.event_context import event_context
from commands.keychain import open_keychain
from commands.progress import Progress
from config.settings import Settings
from node_watcher.clock import now_ms
from payments.difference import Difference
from payments.view import rfc3339
from storage.api_keys import ApiKey, list_keys
from storage.audit.alone import audit_alone
from storage.audit.question import Step
from storage.backup.backup_file import BackupFile
from storage.backup.file_format import Header
from storage.backup.restore import Wanted
from storage.backup.restore import restore as put_back
from storage.backup.step_ahead import Descriptor, Stepped
from storage.database import Database
from storage.errors import BackupRefused, DatabaseBusy, DatabaseUnusable
from storage.till import DISTANCE
from storage.tx import Tx


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it. `keys` are those that open the API now."""

    header: Header
    stepped: Stepped
    ledger: str
    differences: list[Difference]
    keys: list[ApiKey]


def restore(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file that `nodetill backup` wrote, from either database.")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    step_over: Annotated[
        int,
        typer.Option(help="So many addresses are left out, because they may have been shown since.", min=DISTANCE),
    ] = DISTANCE,
    as_json: JsonOption = False,
) -> None:
    """Put a backup into an empty place: a database file that does not exist, or an empty PostgreSQL database."""
    settings = settings_from(config)
    progress = Progress()
    try:
        with BackupFile(file) as backup:
            stepped = put_back(backup, _wanted(settings, step_over), progress.step)
        ledger, differences, keys = _look(settings, progress.step)
    except (BackupRefused, DatabaseUnusable, DatabaseBusy) as error:
        refuse(str(error))
    finally:
        progress.end()
    done = Restored(backup.header, stepped, ledger, differences, keys)
    if as_json:
        print_json(_view(file, done))
    else:
        _show(file, done)
    raise typer.Exit(1 if done.differences else 0)


def _wanted(settings: Settings, distance: int) -> Wanted:
    keychain = open_keychain(settings)
    return Wanted(
        url=settings.database.url.get_secret_value(),
        network=settings.node.network,
        descriptor=Descriptor(keychain.descriptor.fingerprint, keychain.descriptor.text, keychain.watch_only),
        distance=distance,
        now=now_ms(),
        context=event_context(settings),
    )


@with_database
async def _look(settings: Settings, step: Step) -> tuple[str, list[Difference], list[ApiKey]]:
    async with Database(settings.database.url.get_secret_value(), read_only=True) as database:
        ledger, differences = await database.read_aside(audit_alone, step)
        return ledger, differences, await database.read(_keys_that_work)


def _keys_that_work(tx: Tx) -> list[ApiKey]:
    return [key for key in list_keys(tx) if key.revoked_at is None]


def _view(file: Path, done: Restored) -> dict[str, Any]:
    return {
        "file": str(file),
        "ok": not done.differences,
        "backup": header_view(done.header),
        "ledger_hash": done.ledger,
        "next_index": done.stepped.next_index,
        "event": done.stepped.event,
        "active_keys": [{"id": k.id, "name": k.name, "scopes": sorted(k.scopes)} for k in done.keys],
        "differences": [
            {"check": d.check.value, "about": d.about, "detail": d.detail, "difference_sat": abs(d.sat)}
            for d in done.differences
        ],
    }


def _show(file: Path, done: Restored) -> None:
    out = Console(soft_wrap=True, highlight=False)
    header = done.header
    out.print(
        f"Restored {header.total} rows from {escape(str(file))}, a backup of {rfc3339(header.created_at)}. "
        f"Newest ledger hash: {done.ledger}"
    )
    for found in done.differences:
        out.print(f"{found.check.value}: {escape(found.detail)}")
    if not done.differences:
        out.print("The ledger agrees with itself and with what is recorded.")
    out.print(
        f"The next address will be that with index {done.stepped.next_index} at the least; events go on at number "
        f"{done.stepped.event}."
    )
    if done.keys:
        out.print("These API keys work, also those that were revoked since the backup; revoke them again:")
    for key in done.keys:
        out.print(f"  {key.id}  {escape(key.name)}  {' '.join(sorted(key.scopes))}")
    out.print("Forgotten, because it came after the backup: payments, spent credits, keys that were made, decisions.")
    out.print("Now start the service, let it read the blocks since, and run `nodetill audit --full`.")
