"""The doctor's look at this machine: the database, the service that writes it, the disk below it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from commands.finding import Finding, green, red, yellow
from config.settings import Settings
from node_watcher.clock import now_ms
from storage.database import Database
from storage.errors import StorageError
from storage.payments import counts_by_status
from storage.till import health

_RED_BYTES, _YELLOW_BYTES = 100_000_000, 1_000_000_000
_SILENT_SECONDS = 20


async def look_at_machine(settings: Settings) -> list[Finding]:
    """Findings about the database and what runs on it. Reads only: a database that is not there stays so."""
    path = settings.database.path
    absent = _absent(path) if path is not None else None
    found = [absent] if absent is not None else await _database(settings)
    return found if path is None else [*found, _disk(path.parent)]


def _absent(path: Path) -> Finding | None:
    """What there is to say of a SQLite file that is not there."""
    if path.exists():
        return None
    if not os.access(path.parent, os.W_OK):
        return red("database", f"database.url: the folder {path.parent} cannot be written; make it, or name another.")
    return yellow("database", f"{path} is not there yet: the first start of the service makes it.")


async def _database(settings: Settings) -> list[Finding]:
    try:
        async with Database(settings.database.url.get_secret_value(), read_only=True) as database:
            counts, report = await database.read(counts_by_status), await database.read(health)
    except StorageError as error:
        return [red("database", str(error))]
    return [
        green("database", f"{settings.database.shown} can be read: {sum(counts.values())} payments."),
        service_finding(report, now_ms()),
    ]


def service_finding(report: dict[str, Any], now: int) -> Finding:
    """What the watcher wrote down of itself every few seconds: the same that `/readyz` shows. `now` in ms."""
    silent = (now - int(report["health_at"])) // 1000
    if not report["health_at"] or silent > _SILENT_SECONDS:
        return yellow("service", "The watcher does not run: start it with ./nodetill serve.")
    if reasons := report.get("reasons", []):
        return red("service", " ".join(str(reason.get("detail", "")) for reason in reasons))
    return green("service", f"The watcher runs, and is level with the node at height {report['tip_height']}.")


def _disk(folder: Path) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    told = f"{free / 1e9:.1f} GB are free below {folder}"
    if free < _RED_BYTES:
        return red("disk", f"{told}: make room, or nothing can be written down soon.")
    return yellow("disk", f"{told}: make room soon.") if free < _YELLOW_BYTES else green("disk", f"{told}.")
