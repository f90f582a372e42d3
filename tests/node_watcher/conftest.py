"""A shop beside a real node, for the tests that drive the watcher's parts step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from regtest.bitcoind_source import BitcoindPrograms
from regtest.node import RegtestNode
from storage.database import Database
from tests.node_watcher.rig import Rig


@pytest.fixture(scope="session")
def chain_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    """A funded node for this package, whose blocks may be undone; each test begins at its tip."""
    with RegtestNode(bitcoind_binary) as own:
        yield own.fund()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path / 'till.db'}") as opened:
        yield opened


@pytest.fixture
async def make_rig(database: Database) -> AsyncIterator[Callable[..., Rig]]:
    """`make_rig(node, forwarding=True, depth=3)`; open it yourself."""
    made: list[Rig] = []

    def make(node: RegtestNode, **options: object) -> Rig:
        made.append(Rig(node, database, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for rig in made:
        await rig.close()


@pytest.fixture
async def rig(make_rig: Callable[..., Rig], chain_node: RegtestNode) -> Rig:
    """Watch-only, two confirmations, at the tip of a node whose blocks may be undone."""
    chain_node.mine(1)
    return await make_rig(chain_node).open()
