"""When a key was last used: written soon, seldom, and without a request waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.key_use import KeyUse
from storage.api_keys import create_key, list_keys
from storage.database import Database
from storage.errors import DatabaseBusy
from tests.api.till import BASE, Till, bearer
from tests.waiting import wait_for_async

MINUTE = 60_000
NOW = 1_750_000_000_000


async def last_used(database: Database) -> dict[str, int | None]:
    return {key.id: key.last_used_at for key in await database.read(list_keys)}


async def test_a_request_shows(till: Till) -> None:
    key = await till.key("payments:read")
    key_id = key["Authorization"].split("_")[1]
    wrong = bearer(f"ntk_{key_id}_{'0' * 64}")
    assert (await till.client.get(f"{BASE}/payments", headers=wrong)).status == 401
    assert await last_used(till.database) == {key_id: None}
    assert (await till.client.get(f"{BASE}/payments", headers=key)).status == 200
    await wait_for_async(lambda: used_at_all(till.database))


async def used_at_all(database: Database) -> bool:
    return None not in (await last_used(database)).values()


@pytest.fixture
async def keys(database: Database) -> list[str]:
    return [(await database.write(create_key, "shop", ["admin"], NOW))[0] for _ in range(3)]


@pytest.fixture
async def use(database: Database) -> AsyncIterator[KeyUse]:
    noted = KeyUse()
    task = asyncio.create_task(noted.write_down(database))
    yield noted
    task.cancel()


async def test_at_most_once_a_minute(database: Database, keys: list[str], use: KeyUse) -> None:
    commits: list[int] = []
    stop = database.on_commit(lambda: commits.append(1))
    for moment in (0, 1, MINUTE - 1, MINUTE, 2 * MINUTE - 1):
        use.note(keys[0], NOW + moment)
        written = {keys[0]: NOW + moment // MINUTE * MINUTE, keys[1]: None, keys[2]: None}
        await wait_for_async(lambda written=written: same(database, written))  # type: ignore[misc]
    stop()
    assert len(commits) == 2


async def same(database: Database, written: dict[str, int | None]) -> bool:
    return await last_used(database) == written


async def test_many_at_once_are_one_transaction(database: Database, keys: list[str], use: KeyUse) -> None:
    commits: list[int] = []
    stop = database.on_commit(lambda: commits.append(1))
    for key in keys:
        use.note(key, NOW)
    await wait_for_async(lambda: same(database, dict.fromkeys(keys, NOW)))
    stop()
    assert len(commits) == 1


class BusyOnce:
    """The real database, after one refusal."""

    def __init__(self, database: Database) -> None:
        self.database, self.refused = database, asyncio.Event()

    async def write(self, *words: Any) -> None:
        if not self.refused.is_set():
            self.refused.set()
            raise DatabaseBusy("another process writes")
        await self.database.write(*words)


async def test_a_busy_database_gets_the_next_use(database: Database, keys: list[str]) -> None:
    use, busy = KeyUse(), BusyOnce(database)
    task = asyncio.create_task(use.write_down(busy))  # type: ignore[arg-type]
    use.note(keys[0], NOW)
    await busy.refused.wait()
    use.note(keys[0], NOW + 1_000)
    await wait_for_async(lambda: same(database, {keys[0]: NOW + 1_000, keys[1]: None, keys[2]: None}))
    task.cancel()
