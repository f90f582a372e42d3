"""An older copy of the database is put back: no address that somebody was shown is shown to another."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from node_watcher.look_ahead import GAP
from regtest.command_line import ROOT
from regtest.conftest import MakeTill
from regtest.node import RegtestNode
from regtest.service import RunningService
from regtest.test_record import same
from storage.till import DISTANCE

Payment = dict[str, Any]


def step_over() -> str:
    """The statement that operators may run as well."""
    (found,) = re.findall(r'"(UPDATE keychain [^"]+)"', (ROOT / "docs" / "operations.md").read_text("utf-8"))
    return str(found)


class Shop:
    """A shop with a copy of its database, after which three addresses were handed out and the first of them paid."""

    def __init__(self, till: RunningService, copy: Path) -> None:
        self.till, self.node = till, till.node
        self.path, self.copy = Path(till.database_url.removeprefix("sqlite:///")), copy
        self.before, self.between = till.create("small", "before"), till.create("small", "between")
        self.paid(self.before)
        with closing(sqlite3.connect(self.path)) as live, closing(sqlite3.connect(copy)) as backup:
            live.backup(backup)
        self.forgotten = [till.create("small", "after") for _ in range(3)]
        self.paid(self.between, self.forgotten[0])
        till.stop()

    def paid(self, *payments: Payment) -> None:
        for payment in payments:
            self.node.pay(payment["address"], 40_000)
        self.node.mine(3)
        for payment in payments:
            self.till.wait_payment(payment["payment_id"], "forwarded")

    def put_back(self, statement: str = "") -> None:
        for leftover in self.path.parent.glob(f"{self.path.name}*"):
            leftover.unlink()
        shutil.copy(self.copy, self.path)
        if statement:
            with closing(sqlite3.connect(self.path)) as restored:
                restored.execute(statement)
                restored.commit()

    def sell(self) -> list[int]:
        """Three new customers; what of index each has, and that none has an address that was seen before."""
        fresh = [self.till.create("small", f"new-{number}") for number in range(3)]
        known = {payment["address"] for payment in (self.before, self.between, *self.forgotten)}
        assert known.isdisjoint(payment["address"] for payment in fresh)
        self.fresh = fresh
        with closing(sqlite3.connect(self.path)) as database:
            return [i for (i,) in database.execute("SELECT address_index FROM payment ORDER BY number DESC LIMIT 3")]

    def ends_well(self) -> None:
        """What came after the copy is read from the chain again, and nobody has what is another's."""
        till = self.till
        till.wait_level()
        till.wait_payment(self.between["payment_id"], "forwarded")
        self.paid(self.fresh[0])
        for user in ("before", "between", "new-0"):
            assert till.entries(user) == [("payment", 400)]
        for user in ("after", "new-1", "new-2"):
            assert till.entries(user) == []
        till.stop()
        if till.record is not None:
            same(till, till.record)


@pytest.fixture
def shop(own_node: RegtestNode, make_till: MakeTill, tmp_path: Path) -> Shop:
    own_node.start()
    shop = Shop(make_till(own_node), tmp_path / "copy.db")
    shop.till.record = tmp_path / "record"
    return shop


def test_what_was_paid_since_is_stepped_over(shop: Shop) -> None:
    shop.put_back()
    shop.till.start(ready=False)  # the first of them buys before the first look at the node is done
    assert shop.sell() == [GAP + 5, GAP + 4, GAP + 3]
    shop.ends_well()


def test_the_node_is_down_meanwhile(shop: Shop) -> None:
    shop.put_back()
    shop.node.stop()
    shop.till.start(ready=False)
    assert shop.sell() == [DISTANCE + 4, DISTANCE + 3, DISTANCE + 2]
    shop.node.start()
    shop.ends_well()


@pytest.mark.parametrize("away", [True, False])
def test_a_copy_of_before_the_first_sale(
    own_node: RegtestNode, make_till: MakeTill, tmp_path: Path, away: bool
) -> None:
    own_node.start()
    till = make_till(own_node)
    till.wait_level()
    assert till.entries("old") == []  # makes the key that the copy has, too
    path, copy = Path(till.database_url.removeprefix("sqlite:///")), tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(copy)) as backup:
        live.backup(backup)
    old = till.create("small", "old")
    own_node.pay(old["address"], 40_000)
    own_node.mine(150)
    till.wait_payment(old["payment_id"], "forwarded")
    till.stop()
    for leftover in path.parent.glob(f"{path.name}*"):
        leftover.unlink()
    shutil.copy(copy, path)
    if away:
        own_node.stop()
    till.start(ready=False)
    new = till.create("small", "new")
    if away:
        own_node.start()
    till.wait_level()
    assert new["address"] != old["address"]
    assert till.entries("new") == []
    till.stop()


def test_the_operator_steps_over(shop: Shop) -> None:
    shop.put_back(step_over())
    shop.till.start()
    assert shop.sell() == [1_004, 1_003, 1_002]
    shop.ends_well()
