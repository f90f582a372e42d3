"""Puts a backup into an empty place: all of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from storage.audit.question import Step
from storage.backup.backup_file import BackupFile
from storage.backup.layout import Table, known_schema, layout
from storage.backup.place import Place, empty_place
from storage.backup.step_ahead import Descriptor, Stepped, step_ahead
from storage.errors import BackupRefused, DatabaseBusy, StorageError
from storage.migrate import apply
from storage.till import claim
from storage.tx import Context


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where a backup goes, and what must be known to go on from it. `distance` in addresses, `now` in milliseconds."""

    url: str
    network: str
    descriptor: Descriptor
    distance: int
    now: int
    context: Context


def restore(backup: BackupFile, wanted: Wanted, step: Step) -> Stepped:
    """Put it there. Raises `BackupRefused`, `DatabaseUnusable`, `DatabaseBusy`; then the place is empty as it was."""
    _expect_fitting(backup, wanted.network)
    with empty_place(wanted.url, wanted.context) as place:
        backup.verify(step)
        try:
            _fill(place, backup, step)
        except (BackupRefused, DatabaseBusy):
            raise
        except StorageError as error:
            raise BackupRefused(f"{backup.path} cannot be restored: {' '.join(str(error).split())}") from error
        claim(place.tx, wanted.network, wanted.now)
        stepped = step_ahead(place.tx, backup.header, wanted.descriptor, wanted.distance, wanted.now)
        place.count_on()
        return stepped


def _expect_fitting(backup: BackupFile, network: str) -> None:
    header = backup.header
    if not 1 <= header.schema <= known_schema():
        raise BackupRefused(
            f"{backup.path} has schema {header.schema}, and this nodetill knows {known_schema()}: use the newer "
            "nodetill that wrote it."
        )
    if header.network != network:
        raise BackupRefused(
            f"{backup.path} is a backup of {header.network}, and node.network is {network}: use the settings that go "
            "with it."
        )


def _fill(place: Place, backup: BackupFile, step: Step) -> None:
    schema = backup.header.schema
    apply(place.engine, place.connection, until=schema)
    place.any_order()
    done = 0
    for table, rows in backup.batches(layout(schema)):
        place.tx.many(_insert(table), rows)
        done += len(rows)
        step("rows", done, backup.header.total)
    place.in_order()
    apply(place.engine, place.connection)


def _insert(table: Table) -> str:
    values = ", ".join(f":{name}" for name in table.columns)
    return f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({values})"  # noqa: S608 - names of ours
