"""`nodetill credits`: what a user has, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from commands.console import DEFAULT_CONFIG, ConfigOption, JsonOption, print_json, settings_from, with_database
from commands.payment_pages import print_table
from commands.till import reading
from config.settings import Settings
from storage.credits import balance_of, entries_of
from storage.tx import Tx

app = typer.Typer(no_args_is_help=True, help="Credits of the site's users.")
_MOST = 1_000


@app.callback()
def group() -> None:
    """Credits of the site's users."""


@app.command("show")
def show(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id, as the site gives it.")],
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="At most so many entries.")] = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Balance and entries, newest first. Who was never heard of has 0."""
    balance, entries = _statement(settings_from(config), user, limit)
    if as_json:
        print_json({"user_id": user, "balance": balance, "entries": entries})
        return
    if entries:
        table = Table("id", "amount", "kind", "payment", "reference", "balance after", "created")
        for entry in entries:
            table.add_row(*("-" if value is None else escape(str(value)) for value in entry.values()))
        print_table(table)
    print(f"{user} has {balance} credits.")


@with_database
async def _statement(settings: Settings, user: str, limit: int) -> tuple[int, list[dict[str, Any]]]:
    def read(tx: Tx) -> tuple[int, list[dict[str, Any]]]:
        return balance_of(tx, user), entries_of(tx, user, None, limit)

    async with reading(settings) as database:
        return await database.read(read)
