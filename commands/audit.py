"""`nodetill audit`: compare the chain, the facts and the ledger, and print what differs."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated, Any

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
from commands.node_client import rest_client, rpc_client
from commands.progress import Progress
from config.settings import Settings
from node_watcher.audit import Audit, Auditor
from node_watcher.blocks import BlockSource
from node_watcher.chain_scan import ChainScan
from node_watcher.rpc import NodeError
from node_watcher.watchlist import Watchlist
from storage.database import Database


def audit(
    config: ConfigOption = DEFAULT_CONFIG,
    full: Annotated[
        bool, typer.Option("--full", help="Every block since the beginning and every payment, not the last two days.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the node's chain with the ledger, read-only, beside a running service or without one."""
    settings = settings_from(config)
    progress = Progress()
    try:
        done = _audit(settings, full, progress)
    except NodeError as error:
        refuse(str(error))
    finally:
        progress.end()
    if as_json:
        print_json(_view(done))
    else:
        _show(done)
    raise typer.Exit(1 if done.differences else 0)


@with_database
async def _audit(settings: Settings, full: bool, progress: Progress) -> Audit:
    async with AsyncExitStack() as stack:
        url = settings.database.url.get_secret_value()
        database = await stack.enter_async_context(Database(url, read_only=True))
        rpc, rest = rpc_client(settings), rest_client(settings)
        stack.push_async_callback(rpc.close)
        stack.push_async_callback(rest.close)
        watchlist = Watchlist(database)
        await watchlist.refresh()
        auditor = Auditor(
            rpc,
            ChainScan(rpc, BlockSource(rpc, rest), watchlist),
            database,
            network=settings.node.network,
            destination=settings.wallet.forward_to,
            step=progress.step,
            say=progress.say,
        )
        return await auditor.run(full=full)


def _view(done: Audit) -> dict[str, Any]:
    return {
        "ok": not done.differences,
        "full": done.full,
        "from_height": done.from_height,
        "to_height": done.to_height,
        "node_height": done.node_tip.height,
        "blocks": done.blocks,
        "transfers": done.findings.transfers,
        "payments": done.findings.payments,
        "ledger_hash": done.findings.ledger_hash,
        "difference_sat": done.difference_sat,
        "differences": [
            {"check": d.check.value, "about": d.about, "detail": d.detail, "difference_sat": abs(d.sat)}
            for d in done.differences
        ],
        "notes": done.findings.notes,
    }


def _show(done: Audit) -> None:
    """Sentences, one a line; whoever reads them is to act on each."""
    out = Console(soft_wrap=True, highlight=False)
    if out.is_terminal and done.differences:
        table = Table("what", "where", "sat", "what to do", show_lines=True)
        for found in done.differences:
            table.add_row(found.check.value, escape(found.about), str(abs(found.sat)), escape(found.detail))
        Console(highlight=False).print(table)
    else:
        for found in done.differences:
            out.print(f"{found.check.value}: {escape(found.detail)}")
    for note in done.findings.notes:
        out.print(f"note: {escape(note)}")
    blocks = f"blocks {done.from_height} to {done.to_height}" if done.blocks else "no block yet"
    read = f"{blocks}, {done.findings.transfers} transfers, {done.findings.payments} payments"
    verdict = (
        f"{len(done.differences)} differences ({done.difference_sat} sat)" if done.differences else "No difference"
    )
    out.print(f"{verdict}: {read}. Newest ledger hash: {done.findings.ledger_hash}")
