"""The tables of a schema, as its migrations make them: nobody keeps a second list of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from storage.migrate import steps

_MIGRATIONS = "migration"


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `columns` are sorted by name; `key` are those of the primary key, in its order."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


def layout(schema: int) -> dict[str, Table]:
    """Our tables by name, as they are after migration number `schema`, without the list of migrations itself."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
        for number, _, text in steps("sqlite"):
            if number <= schema:
                empty.executescript(text)
        names = [
            str(name)
            for (name,) in empty.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            if not name.startswith("sqlite_") and name != _MIGRATIONS
        ]
        return {name: _table(empty, name) for name in names}


def _table(empty: sqlite3.Connection, name: str) -> Table:
    columns = empty.execute("SELECT name, pk FROM pragma_table_info(:name) ORDER BY name", {"name": name}).fetchall()
    key = sorted((place, column) for column, place in columns if place)
    return Table(name, tuple(column for column, _ in columns), tuple(column for _, column in key))


def known_schema() -> int:
    """Number of the newest migration of this code."""
    return max(number for number, _, _ in steps("sqlite"))
