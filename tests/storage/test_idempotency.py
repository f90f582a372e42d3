"""Answers kept under their Idempotency-Key."""

from __future__ import annotations

import asyncio

import pytest

from storage.database import Database
from storage.idempotency import KEPT_MS, KeyReused, StoredAnswer, store_answer, stored_answer
from storage.tx import Tx
from tests.storage.small_shop import START, SmallShop, derive

ANSWER = StoredAnswer(201, '{"payment_id":"x"}')


async def test_kept_and_found(database: Database) -> None:
    await database.write(store_answer, "alice", "k", "hash", ANSWER, START)
    assert await database.read(stored_answer, "alice", "k", "hash") == ANSWER
    assert await database.read(stored_answer, "alice", "other", "hash") is None


async def test_a_key_belongs_to_its_caller(database: Database) -> None:
    await database.write(store_answer, "alice", "k", "hash", ANSWER, START)
    assert await database.read(stored_answer, "bob", "k", "other hash") is None
    await database.write(store_answer, "bob", "k", "other hash", ANSWER, START)


async def test_another_request_under_the_key(database: Database) -> None:
    await database.write(store_answer, "alice", "k", "hash", ANSWER, START)
    with pytest.raises(KeyReused):
        await database.read(stored_answer, "alice", "k", "other hash")


async def test_kept_for_a_week(database: Database) -> None:
    await database.write(store_answer, "alice", "old", "hash", ANSWER, START)
    await database.write(store_answer, "alice", "new", "hash", ANSWER, START + KEPT_MS)
    assert await database.read(stored_answer, "alice", "old", "hash") == ANSWER
    await database.write(store_answer, "alice", "newer", "hash", ANSWER, START + KEPT_MS + 1)
    assert await database.read(stored_answer, "alice", "old", "hash") is None
    assert await database.read(stored_answer, "alice", "new", "hash") == ANSWER


async def test_the_second_of_two_at_once_leaves_nothing_behind(shop: SmallShop) -> None:
    """The answer is in the transaction of what it answers for: a lost race takes its payment back."""

    def create(tx: Tx) -> None:
        tx.execute("UPDATE keychain SET next_index = next_index + 1")
        store_answer(tx, "alice", "k", "hash", ANSWER, START)

    answers = await asyncio.gather(*(shop.database.write(create) for _ in range(8)), return_exceptions=True)
    assert sorted(type(a).__name__ for a in answers) == ["AlreadyThere"] * 7 + ["NoneType"]
    assert (await shop.create()).address == derive(1)[1]
