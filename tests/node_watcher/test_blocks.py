"""Raw blocks of real nodes, with REST and without."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from node_watcher.blocks import BlockSource, NotBitcoin
from node_watcher.credentials import Credentials
from node_watcher.rest import Rest
from node_watcher.rpc import Call, NodeUnavailable, RpcError
from node_watcher.rpc_http import HttpRpc
from regtest.node import RegtestNode


class Asked(HttpRpc):
    """Notes which methods went out."""

    methods: tuple[str, ...] = ()

    async def _exchange(self, calls: Sequence[Call], wallet: str | None, login: str) -> list[Any]:
        self.methods += tuple(name for name, *_ in calls)
        return await super()._exchange(calls, wallet, login)


@pytest.fixture
async def ways() -> AsyncIterator[Callable[[RegtestNode], tuple[Asked, Rest]]]:
    made: list[Asked | Rest] = []

    def make(node: RegtestNode) -> tuple[Asked, Rest]:
        rpc = Asked(node.rpc_url, Credentials(cookie_file=node.cookie_file), timeout=2)
        rest = Rest(node.rpc_url, timeout=2)
        made.extend([rpc, rest])
        return rpc, rest

    yield make
    for one in made:
        await one.close()


async def test_rest_where_the_node_offers_it(
    make_node: Callable[..., RegtestNode], ways: Callable[[RegtestNode], tuple[Asked, Rest]]
) -> None:
    node = make_node(extra_args=["-rest"])
    rpc, rest = ways(node)
    blocks = BlockSource(rpc, rest)
    for block_hash in node.mine(2):
        assert (await blocks.fetch(block_hash)).hex() == node.rpc("getblock", block_hash, 0)
    assert rpc.methods == ()
    with pytest.raises(RpcError) as caught:
        await blocks.fetch("ab" * 32)
    assert caught.value.code == -5

    node.extra_args.clear()  # comes back without REST
    tip = node.tip
    node.stop()
    with pytest.raises(NodeUnavailable):
        await blocks.fetch(tip)
    node.start()
    assert (await blocks.fetch(tip)).hex() == node.rpc("getblock", tip, 0)


async def test_rpc_otherwise(node: RegtestNode, ways: Callable[[RegtestNode], tuple[Asked, Rest]]) -> None:
    rpc, rest = ways(node)
    for blocks in (BlockSource(rpc, rest), BlockSource(rpc)):
        assert (await blocks.fetch(node.tip)).hex() == node.rpc("getblock", node.tip, 0)
    assert rpc.methods == ("getblock", "getblock")


class OtherCoin(HttpRpc):
    """Serves another block than it was asked for, as a node does whose headers are longer than 80 bytes."""

    async def call(self, method: str, *params: object, wallet: str | None = None, timeout: float | None = None) -> Any:
        return await super().call(method, await super().call("getblockhash", 0), 0)


async def test_a_header_with_another_hash_is_not_bitcoin(node: RegtestNode) -> None:
    rpc = OtherCoin(node.rpc_url, Credentials(cookie_file=node.cookie_file))
    with pytest.raises(NotBitcoin, match="another coin"):
        await BlockSource(rpc).fetch(node.tip)
    await rpc.close()
