"""How a till stands in a backup: text, one JSON value a line.

    {"nodetill-backup": 1, "schema": 1, "network": "main", …, "rows": {"account": 7, …}}
    {"table": "account", "columns": ["balance", "id", …]}
    [0, 1, …]
    …
    {"sha256": "<of every byte before this line>"}

Bytes are `{"bytes": hex}`. Nothing in it is peculiar to one of the two databases.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from storage.tx import Value

FORMAT: Final = 1
_MARK: Final = "nodetill-backup"
_SEAL: Final = re.compile(rb'\{"sha256": "([0-9a-f]{64})"\}\n')
SEAL_BYTES: Final = len('{"sha256": ""}\n') + 64


class NoHeader(ValueError):
    """The line is not the first line of a backup."""


class NewerFormat(ValueError):
    """A backup in a format of the future. The text is its number."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. `created_at` in milliseconds, `rows` counts them by table, `ledger` is the newest hash."""

    schema: int
    network: str
    engine: str
    created_at: int
    transfers: int
    ledger: str
    rows: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def header_line(header: Header) -> bytes:
    said = {
        _MARK: FORMAT,
        "schema": header.schema,
        "network": header.network,
        "engine": header.engine,
        "created_at": header.created_at,
        "transfers": header.transfers,
        "ledger_hash": header.ledger,
        "rows": header.rows,
    }
    return line(said)


def read_header(text: bytes) -> Header:
    """Raises `NoHeader`, `NewerFormat`."""
    try:
        said = json.loads(text)
        number = said[_MARK]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NoHeader from None
    if not isinstance(number, int) or number < 1:
        raise NoHeader
    if number > FORMAT:
        raise NewerFormat(str(number))
    try:
        return Header(
            schema=int(said["schema"]),
            network=str(said["network"]),
            engine=str(said["engine"]),
            created_at=int(said["created_at"]),
            transfers=int(said["transfers"]),
            ledger=str(said["ledger_hash"]),
            rows={str(table): int(count) for table, count in said["rows"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise NoHeader from None


def seal_line(sha256: str) -> bytes:
    return line({"sha256": sha256})


def read_seal(text: bytes) -> str | None:
    """The checksum, or None when this is not the last line of a backup."""
    found = _SEAL.fullmatch(text)
    return found[1].decode() if found else None


def line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def said(value: Value | memoryview) -> Any:
    """A value of the database as JSON has it."""
    return {"bytes": bytes(value).hex()} if isinstance(value, bytes | memoryview) else value


def meant(value: Any) -> Value:
    """The value of the database that JSON tells of. Raises `ValueError`, `KeyError`, `TypeError`."""
    if isinstance(value, dict):
        return bytes.fromhex(value["bytes"])
    if value is None or (isinstance(value, int | str) and not isinstance(value, bool)):
        return value
    raise ValueError(value)
