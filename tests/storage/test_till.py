"""What a database belongs to, and what the watcher reports into it."""

from __future__ import annotations

import pytest

from storage import chain, till
from storage.database import Database
from storage.errors import DatabaseUnusable
from storage.tx import Tx
from tests.storage.small_shop import BIRTH, START, SmallShop


async def test_a_database_belongs_to_one_network(database: Database) -> None:
    await database.write(till.claim, "regtest", START)
    await database.write(till.claim, "regtest", START + 9)
    assert await database.read(till.created_at) == START
    with pytest.raises(DatabaseUnusable, match=r"node\.network is main.*belongs to regtest.*database\.url"):
        await database.write(till.claim, "main", START)


async def test_a_descriptor_goes_on_where_it_stopped(shop: SmallShop) -> None:
    await shop.create()
    write = shop.database.write
    again = await write(till.keychain, "fp", "wpkh(…)", watch_only=True, now=START)
    other = await write(till.keychain, "fp2", "tr(…)", watch_only=True, now=START)
    assert again == shop.keychain != other
    assert await shop.database.read(till.next_index, again) == 1
    assert await shop.database.read(till.next_index, other) == 0
    assert await shop.database.read(till.next_index, 99) == 0


async def test_before_the_first_start(database: Database) -> None:
    assert (await database.read(till.health))["tip_height"] is None
    assert await database.read(till.created_at) == 0
    assert await database.read(chain.cursor) is None
    assert await database.read(chain.first_payment_at) is None
    assert await database.read(chain.active_hash, 5) is None


async def test_what_the_watcher_reports(shop: SmallShop) -> None:
    await shop.database.write(till.report_health, {"state": "green"}, START + 50, START + 60)
    told = await shop.database.read(till.health)
    assert told == {
        "state": "green",
        "health_at": START + 60,
        "complete_at": START + 50,
        "tip_height": BIRTH.height,
        "tip_hash": BIRTH.hash,
    }


async def test_completeness_is_never_taken_back(shop: SmallShop) -> None:
    """A clock that steps back must not un-prove what was proved."""
    await shop.database.write(till.report_health, {}, START + 50, START + 60)
    await shop.database.write(till.report_health, {}, START + 40, START + 70)
    told = await shop.database.read(till.health)
    assert (told["complete_at"], told["health_at"]) == (START + 50, START + 70)


async def test_a_known_descriptor_may_send_its_coins_on_from_now_on(database: Database) -> None:
    """From watch-only to a way on, or back: what is sold next goes that way, and the numbering goes on."""

    def watch_only(tx: Tx) -> list[int]:
        return [int(row["watch_only"]) for row in tx.all("SELECT watch_only FROM keychain ORDER BY id")]

    write = database.write
    first = await write(till.keychain, "fp", "wpkh(…)", watch_only=True, now=START)
    assert await write(till.keychain, "fp", "wpkh(…)", watch_only=False, now=START) == first
    assert await database.read(watch_only) == [0]
    await write(till.keychain, "fp", "wpkh(…)", watch_only=True, now=START)
    assert await database.read(watch_only) == [1]
