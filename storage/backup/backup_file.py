"""A backup that is read: refused unless it is one of ours, whole and unaltered."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from storage.audit.question import Step
from storage.backup.file_format import SEAL_BYTES, Header, NewerFormat, NoHeader, meant, read_header, read_seal
from storage.backup.layout import Table
from storage.errors import BackupRefused
from storage.tx import Value

_CHUNK: Final = 1 << 20
_LONGEST_HEADER: Final = 1 << 20
_BATCH: Final = 500

Batch = tuple[Table, list[dict[str, Value]]]


class BackupFile:
    """`with BackupFile(path) as backup: backup.verify(step)`. Every refusal is a `BackupRefused` of one sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise BackupRefused(f"{path} cannot be read: {error.strerror}.") from error
        try:
            state = os.fstat(self._file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise self._foreign()
            self._content = state.st_size - SEAL_BYTES
            self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _foreign(self) -> BackupRefused:
        return BackupRefused(f"{self.path} is no backup of nodetill: name a file that `nodetill backup` wrote.")

    def _damaged(self, how: str) -> BackupRefused:
        return BackupRefused(f"{self.path} is damaged ({how}): nothing was restored from it. Use another backup.")

    def _read_header(self) -> Header:
        try:
            return read_header(self._file.readline(_LONGEST_HEADER))
        except NewerFormat as newer:
            raise BackupRefused(
                f"{self.path} is a backup of format {newer}, and this nodetill does not know it: use the newer "
                "nodetill that wrote it."
            ) from None
        except NoHeader:
            raise self._foreign() from None
        except OSError as error:
            raise self._damaged(str(error.strerror)) from error

    def verify(self, step: Step) -> None:
        """Read all of it, and hold it against its checksum."""
        try:
            self._file.seek(max(0, self._content))
            sealed = read_seal(self._file.read())
            if sealed is None:
                raise self._damaged("its end is missing")
            self._file.seek(0)
            digest, done = hashlib.sha256(), 0
            while done < self._content and (chunk := self._file.read(min(_CHUNK, self._content - done))):
                digest.update(chunk)
                done += len(chunk)
                step("the backup, megabytes", done >> 20, self._content >> 20)
        except OSError as error:
            raise self._damaged(str(error.strerror)) from error
        if digest.hexdigest() != sealed:
            raise self._damaged("its content is not what the checksum says")

    def batches(self, tables: dict[str, Table]) -> Iterator[Batch]:
        """The rows, some of one table at a time. `tables` are those that a backup of this schema has; it must have just
        these, with their columns and as many rows as its header says."""
        try:
            yield from self._batches(tables)
        except OSError as error:
            raise self._damaged(str(error.strerror)) from error
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._damaged("a line of it cannot be read") from None

    def _batches(self, tables: dict[str, Table]) -> Iterator[Batch]:
        self._file.seek(0)
        self._file.readline()
        missing = dict(self.header.rows)
        if missing.keys() != tables.keys():
            raise self._damaged(f"its tables are not those of schema {self.header.schema}")
        table: Table | None = None
        rows: list[dict[str, Value]] = []
        while self._file.tell() < self._content:
            value = json.loads(self._file.readline())
            if isinstance(value, dict):
                if table is not None:
                    yield table, rows
                table, rows = self._next_table(value, tables), []
            elif table is None:
                raise ValueError
            else:
                rows.append(_row(table, value))
                missing[table.name] -= 1
                if len(rows) == _BATCH:
                    yield table, rows
                    rows = []
        if table is not None:
            yield table, rows
        if any(missing.values()):
            raise self._damaged("it has not the rows that its header tells of")

    def _next_table(self, value: dict[str, Any], tables: dict[str, Table]) -> Table:
        table = tables.get(value["table"])
        if table is None or tuple(value["columns"]) != table.columns:
            raise self._damaged(f"its tables are not those of schema {self.header.schema}")
        return table


def _row(table: Table, values: list[Any]) -> dict[str, Value]:
    return {name: meant(value) for name, value in zip(table.columns, values, strict=True)}
