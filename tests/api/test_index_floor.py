"""The first payment after a start: which addresses the database may hand out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api import index_floor
from api.index_floor import CatchingUp, IndexFloor
from storage.database import Database
from storage.errors import DatabaseBusy
from storage.till import DISTANCE, next_index, report_health, step_over
from tests.api.till import Till

Ask = Callable[[], Awaitable[bool]]


class Node:
    """What requests for a look came to, one after the other; the last answer stays."""

    def __init__(self, *answers: bool, seconds: float = 0.0) -> None:
        self.answers, self.seconds, self.asked = list(answers), seconds, 0

    async def check_now(self) -> bool:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def sold(till: Till, addresses: int) -> Database:
    await till.database.write(step_over, till.keychain_id, addresses)
    return till.database


async def test_a_new_database_is_no_copy(till: Till) -> None:
    await till.database.write(lambda tx: tx.execute("UPDATE till SET cursor_height = NULL, cursor_hash = NULL"))
    node = Node(False)
    assert await IndexFloor().get(till.database, till.keychain_id, node.check_now) == 0
    assert node.asked == 0


async def test_a_copy_of_before_the_first_sale(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_floor, "PATIENCE_SECONDS", 0.1)
    assert await IndexFloor().get(till.database, till.keychain_id, Node(True).check_now) == 0
    assert await IndexFloor().get(till.database, till.keychain_id, Node(False).check_now) == DISTANCE


@pytest.mark.parametrize("code", ["behind", "starting"])
async def test_blocks_are_being_read(till: Till, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(index_floor, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(index_floor, "PATIENCE_WITH_BLOCKS_SECONDS", 0.5)
    database, node, floor = await sold(till, 7), Node(False), IndexFloor()
    report = {"reasons": [{"code": code, "detail": "nodetill is reading blocks"}]}
    await database.write(report_health, report, 0, 1)
    with pytest.raises(CatchingUp):
        await floor.get(database, till.keychain_id, node.check_now)
    till.node_answers = False
    key = await till.key("payments:write")
    body = {"package_id": "small", "user_id": "u1"}
    answer = await till.client.post("/api/v1/bitcoin/payments", json=body, headers=key)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert (await answer.json(content_type=None))["code"] == "temporarily-unavailable"
    # Slow, but in time.
    assert await floor.get(database, till.keychain_id, Node(False, False, True).check_now) == 0


async def test_a_look_is_waited_for_once(till: Till) -> None:
    database, node, floor = await sold(till, 7), Node(False, False, True), IndexFloor()
    asked = [floor.get(database, till.keychain_id, node.check_now) for _ in range(3)]
    assert await asyncio.gather(*asked) == [0, 0, 0]
    assert await floor.get(database, till.keychain_id, node.check_now) == 0
    assert node.asked == 3


@pytest.mark.parametrize("seconds", [0, 60])
async def test_without_a_look_a_distance_is_kept(
    till: Till, seconds: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index_floor, "PATIENCE_SECONDS", 0.3)
    database, node, floor = await sold(till, 7), Node(False, seconds=seconds), IndexFloor()
    asked = [floor.get(database, till.keychain_id, node.check_now) for _ in range(3)]
    assert await asyncio.gather(*asked) == [7 + DISTANCE] * 3
    assert f"that with index {7 + DISTANCE}" in caplog.text
    looks = node.asked
    assert await floor.get(database, till.keychain_id, node.check_now) == 7 + DISTANCE
    assert node.asked == looks, "it is not found out twice"


async def test_it_is_found_out_before_anybody_asks(till: Till) -> None:
    database, node, floor = await sold(till, 7), Node(False, True), IndexFloor()
    await asyncio.wait_for(floor.find_out(node.check_now), 10)
    gone = Node(False)
    assert await floor.get(database, till.keychain_id, gone.check_now) == 0
    assert (node.asked, gone.asked) == (2, 0)


async def test_who_could_not_wait_has_decided(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_floor, "PATIENCE_SECONDS", 0.1)
    database, node, floor = await sold(till, 7), Node(False), IndexFloor()
    finding = asyncio.create_task(floor.find_out(node.check_now))
    assert await floor.get(database, till.keychain_id, node.check_now) == 7 + DISTANCE
    node.answers = [True]
    await asyncio.wait_for(finding, 10)
    assert await floor.get(database, till.keychain_id, node.check_now) == 7 + DISTANCE


async def test_a_busy_database_is_asked_again(till: Till) -> None:
    floor, asked = IndexFloor(), 0

    async def busy_once() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise DatabaseBusy("busy")
        return True

    await asyncio.wait_for(floor.find_out(busy_once), 10)
    assert asked == 2


async def test_payments_keep_the_distance_once(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_floor, "PATIENCE_SECONDS", 0.1)
    await sold(till, 7)
    till.node_answers = False
    key = await till.key("payments:write")
    for number in range(2):
        body = {"package_id": "small", "user_id": f"u{number}"}
        assert (await till.client.post("/api/v1/bitcoin/payments", json=body, headers=key)).status == 201
    rows = await till.database.read(lambda tx: tx.all("SELECT address_index AS i FROM payment ORDER BY number"))
    assert [row["i"] for row in rows] == [7 + DISTANCE, 8 + DISTANCE]


async def test_never_back(till: Till) -> None:
    await sold(till, 7)
    assert await till.database.write(step_over, till.keychain_id, 3) == 7
    assert await till.database.read(next_index, till.keychain_id) == 7
