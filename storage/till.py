"""What this database belongs to: its network, its keychains, how the watcher is doing."""

from __future__ import annotations

import json
from typing import Any, Final

from storage.errors import DatabaseUnusable
from storage.tx import Tx

DISTANCE: Final = 1_000
"""So many addresses are left out where nobody knows how many were handed out since a copy of the database."""


def claim(tx: Tx, network: str, now: int) -> None:
    """Bind a new database to its network; refuse one that belongs to another."""
    row = tx.one("SELECT network FROM till WHERE only_row = 1")
    if row is None:
        tx.execute(
            "INSERT INTO till (only_row, network, created_at) VALUES (1, :network, :now)",
            network=network,
            now=now,
        )
    elif row["network"] != network:
        raise DatabaseUnusable(
            f"node.network is {network}, but this database belongs to {row['network']}; "
            "name another database.url for the other network."
        )


def keychain(tx: Tx, fingerprint: str, descriptor: str, *, watch_only: bool, now: int) -> int:
    """Number of the keychain of a descriptor; a new one starts at index 0, a known one goes on.

    Whether coins stay there (`watch_only`) is as said last: each payment keeps what held when it was created."""
    tx.execute(
        "INSERT INTO keychain (fingerprint, descriptor, watch_only, created_at)"
        " VALUES (:fingerprint, :descriptor, :watch_only, :now) ON CONFLICT (fingerprint)"
        " DO UPDATE SET watch_only = excluded.watch_only",
        fingerprint=fingerprint,
        descriptor=descriptor,
        watch_only=int(watch_only),
        now=now,
    )
    row = tx.one("SELECT id FROM keychain WHERE fingerprint = :fingerprint", fingerprint=fingerprint)
    assert row is not None  # noqa: S101 - it was just put there
    return int(row["id"])


def keychain_id(tx: Tx, fingerprint: str) -> int | None:
    """Number of the keychain of a descriptor; None where nothing was ever sold with it."""
    row = tx.one("SELECT id FROM keychain WHERE fingerprint = :fingerprint", fingerprint=fingerprint)
    return None if row is None else int(row["id"])


def next_index(tx: Tx, keychain_id: int) -> int:
    """Index of the next address that will be handed out: none at or above it was ever shown."""
    row = tx.one("SELECT next_index FROM keychain WHERE id = :id", id=keychain_id)
    return int(row["next_index"]) if row else 0


def step_over(tx: Tx, keychain_id: int, first: int) -> int:
    """Never hand out an address below index `first`; the index of the next one."""
    tx.execute(
        "UPDATE keychain SET next_index = :first WHERE id = :id AND next_index < :first", id=keychain_id, first=first
    )
    return next_index(tx, keychain_id)


def report_health(tx: Tx, health: dict[str, Any], complete_at: int, now: int) -> None:
    """The watcher's own word: JSON for `/readyz`, and until when it has proved to have missed nothing."""
    tx.execute(
        "UPDATE till SET health = :health, health_at = :now,"
        " complete_at = CASE WHEN complete_at > :complete_at THEN complete_at ELSE :complete_at END"
        " WHERE only_row = 1",
        health=json.dumps(health, separators=(",", ":")),
        complete_at=complete_at,
        now=now,
    )


def health(tx: Tx) -> dict[str, Any]:
    """What the watcher reported last, with `health_at`, `complete_at` and `tip_height` beside it."""
    row = tx.one("SELECT health, health_at, complete_at, cursor_height, cursor_hash FROM till WHERE only_row = 1")
    if row is None:
        return {"health_at": 0, "complete_at": 0, "tip_height": None, "tip_hash": None}
    found: dict[str, Any] = json.loads(row["health"])
    return found | {
        "health_at": row["health_at"],
        "complete_at": row["complete_at"],
        "tip_height": row["cursor_height"],
        "tip_hash": row["cursor_hash"],
    }


def created_at(tx: Tx) -> int:
    """When this database was first used, in milliseconds: no address of it is older."""
    row = tx.one("SELECT created_at FROM till WHERE only_row = 1")
    return int(row["created_at"]) if row else 0
