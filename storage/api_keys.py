"""API keys: only their SHA-256 is kept, the secret is shown once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.tx import Row, Tx

SCOPES = ("payments:read", "payments:write", "credits:read", "credits:write", "admin")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored. Times in milliseconds.

    `last_used_at` is up to a minute behind; `revoked_at` is None while the key works.
    """

    id: str
    name: str
    scopes: frozenset[str]
    secret_hash: bytes
    created_at: int
    last_used_at: int | None
    revoked_at: int | None


def secret_hash(secret: str) -> bytes:
    """SHA-256: enough for a secret of 256 random bits, which nobody can guess."""
    return hashlib.sha256(secret.encode()).digest()


def create_key(tx: Tx, name: str, scopes: Sequence[str], now: int) -> tuple[str, str]:
    """Make a key; returns `(id, key)`. The key `ntk_<id>_<secret>` cannot be shown again."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ValueError(f"--scope {', '.join(unknown) or 'is missing'}: choose from {', '.join(SCOPES)}.")
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    tx.execute(
        "INSERT INTO api_key (id, name, secret_hash, scopes, created_at) VALUES (:id, :name, :hash, :scopes, :now)",
        id=key_id,
        name=name,
        hash=secret_hash(secret),
        scopes=" ".join(dict.fromkeys(scopes)),
        now=now,
    )
    return key_id, f"ntk_{key_id}_{secret}"


def find_key(tx: Tx, key_id: str) -> ApiKey | None:
    row = tx.one("SELECT * FROM api_key WHERE id = :id", id=key_id)
    return None if row is None else _key(row)


def list_keys(tx: Tx) -> list[ApiKey]:
    return [_key(row) for row in tx.all("SELECT * FROM api_key ORDER BY created_at, id")]


def revoke_key(tx: Tx, key_id: str, now: int) -> bool:
    """Revoke at once; False when no such key works."""
    return bool(
        tx.execute("UPDATE api_key SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL", id=key_id, now=now)
    )


def mark_used(tx: Tx, used: Mapping[str, int]) -> None:
    """The keys were used at these times, or later."""
    for key_id, at in used.items():
        tx.execute(
            "UPDATE api_key SET last_used_at = :at WHERE id = :id AND coalesce(last_used_at, 0) < :at", id=key_id, at=at
        )


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        scopes=frozenset(row["scopes"].split()),
        secret_hash=bytes(row["secret_hash"]),
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )
