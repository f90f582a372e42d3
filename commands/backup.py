"""`nodetill backup`: the whole till in one file, beside a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from commands.console import DEFAULT_CONFIG, ConfigOption, JsonOption, print_json, refuse, settings_from
from commands.progress import Progress
from node_watcher.clock import now_ms
from payments.view import rfc3339
from storage.backup.file_format import Header
from storage.backup.save import save
from storage.errors import BackupRefused, DatabaseBusy, DatabaseUnusable


def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file to write; one that exists is never overwritten.")
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write everything that is in the database into one checksummed file, while the service runs or not."""
    settings = settings_from(config)
    progress = Progress()
    try:
        url = settings.database.url.get_secret_value()
        written = save(url, file, network=settings.node.network, now=now_ms(), step=progress.step)
    except (BackupRefused, DatabaseUnusable, DatabaseBusy) as error:
        refuse(str(error))
    finally:
        progress.end()
    if as_json:
        print_json({"file": str(file), "bytes": file.stat().st_size, **header_view(written)})
    else:
        print(
            f"{file}: {written.total} rows of schema {written.schema}, {file.stat().st_size} bytes, read again and "
            f"verified. Newest ledger hash: {written.ledger}"
        )


def header_view(header: Header) -> dict[str, Any]:
    """What the first line of a backup says."""
    return {
        "schema": header.schema,
        "network": header.network,
        "engine": header.engine,
        "created_at": rfc3339(header.created_at),
        "transfers": header.transfers,
        "ledger_hash": header.ledger,
        "rows": header.rows,
    }
