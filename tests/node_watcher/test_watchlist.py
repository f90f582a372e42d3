"""What is watched, when two tasks change it at once. On both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from node_watcher.clock import now_ms
from payments.model import OutPoint
from payments.tx import match, outpoint_key
from regtest.node import RegtestNode
from storage import incoming
from storage.database import Database
from storage.watched import prevouts_worth_watching
from tests.node_watcher.rig import Rig


class SlowReads(Database):
    """The answer of one body is held back until `gate` opens: its view is old by then."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.held: Callable[..., Any] | None = None
        self.reached, self.gate = asyncio.Event(), asyncio.Event()

    async def read(self, body: Any, /, *args: Any, **kwargs: Any) -> Any:
        answer = await super().read(body, *args, **kwargs)
        if body is self.held:
            self.reached.set()
            await self.gate.wait()
        return answer


@pytest.fixture
async def slow(database_url: str) -> AsyncIterator[SlowReads]:
    async with SlowReads(database_url) as opened:
        yield opened


async def test_what_is_learned_while_prevouts_are_renewed_stays(slow: SlowReads, chain_node: RegtestNode) -> None:
    """Or nobody would notice that the payment is replaced."""
    rig = await Rig(chain_node, slow).open()
    try:
        payment = await rig.create()
        seen_before = await rig.create()
        await rig.mempool.hear([await rig.raw(await rig.pay(seen_before))])
        raw = await rig.raw(await rig.pay(payment))
        slow.held = prevouts_worth_watching
        renewing = asyncio.create_task(rig.watchlist.renew_prevouts())
        await slow.reached.wait()
        assert await rig.mempool.hear([raw]) == 1
        slow.gate.set()
        await renewing
        seen = match(raw, rig.watchlist.scripts, frozenset())
        assert seen is not None
        assert {outpoint_key(prevout) for prevout in seen.prevouts} <= rig.watchlist.prevouts
    finally:
        await rig.mine(1)
        await rig.close()


async def test_scripts_are_loaded_and_learned(slow: SlowReads, chain_node: RegtestNode) -> None:
    rig = await Rig(chain_node, slow).open()
    try:
        made = [await rig.create() for _ in range(3)]
        fresh = type(rig.watchlist)(slow)
        await fresh.load()
        assert sorted(fresh.scripts.values()) == [p.number for p in made]
        later = await rig.create()
        await asyncio.gather(fresh.refresh(), fresh.refresh())
        assert fresh.scripts[rig.descriptor.script_pubkey(later.address_index)] == later.number
        await fresh.load()  # once more changes nothing
        assert len(fresh.scripts) == 4
    finally:
        await rig.close()


async def test_prevouts_of_deep_payments_are_forgotten(slow: SlowReads, chain_node: RegtestNode) -> None:
    rig = await Rig(chain_node, slow).open()
    try:
        payment = await rig.create()
        await rig.pay(payment)
        await rig.mine(1)
        await rig.tip()
        assert rig.watchlist.prevouts
        await rig.mine(150)
        await rig.tip()
        await rig.watchlist.renew_prevouts()
        assert rig.watchlist.prevouts == set()
        assert await slow.read(incoming.knows, OutPoint("00" * 32, 0)) is False
        assert now_ms() > payment.facts.terms.created_at
    finally:
        await rig.close()
