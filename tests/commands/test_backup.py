"""`backup` and `restore` for the person who types them: what is said, what is refused, what is to be looked at."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.commands.conftest import Run


@pytest.fixture
def used(run: Run, config: Path) -> Path:
    """The settings of a till with a key that works and one that was revoked."""
    kept = json.loads(run("keys", "create", "--name", "[kept]", "--scope", "admin", "--json").out)
    gone = json.loads(run("keys", "create", "--name", "gone", "--scope", "admin", "--json").out)
    assert run("keys", "revoke", gone["id"]).code == 0
    assert kept["id"] in run("keys", "list").out
    return config


def lose(config: Path) -> None:
    for path in config.parent.glob("nodetill.db*"):
        path.unlink()


def test_there_and_back(run: Run, used: Path) -> None:
    done = run("backup", "till.backup")
    assert (done.code, done.err) == (0, "")
    assert "read again and verified" in done.out
    lose(used)
    done = run("restore", "till.backup")
    assert (done.code, done.err) == (0, "")
    assert "The ledger agrees" in done.out
    assert "index 1000" in done.out
    assert "[kept]  admin" in done.out
    assert "gone" not in done.out.split("API keys")[1]
    assert run("restore", "till.backup").complaint.startswith("database.url: ")
    assert "never overwritten" in run("backup", "till.backup").complaint


def test_for_programs(run: Run, used: Path) -> None:
    made = json.loads(run("backup", "till.backup", "--json").out)
    assert made.keys() == {
        "file", "bytes", "schema", "network", "engine", "created_at", "transfers", "ledger_hash", "rows",
    }  # fmt: skip
    assert (made["network"], made["engine"], made["rows"]["api_key"]) == ("regtest", "sqlite", 2)
    lose(used)
    back = json.loads(run("restore", "till.backup", "--step-over", "2500", "--json").out)
    assert back.keys() == {
        "file", "ok", "backup", "ledger_hash", "next_index", "event", "active_keys", "differences",
    }  # fmt: skip
    assert (back["ok"], back["next_index"], back["differences"]) == (True, 2_500, [])
    assert back["backup"] == {name: made[name] for name in back["backup"]}
    assert [key["name"] for key in back["active_keys"]] == ["[kept]"]


def test_a_ledger_that_was_broken_before_is_told(run: Run, used: Path) -> None:
    with closing(sqlite3.connect(used.parent / "nodetill.db")) as database:
        database.execute("INSERT INTO account (kind, unit, owner, balance) VALUES ('user', 'credit', 'eve', 1000)")
        database.commit()
    assert run("backup", "till.backup").code == 0
    lose(used)
    done = run("restore", "till.backup")
    assert done.code == 1
    assert "balance: The credit account user eve shows 1000, its entries add up to 0." in done.out


def test_what_is_refused(run: Run, used: Path, tmp_path: Path) -> None:
    assert "--step-over" in run("restore", "till.backup", "--step-over", "10").complaint
    assert "till.backup cannot be read: No such file" in run("restore", "till.backup").complaint
    assert "is no backup of nodetill" in run("restore", used).complaint
    assert "is no backup of nodetill" in run("restore", "nodetill.db").complaint
    assert "cannot be read: Is a directory" in run("restore", tmp_path).complaint
    lose(used)
    assert "does not exist" in run("backup", "till.backup").complaint
    assert not list(tmp_path.glob("*.db*"))


def test_no_secret_is_in_it(run: Run, used: Path) -> None:
    key = json.loads(run("keys", "create", "--name", "shop", "--scope", "admin", "--json").out)["key"]
    assert run("backup", "till.backup").code == 0
    assert key.rsplit("_", 1)[1] not in Path("till.backup").read_text("ascii")
