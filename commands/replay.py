"""`nodetill replay`: a record once more, in an empty database."""

from __future__ import annotations

import logging
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from commands.console import JsonOption, print_json, refuse, with_database
from commands.log_output import set_up
from commands.progress import Progress
from node_watcher.record.lines import BadRecord
from node_watcher.record.player import Parted, Player
from node_watcher.record.reading import Reading
from node_watcher.record.replayed_till import ReplayedDatabase, ReplayedTill
from payments.view import rfc3339
from storage.recorded import is_new, ledger_shown
from storage.tx import Context

_WIDE = 160


def replay(
    file: Annotated[Path, typer.Argument(help="What `serve --record` has written.", show_default=False)],
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="An empty SQLite database to keep, such as sqlite:///x.db.")
    ] = None,
    mended: Annotated[
        bool,
        typer.Option(
            "--mended", help="The code was mended since: its questions stand in the record, its results do not."
        ),
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Let the parts say what they said, on standard error.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a record of the service into an empty database and print the ledger that comes of it."""
    if database is not None and not database.startswith("sqlite:///"):
        refuse("--database: a record is replayed into SQLite, such as sqlite:///incident.db")
    logging.getLogger("nodetill").addHandler(logging.NullHandler())
    if log:
        set_up("console", "info")
    try:
        with tempfile.TemporaryDirectory(prefix="nodetill-replay-") as folder:
            shown, parted = _replay(file, database or f"sqlite:///{folder}/till.db", mended)
    except BadRecord as error:
        refuse(str(error))
    if as_json:
        print_json(shown)
    else:
        _show(shown)
    if parted is not None:
        print(f"nodetill: {parted}", file=sys.stderr)
    raise typer.Exit(0 if parted is None else 1)


@with_database
async def _replay(file: Path, url: str, mended: bool) -> tuple[dict[str, Any], Parted | None]:
    """The ledger as far as it came, and where the replay parted from the record."""
    reading, parted = Reading(file), None
    progress = Progress()
    try:
        async with ReplayedDatabase(url, Context()) as database:
            if not await database.read(is_new):
                refuse(f"--database: {url} is not empty; name a file that does not exist yet.")
            player = Player(
                reading, ReplayedTill(database), partial(progress.step, "the record", of=reading.size), mended=mended
            )
            try:
                await player.play()
            except Parted as error:
                parted = error
            shown = {
                "ok": parted is None,
                "parted": None if parted is None else str(parted),
                "runs": player.runs,
                "lines": player.lines,
                "cut": reading.cut,
                "compared_at_end": player.kept and not mended,
            }
            return shown | await database.read(ledger_shown), parted
    finally:
        reading.close()
        progress.end()


def _table(*columns: str) -> Table:
    return Table(*(Column(column, overflow="fold") for column in columns))


def _show(shown: dict[str, Any]) -> None:
    out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    table = _table("#", "kind", "payment", "user", "output", "sat", "credits", "evidence", "at")
    for row in shown["transfers"]:
        proof = row["evidence"]
        where = f"{proof['block_height']} {proof['block_hash'][:12]}…" if "block_height" in proof else ""
        table.add_row(
            str(row["id"]),
            row["kind"],
            str(row["payment_number"] or ""),
            escape(row["user_id"] or ""),
            f"{row['txid'][:12]}…:{row['vout']}" if row["txid"] else escape(row["reference"] or ""),
            str(row["moved_sat"] or ""),
            str(row["credits"] or ""),
            where,
            rfc3339(row["created_at"]),
        )
    out.print(table)
    balances = _table("account", "owner", "balance", "unit")
    for row in shown["accounts"]:
        balances.add_row(row["kind"], escape(row["owner"]), str(row["balance"]), row["unit"])
    out.print(balances)
    end = "ends as the record does" if shown["compared_at_end"] else "ends where the record was cut off"
    out.print(
        f"{shown['lines']} lines, {shown['runs']} runs, {len(shown['payments'])} payments; {end}. "
        f"Newest ledger hash: {shown['ledger_hash']}"
        if shown["ok"]
        else f"The replay parted from the record after {shown['lines']} lines; this is the ledger up to there."
    )
