"""The small interface through which transaction bodies speak SQL, the same for both databases.

A body is a plain synchronous function `body(tx, …)`: it runs inside one transaction, and may be run
again when the database asks for that, so it has no other effects. SQL is written once, with
`:name` parameters, in the part of the language that SQLite and PostgreSQL share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Value = int | str | bytes | None
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """Plain values that bodies need beside their arguments.

    `public_url` is put before links in events; `endpoints` names each webhook endpoint with the
    event types it wants (empty: all).
    """

    public_url: str = ""
    endpoints: tuple[tuple[str, frozenset[str]], ...] = ()


class Tx(Protocol):
    """One open transaction."""

    context: Context

    def execute(self, sql: str, **values: Value) -> int:
        """Run a statement; the number of rows it touched."""

    def one(self, sql: str, **values: Value) -> Row | None:
        """First row of the answer, or None."""

    def all(self, sql: str, **values: Value) -> list[Row]:
        """All rows of the answer."""

    def many(self, sql: str, rows: Iterable[Mapping[str, Value]]) -> None:
        """Run a statement once for each set of values."""
