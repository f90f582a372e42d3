"""Answers kept under their Idempotency-Key, in the transaction of what they answer for."""

from __future__ import annotations

from dataclasses import dataclass

from storage.errors import StorageError
from storage.tx import Tx

KEPT_MS = 7 * 24 * 3600 * 1000


class KeyReused(StorageError):
    """The Idempotency-Key was used for another request: give each new request a key of its own."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    status: int
    body: str


def stored_answer(tx: Tx, caller: str, key: str, request_hash: str) -> StoredAnswer | None:
    """The first answer to this request, or None. Raises `KeyReused` for another request under the key."""
    row = tx.one(
        "SELECT request_hash, status, body FROM idempotency WHERE caller = :caller AND key = :key",
        caller=caller,
        key=key,
    )
    if row is None:
        return None
    if row["request_hash"] != request_hash:
        raise KeyReused(KeyReused.__doc__)
    return StoredAnswer(row["status"], row["body"])


def store_answer(tx: Tx, caller: str, key: str, request_hash: str, answer: StoredAnswer, now: int) -> None:
    """Keep an answer for a week; older ones go."""
    tx.execute("DELETE FROM idempotency WHERE created_at < :oldest", oldest=now - KEPT_MS)
    tx.execute(
        "INSERT INTO idempotency (caller, key, request_hash, status, body, created_at)"
        " VALUES (:caller, :key, :hash, :status, :body, :now)",
        caller=caller,
        key=key,
        hash=request_hash,
        status=answer.status,
        body=answer.body,
        now=now,
    )
