"""`nodetill keys`: API keys."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from commands.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    print_json,
    refuse,
    settings_from,
    with_database,
)
from config.settings import Settings
from node_watcher.clock import now_ms
from payments.view import rfc3339
from storage.api_keys import SCOPES, ApiKey, create_key, list_keys, revoke_key
from storage.database import Database

app = typer.Typer(no_args_is_help=True, help="API keys for the shop's own programs.")
_LONGEST_NAME = 100
_SCOPE_HELP = f"What the key may do; repeat for more: {', '.join(SCOPES)}."


def _open(settings: Settings) -> Database:
    return Database(settings.database.url.get_secret_value())


@app.command("create")
def create(
    name: Annotated[str, typer.Option(help="What it is for, so that you know it again.")],
    scope: Annotated[list[str], typer.Option(help=_SCOPE_HELP)],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make a key. Its secret is printed once and kept nowhere."""
    settings = settings_from(config)
    unknown = [given for given in scope if given not in SCOPES]
    if unknown:
        refuse(f"--scope {', '.join(unknown)}: choose from {', '.join(SCOPES)}.")
    name = name.strip()
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        refuse(f"--name: write 1 to {_LONGEST_NAME} printable characters, such as shop.")
    key_id, key = _create(settings, name, scope)
    if as_json:
        print_json({"id": key_id, "key": key, "scopes": list(dict.fromkeys(scope))})
    else:
        print(key)
        Console(stderr=True).print("Keep it now: it is not shown again.", style="dim")


@with_database
async def _create(settings: Settings, name: str, scope: list[str]) -> tuple[str, str]:
    async with _open(settings) as database:
        return await database.write(create_key, name, scope, now_ms())


@app.command("list")
def show(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List keys, without their secrets."""
    keys = _list(settings_from(config))
    if as_json:
        print_json({"keys": [_view(key) for key in keys]})
        return
    table = Table("id", "name", "scopes", "created", "last used", "revoked")
    for view in map(_view, keys):
        table.add_row(*(escape(" ".join(v) if isinstance(v, list) else (v or "-")) for v in view.values()))
    Console().print(table)


@with_database
async def _list(settings: Settings) -> list[ApiKey]:
    async with _open(settings) as database:
        return await database.read(list_keys)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key at once."""
    done = _revoke(settings_from(config), key_id)
    if as_json:
        print_json({"id": key_id, "revoked": done})
    elif done:
        print(f"Key {key_id} is revoked.")
    if not done:
        if not as_json:
            typer.echo(f"nodetill: no working key has the id {key_id}; see `nodetill keys list`.", err=True)
        raise typer.Exit(1)


@with_database
async def _revoke(settings: Settings, key_id: str) -> bool:
    async with _open(settings) as database:
        return await database.write(revoke_key, key_id, now_ms())


def _view(key: ApiKey) -> dict[str, str | list[str] | None]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": rfc3339(key.created_at),
        "last_used_at": rfc3339(key.last_used_at) if key.last_used_at else None,
        "revoked_at": rfc3339(key.revoked_at) if key.revoked_at else None,
    }
