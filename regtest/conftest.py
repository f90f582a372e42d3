"""What the scenarios share: services made on demand, and closed when their module is done."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from regtest.bitcoind_source import BitcoindPrograms
from regtest.node import MATURITY, RegtestNode
from regtest.node_rpc import rpcauth
from regtest.postgres import PostgresServer
from regtest.rpc_line import RpcLine
from regtest.service import RunningService

COMBINATIONS = [(engine, mode) for engine in ("sqlite", "postgres") for mode in ("watch-only", "forwarding")]
"""Every database with every way to the owner."""

TWO_COMBINATIONS = [("sqlite", "forwarding"), ("postgres", "watch-only")]
"""Each of them once, for scenarios that know nothing of either."""

MakeTill = Callable[..., RunningService]
MakeUrl = Callable[[str], str]


@pytest.fixture(scope="module")
def make_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeUrl]:
    """`make_database("sqlite" | "postgres")`: the URL of a fresh empty database."""
    made: list[tuple[PostgresServer, str]] = []

    def make(engine: str) -> str:
        if engine == "sqlite":
            return f"sqlite:///{tmp_path_factory.mktemp('database') / 'till.db'}"
        server: PostgresServer = request.getfixturevalue("postgres_server")
        made.append((server, server.create_database()))
        return made[-1][1]

    yield make
    for server, url in made:
        server.drop_database(url)


@pytest.fixture(scope="module")
def make_till(make_database: MakeUrl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeTill]:
    """`make_till(node, engine, mode, start=True, **options of RunningService)`."""
    made: list[RunningService] = []

    def make(
        node: RegtestNode, engine: str = "sqlite", mode: Any = "watch-only", *, start: bool = True, **options: Any
    ) -> RunningService:
        folder: Path = options.pop("folder", None) or tmp_path_factory.mktemp("service")
        made.append(RunningService(node, make_database(engine), mode=mode, folder=folder, **options))
        return made[-1].start() if start else made[-1]

    yield make
    for till in made:
        till.close()


class SteadyNode(RegtestNode):
    """Its payer never pays with a coinbase that has just become spendable.

    Such a payment would not survive a reorganisation: with fewer blocks the coinbase is too young again.
    """

    _funded = False

    def fund(self, coins: int = 100) -> Self:
        super().fund(coins)
        self._funded = True
        self.mine(MATURITY)
        return self

    def mine(self, blocks: int = 1, address: str | None = None) -> list[str]:
        if address is None and self._funded:
            # To nobody, and never the same block twice: a node refuses one that it was told to forget.
            return list(self.rpc("generatetodescriptor", blocks, f"raw(6a08{secrets.token_hex(8)})"))
        return super().mine(blocks, address)


@pytest.fixture(scope="module")
def own_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    """A funded node for one module: stop it, kill it, undo its blocks."""
    with SteadyNode(bitcoind_binary, extra_args=["-mempoolexpiry=1"]) as own:
        yield own.fund()


@pytest.fixture(scope="module")
def line(own_node: RegtestNode) -> Iterator[RpcLine]:
    """What stands between `own_node` and its service, to be troubled."""
    with RpcLine(own_node) as opened:
        yield opened


@pytest.fixture(scope="module")
def strict_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    """A node with a user `narrow` who may not call everything, and no ZMQ."""
    arguments = [rpcauth("narrow", "narrow"), "-rpcwhitelist=narrow:getblockchaininfo,getblock"]
    with RegtestNode(bitcoind_binary, zmq=False, extra_args=[*arguments, "-rpcwhitelistdefault=0"]) as node:
        yield node


def narrow(till: RunningService) -> None:
    """Let the service log in to `strict_node` as its user `narrow`."""
    till.settings["node"] |= {"rpc_cookie_file": None, "rpc_user": "narrow", "rpc_password": "narrow"}
