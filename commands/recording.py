"""`serve --record FILE`: what the first line of a run says, and where an older record goes on."""

from __future__ import annotations

import asyncio
import logging
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from commands.forward_rules import forward_rules_record
from commands.keychain import Keychain
from commands.node_client import chain_rules
from config.settings import Settings
from node_watcher.record.lines import BadRecord, RecordWriter
from node_watcher.record.reading import Reading
from node_watcher.record.recorder import Recorder
from storage import recorded, till
from storage.database import Database
from storage.snapshot import snapshot

log = logging.getLogger("nodetill")
_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def _database_files(database: Path | None) -> set[Path]:
    """The files that SQLite and our lock keep."""
    if database is None:
        return set()
    at = database.resolve()
    return {at.with_name(at.name + more) for more in ("", "-wal", "-shm", "-journal", ".lock")}


class Recording:
    """One record, opened before anything is started. Raises `BadRecord`."""

    def __init__(self, path: Path, settings: Settings) -> None:
        if path.resolve() in _database_files(settings.database.path):
            raise BadRecord(f"--record: {path} is a file of the database; name another one.")
        self._settings = settings
        self._writer = RecordWriter(path, secrets_in(settings))
        self._known: recorded.Newest | None = None
        self._state: dict[str, str] | None = None
        if path.stat().st_size:
            self._go_on_after(path)
        self.recorder = Recorder(self._writer)

    def _go_on_after(self, path: Path) -> None:
        """Find the end of the runs before this one."""
        reading = Reading(path)
        payment = transfer = 0
        for _, said in reading:
            payment = max(payment, said.get("known", (0, 0))[0], said.get("created", {}).get("number", 0))
            transfer = max(transfer, said.get("known", (0, 0))[1], said.get("spent", {}).get("transfer", 0))
            self._state = said["state"] if "stopped" in said else None
            if said.get("network", self._settings.node.network) != self._settings.node.network:
                raise BadRecord(f"--record: {path} is a record of {said['network']}; name another file.")
        reading.close()
        self._known = recorded.Newest(payment, transfer)
        self._writer.continue_after(reading.good_bytes, reading.newest_text)

    async def begin(self, database: Database, keychain: Keychain) -> None:
        """Write the header. Call it when the till and its keychain are in the database, and nothing runs yet."""
        header = self._header(keychain) | {"created_at": await database.read(till.created_at)}
        newest = await database.read(recorded.newest)
        if self._state not in (None, await database.read(recorded.fingerprint)):
            raise BadRecord(
                f"--record: since {self._writer.path} was written, the till has run without it; name another file."
            )
        if self._known is None and not await database.read(recorded.is_new):
            header["snapshot"] = self._writer.text_of(await database.read(snapshot))
        header["known"] = [newest.payment, newest.transfer]
        await self.recorder.begin(database, header, self._known or newest)
        log.info("Everything is recorded in %s: it shows who bought what, so keep it to yourself", self._writer.path)

    def _header(self, keychain: Keychain) -> dict[str, Any]:
        settings, rules = self._settings, chain_rules(self._settings)
        version = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]["version"]
        header: dict[str, Any] = {
            "nodetill": version,
            "network": settings.node.network,
            "wallet": settings.node.wallet,
            "descriptor": keychain.descriptor.text,
            "watch_only": keychain.watch_only,
            "rules": asdict(rules) | {"checkpoints": [list(pin) for pin in rules.checkpoints]},
        }
        if keychain.destination is not None:
            header["forwarding"] = {
                "to": keychain.destination.address,
                "script": keychain.destination.script_pubkey.hex(),
                "signs": keychain.signer is not None,
                **forward_rules_record(settings.forwarding),
            }
        return header


async def open_recording(path: Path, settings: Settings) -> Recording:
    """Long records take a moment to be read."""
    return await asyncio.to_thread(Recording, path, settings)


def secrets_in(value: object) -> Iterator[str]:
    """Every secret of the settings, wherever it stands."""
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        yield secret
        with suppress(ValueError):  # no address at all
            yield urlsplit(secret).password or ""
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_in(inner)
