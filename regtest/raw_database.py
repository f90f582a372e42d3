"""Changes a service's database behind its back, as a thief with the password or a broken disk would."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import psycopg

_TRIGGERS = ("transfer_no_update", "transfer_no_delete", "transfer_line_no_update", "transfer_line_no_delete")


def tamper(url: str, *statements: str) -> None:
    """Run SQL with every trigger and foreign key out of the way, and leave no trace of that. Raises when a
    statement touches no row: a test that tampers with nothing proves nothing."""
    if url.startswith("sqlite:///"):
        _sqlite(url.removeprefix("sqlite:///"), statements)
    else:
        _postgres(url, statements)


def _sqlite(path: str, statements: Sequence[str]) -> None:
    with sqlite3.connect(path, timeout=10) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        kept = [
            sql
            for name in _TRIGGERS
            for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,))
        ]
        for name in _TRIGGERS:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            _touched(statement, connection.execute(statement).rowcount)
        for sql in kept:
            connection.execute(sql)
    connection.close()


def _postgres(url: str, statements: Sequence[str]) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")  # neither triggers nor foreign keys
        for statement in statements:
            _touched(statement, connection.execute(statement.encode()).rowcount)


def _touched(statement: str, rows: int) -> None:
    if rows < 1:
        raise AssertionError(f"nothing was changed by {statement}")
