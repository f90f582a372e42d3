"""`nodetill serve`: the service, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.server import CannotListen
from commands.console import DEFAULT_CONFIG, ConfigOption, refuse, settings_from
from commands.keychain import Keychain
from commands.log_output import set_up
from commands.preflight import check_curve, check_node, check_port
from commands.recording import open_recording
from commands.service import Roles, run_service
from commands.signing import serving_keychain
from config.settings import Settings
from node_watcher.record.lines import BadRecord
from storage.errors import DatabaseUnusable, LeadershipLost

log = logging.getLogger("nodetill")


class Role(StrEnum):
    ALL = "all"
    API = "api"
    WATCHER = "watcher"


def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    role: Annotated[Role, typer.Option(help="Which part runs here; splitting needs PostgreSQL.")] = Role.ALL,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep what the node says and what people do in FILE, for `replay`; no secrets."
        ),
    ] = None,
) -> None:
    """Run the service beside your own bitcoind: watcher, forwarder and API."""
    settings = settings_from(config)
    set_up(settings.log.format, settings.log.level)
    if role is not Role.ALL and settings.database.engine == "sqlite":
        refuse(f"--role {role.value}: SQLite serves one process; set database.url to postgresql://… to split roles.")
    if record is not None and role is Role.API:
        refuse("--record: this process does not watch the node; give it to the one with --role watcher.")
    roles = Roles(role is not Role.WATCHER, role is not Role.API)
    check_curve()
    if roles.api:
        check_port(settings)  # before a signer is started: a second service is the likely reason
    with serving_keychain(settings, signs=roles.watcher) as keychain:
        raise typer.Exit(asyncio.run(_serve(settings, keychain, roles, record)))


async def _serve(settings: Settings, keychain: Keychain, roles: Roles, record: Path | None) -> int:
    if roles.watcher:
        await check_node(settings)
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    try:
        recording = None if record is None else await open_recording(record, settings)
        await run_service(settings, keychain, roles, stop, recording=recording)
    except (DatabaseUnusable, LeadershipLost, CannotListen, BadRecord) as error:
        refuse(str(error))
    except Exception as error:
        if refused := _refusals(error):
            refuse("\n".join(refused))
        log.critical("nodetill stops because of an unexpected error; the next start finishes the work", exc_info=True)
        return 1
    return 0


def _refusals(error: Exception) -> list[str]:
    """Sentences of what only the operator can mend, when a group of errors holds nothing else."""
    if not isinstance(error, ExceptionGroup):
        return []
    known, others = error.split((DatabaseUnusable, LeadershipLost, CannotListen))
    return [] if known is None or others is not None else list(_sentences(known))


def _sentences(error: BaseException) -> Iterator[str]:
    """Of each error in a group, or in the groups within it."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _sentences(inner)
    else:
        yield str(error)
