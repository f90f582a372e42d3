"""An older copy of the database is put back, as docs/operations.md says."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from regtest.command_line import ROOT
from regtest.conftest import MakeTill
from regtest.node import RegtestNode


def step_over() -> str:
    """The statement that operators are told to run."""
    (found,) = re.findall(r'"(UPDATE keychain [^"]+)"', (ROOT / "docs" / "operations.md").read_text("utf-8"))
    return str(found)


def test_an_older_copy_of_the_database(node: RegtestNode, make_till: MakeTill, tmp_path: Path) -> None:
    till = make_till(node)
    path, copy = Path(till.database_url.removeprefix("sqlite:///")), tmp_path / "copy.db"
    done, paid_later = till.create("small", "before"), till.create("small", "between")
    node.pay(done["address"], 40_000)
    node.mine(3)
    till.wait_payment(done["payment_id"], "forwarded")
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(copy)) as backup:
        live.backup(backup)
    forgotten = [till.create("small", "after") for _ in range(3)]
    for payment in (paid_later, forgotten[0]):
        node.pay(payment["address"], 40_000)
    node.mine(3)
    for payment in (paid_later, forgotten[0]):
        till.wait_payment(payment["payment_id"], "forwarded")
    till.stop()
    for leftover in path.parent.glob(f"{path.name}*"):
        leftover.unlink()
    with closing(sqlite3.connect(copy)) as backup, closing(sqlite3.connect(path)) as restored:
        backup.backup(restored)
        restored.execute(step_over())
        restored.commit()
    till.start()
    till.wait_level()
    # What came after the copy is read from the chain again, and what was credited before it is not credited twice.
    till.wait_payment(paid_later["payment_id"], "forwarded")
    assert till.entries("before") == till.entries("between") == [("payment", 400)]
    assert till.entries("after") == []
    fresh = [till.create("small", "new") for _ in range(3)]
    given = {payment["address"] for payment in (done, paid_later, *forgotten)}
    assert given.isdisjoint(payment["address"] for payment in fresh)
    node.pay(fresh[0]["address"], 40_000)
    node.mine(3)
    till.wait_payment(fresh[0]["payment_id"], "forwarded")
    assert till.entries("new") == [("payment", 400)]
    till.stop()
