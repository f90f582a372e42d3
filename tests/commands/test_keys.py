"""`keys`: made, listed, revoked; the secret is said once."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.commands.conftest import Run


def test_made_listed_revoked(run: Run, config: Path) -> None:
    made = run("keys", "create", "--name", "shop", "--scope", "payments:read", "--scope", "payments:write", "--json")
    key = json.loads(made.out)
    assert key.keys() == {"id", "key", "scopes"}
    assert key["key"].startswith("ntk_")
    assert key["scopes"] == ["payments:read", "payments:write"]
    (listed,) = json.loads(run("keys", "list", "--json").out)["keys"]
    assert (listed["id"], listed["name"], listed["revoked_at"]) == (key["id"], "shop", None)
    assert key["key"] not in run("keys", "list").out
    assert json.loads(run("keys", "revoke", key["id"], "--json").out) == {"id": key["id"], "revoked": True}
    (listed,) = json.loads(run("keys", "list", "--json").out)["keys"]
    assert listed["revoked_at"].endswith("Z")


def test_for_people(run: Run, config: Path) -> None:
    made = run("keys", "create", "--name", "shop", "--scope", "admin")
    assert made.out.startswith("ntk_")
    assert made.out.count("\n") == 1  # so that it can be piped
    assert "not shown again" in made.err
    assert "shop" in run("keys", "list").out


def test_the_secret_is_kept_nowhere(run: Run, config: Path) -> None:
    key = json.loads(run("keys", "create", "--name", "shop", "--scope", "admin", "--json").out)["key"]
    for path in config.parent.iterdir():
        assert key.removeprefix("ntk_").encode() not in path.read_bytes(), path


def test_unknown_key_is_a_found_problem(run: Run, config: Path) -> None:
    done = run("keys", "revoke", "nobody")
    assert (done.code, done.out) == (1, "")
    assert "nobody" in done.err
    done = run("keys", "revoke", "nobody", "--json")
    assert (done.code, json.loads(done.out)["revoked"], done.err) == (1, False, "")


def test_names_that_nobody_can_read(run: Run, config: Path) -> None:
    for name in ("", "  ", "two\nlines", "x" * 101):
        assert "--name" in run("keys", "create", "--name", name, "--scope", "admin").complaint
    assert json.loads(run("keys", "list", "--json").out)["keys"] == []


def test_unknown_scope(run: Run, config: Path) -> None:
    complaint = run("keys", "create", "--name", "x", "--scope", "everything").complaint
    assert "--scope everything" in complaint
    assert "payments:read" in complaint


def test_a_name_is_no_markup(run: Run, config: Path) -> None:
    assert run("keys", "create", "--name", "[/red] [bold]x", "--scope", "admin").code == 0
    assert "[/red]" in run("keys", "list").out


def test_database_that_is_none(run: Run, config: Path) -> None:
    (config.parent / "nodetill.db").write_bytes(b"this is no database at all" * 100)
    assert "database.url" in run("keys", "list").complaint


def test_newer_schema(run: Run, config: Path) -> None:
    assert run("keys", "list").code == 0
    with sqlite3.connect(config.parent / "nodetill.db") as connection:
        connection.execute("INSERT INTO migration (number, name) VALUES (1000, 'of the future')")
    connection.close()
    assert "newer" in run("keys", "list").complaint
