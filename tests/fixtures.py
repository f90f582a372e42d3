"""What all tests share: one funded node, one PostgreSQL server, and fresh ones on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regtest.bitcoind_source import BitcoindPrograms, find_bitcoind
from regtest.node import RegtestNode
from regtest.postgres import PostgresServer


@pytest.fixture(scope="session")
def show_progress(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Prints a line for the person in front of the terminal, past pytest's capture."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{line} …", file=sys.stderr, flush=True)

    return show


@pytest.fixture(scope="session")
def bitcoind_binary(show_progress: Callable[[str], None]) -> BitcoindPrograms:
    """`.bitcoind` and `.bitcoin_cli`: from this machine, or obtained on first use."""
    return find_bitcoind(show_progress)


@pytest.fixture(scope="session")
def node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    """A funded node that all tests share: mine and pay, but do not stop it or undo its blocks."""
    with RegtestNode(bitcoind_binary) as shared:
        yield shared.fund()


@pytest.fixture
def fresh_node(bitcoind_binary: BitcoindPrograms) -> Iterator[RegtestNode]:
    """A running node of one's own at height 0: stop it, kill it, reorganise it. `fund()` gives it money."""
    with RegtestNode(bitcoind_binary) as own:
        yield own


@pytest.fixture
def make_node(bitcoind_binary: BitcoindPrograms) -> Iterator[Callable[..., RegtestNode]]:
    """`make_node(p2p=True, zmq=False, extra_args=[…])`: as many running nodes as a test needs."""
    made: list[RegtestNode] = []

    def make(**options: object) -> RegtestNode:
        made.append(RegtestNode(bitcoind_binary, **options))  # type: ignore[arg-type]
        return made[-1].start()

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def postgres_server(show_progress: Callable[[str], None]) -> Iterator[PostgresServer]:
    """A PostgreSQL server that all tests share; `create_database()` gives each its own database."""
    # No fsync: no test of this server cuts the power, and tests come by the hundred.
    with PostgresServer(fsync=False, progress=show_progress) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a fresh empty database; a test that takes it runs once for each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'till.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database()
    yield url
    server.drop_database(url)
