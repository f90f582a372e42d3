"""What a till knows, as plain rows: where a record begins that was not begun with the till.

Left out is what nothing is derived from: events and their outbox, stored answers, API keys, the watcher's reports.
"""

from __future__ import annotations

from typing import Any, Final

from storage.tx import Tx, Value

_TABLES: Final = (
    "till",
    "keychain",
    "payment",
    "block",
    "block_tx",
    "incoming_tx",
    "incoming_prevout",
    "output",
    "resolution",
    "resolution_output",
    "account",
    "transfer",
    "transfer_line",
    "sweep",
    "sweep_input",
    "sweep_spend",
)
"""A row names only rows of tables before its own."""

_NO_MORE: Final = {"payment": ("resolution",)}
"""Columns that older records have, and nothing was ever derived from."""

_NOT_KEPT: Final = ("health", "health_at", "look_wanted", "look_done", "look_failed")


def snapshot(tx: Tx) -> dict[str, list[dict[str, Any]]]:
    """All rows by table. Bytes are `{"bytes": hex}`."""
    return {
        table: [
            {name: _said(row[name]) for name in row.keys() if name not in _NOT_KEPT}  # noqa: SIM118 - a sqlite3.Row
            for row in tx.all(f"SELECT * FROM {table}")  # noqa: S608 - fixed names
        ]
        for table in _TABLES
    }


def take_up(tx: Tx, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Put the rows of a `snapshot` into an empty database."""
    for table in _TABLES:
        for recorded in rows.get(table, []):  # a table that is younger than the record was empty
            row = {name: value for name, value in recorded.items() if name not in _NO_MORE.get(table, ())}
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            tx.execute(
                f"INSERT INTO {table} ({names}) VALUES ({values})",  # noqa: S608 - our own words
                **{name: _meant(value) for name, value in row.items()},
            )


def _said(value: Value | memoryview) -> Any:
    return {"bytes": bytes(value).hex()} if isinstance(value, bytes | memoryview) else value


def _meant(value: Any) -> Value:
    return bytes.fromhex(value["bytes"]) if isinstance(value, dict) else value
