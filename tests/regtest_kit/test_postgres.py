"""The private PostgreSQL server and the two-engine fixture."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest

from regtest.postgres import PostgresServer


def test_databases_are_empty_and_apart(postgres_server: PostgresServer) -> None:
    one, other = postgres_server.create_database(), postgres_server.create_database()
    with psycopg.connect(one) as connection:
        connection.execute("CREATE TABLE coins (sat bigint)")
    with psycopg.connect(other) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM coins")
    postgres_server.drop_database(one)
    postgres_server.drop_database(other)


def test_needs_the_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://nodetill:wrong@127.0.0.1:{postgres_server.port}/postgres")


def test_committed_rows_survive_a_crash() -> None:
    with PostgresServer() as server:
        url = server.create_database()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE coins (sat bigint)")
            connection.execute("INSERT INTO coins VALUES (40000)")
        server.kill()
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT sat FROM coins").fetchone() == (40_000,)


def test_database_url_is_fresh(database_url: str) -> None:
    if database_url.startswith("sqlite:///"):
        connection = sqlite3.connect(database_url.removeprefix("sqlite:///"))
        connection.execute("CREATE TABLE coins (sat INTEGER) STRICT")
        connection.close()
    else:
        with psycopg.connect(database_url) as engine:
            engine.execute("CREATE TABLE coins (sat bigint)")
