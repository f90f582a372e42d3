"""A database that is none, or somebody else's: one line with the mend, exit code 2, nothing touched."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest

from regtest.command_line import main
from regtest.conftest import MakeTill
from regtest.free_ports import free_port
from regtest.node import RegtestNode
from regtest.service import RunningService


@pytest.fixture
def till(node: RegtestNode, make_till: MakeTill) -> RunningService:
    """Right in everything; not started."""
    return make_till(node, start=False)


def test_a_database_that_is_none(till: RunningService) -> None:
    path = Path(till.database_url.removeprefix("sqlite:///"))
    path.write_bytes(b"somebody's diary, no database\n" * 100)
    till.serve().refused("database.url", str(path))
    assert path.read_bytes().startswith(b"somebody's diary")


def test_a_database_of_another_network(till: RunningService) -> None:
    till.start()
    till.stop()
    with sqlite3.connect(till.database_url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE till SET network = 'main'")
    database.close()
    till.serve().refused("node.network", "database.url", "main")


@pytest.fixture(params=["sqlite", "postgres"])
def used_till(request: pytest.FixtureRequest, node: RegtestNode, make_till: MakeTill) -> RunningService:
    """Running on either database."""
    return make_till(node, request.param)


def test_a_newer_schema(used_till: RunningService) -> None:
    used_till.stop()
    newer = "INSERT INTO migration (number, name) VALUES (999, 'from the future')"
    if used_till.database_url.startswith("sqlite"):
        with sqlite3.connect(used_till.database_url.removeprefix("sqlite:///")) as database:
            database.execute(newer)
        database.close()
    else:
        with psycopg.connect(used_till.database_url) as connection:
            connection.execute(newer.encode())
    used_till.serve().refused("database.url", "999")


def test_two_of_us_on_one_database(used_till: RunningService) -> None:
    used_till.serve(NODETILL_API__PORT=str(free_port())).refused("database.url", "another nodetill")
    assert used_till.not_ready() == [], "the first one goes on"
    payment = used_till.create("small", "undisturbed")
    assert used_till.look(payment["payment_id"])["status"] == "pending"
    used_till.kill()
    used_till.start()  # what a killed one held is free at once


def test_two_on_one_sqlite_roles(till: RunningService) -> None:
    done = main("serve", "--role", "api", "--config", str(till.config))
    done.refused("--role api", "database.url", "postgresql://")
