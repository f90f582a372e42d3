"""The restore drill: a till is lost, and its backup put into a new place, on either database, beside the same node."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from regtest.agreement import agree
from regtest.command_line import main
from regtest.conftest import MakeTill, MakeUrl
from regtest.crash_days import SOLD
from regtest.node import RegtestNode
from regtest.service import RunningService
from storage.till import DISTANCE

Payment = dict[str, Any]
WAYS = [("sqlite", "sqlite"), ("postgres", "postgres"), ("sqlite", "postgres")]
"""From where to where."""


def command(till: RunningService, *words: str) -> dict[str, Any]:
    """The JSON of a command that must go well."""
    done = main(*words, "--json", "--config", str(till.config))
    assert done.code == 0, done.out + done.err
    said: dict[str, Any] = json.loads(done.out)
    return said


def move_to(till: RunningService, url: str) -> None:
    """The service begins anew, in another place."""
    till.database_url = url
    till.settings["database"]["url"] = url
    till.write_config()


class Load:
    """Customers who buy while something else happens, each under a name of his own."""

    def __init__(self, till: RunningService) -> None:
        self._till, self._over = till, threading.Event()
        self.orders: list[Payment] = []
        self._threads = [threading.Thread(target=self._buy, args=(number,)) for number in range(3)]

    def _buy(self, number: int) -> None:
        count = 0
        while not self._over.is_set():
            count += 1
            self.orders.append(self._till.create("small", f"load-{number}-{count}"))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self._till.wait("some customers", lambda: len(self.orders) >= 10)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("way", WAYS, ids="-to-".join)
def test_the_drill(
    way: tuple[str, str], own_node: RegtestNode, make_till: MakeTill, make_database: MakeUrl, tmp_path: Path
) -> None:
    source, target = way
    own_node.start()
    till, node, file = make_till(own_node, source), own_node, tmp_path / "till.backup"
    begin = node.height
    till.wait_level()
    done, open_, late = (till.create("small", user) for user in ("done", "open", "late"))
    revoked = till.new_key("admin").split("_")[1]
    node.pay(done["address"], 40_000)
    node.mine(3)
    till.wait_payment(done["payment_id"], "forwarded")
    node.pay(open_["address"], 40_000)  # in the mempool while the backup is made
    till.wait_payment(open_["payment_id"], "confirming")
    with Load(till) as load:
        made = command(till, "backup", str(file))
    assert made["rows"]["payment"] >= 3
    # Since then: sold, paid, mined, revoked, spent. All of that is lost but what is in the chain.
    forgotten = [till.create("small", "forgotten") for _ in range(5)]
    node.pay(late["address"], 40_000)
    node.pay(forgotten[2]["address"], 40_000)
    node.mine(3)
    for payment in (open_, late, forgotten[2]):
        till.wait_payment(payment["payment_id"], "forwarded")
    till.post("users/done/credits/spend", {"amount": 150, "reference": "job"})
    assert main("keys", "revoke", revoked, "--config", str(till.config)).code == 0
    seen = till.get("events?after=0&limit=100")["next_after"]
    while (page := till.get(f"events?after={seen}&limit=100"))["events"]:
        seen = page["next_after"]
    shown = {p["address"] for p in (done, open_, late, *forgotten, *load.orders)}
    till.stop()

    # The disk is gone. The same node, an empty place.
    node.pay(forgotten[3]["address"], 40_000)
    node.pay(forgotten[4]["address"], 40_000)
    node.mine(1)
    move_to(till, make_database(target))
    back = command(till, "restore", str(file))
    assert (back["ok"], back["differences"], back["backup"]["engine"]) == (True, [], source)
    assert back["ledger_hash"] == made["ledger_hash"]
    assert back["backup"] == {name: made[name] for name in back["backup"]}
    assert revoked in {key["id"] for key in back["active_keys"]}
    assert back["next_index"] == made["rows"]["payment"] + DISTANCE
    main("restore", str(file), "--config", str(till.config)).refused("into an empty place only")
    till.start()
    till.wait_level()
    for payment in (open_, late):
        till.wait_payment(payment["payment_id"], "forwarded")
    for user in ("done", "open", "late"):
        assert till.entries(user) == [("payment", 400)]
    assert till.entries("forgotten") == []
    for payment in forgotten[2:]:
        assert till.log_says(f"pays the address with index {index_of(till, payment)}, which this database has not") == 1

    # Somebody whom the till has forgotten pays only now.
    node.pay(forgotten[0]["address"], 40_000)
    till.wait("his coins", lambda: till.log_says(f"index {index_of(till, forgotten[0])}, which") == 1)
    new = [till.create("small", f"new-{number}") for number in range(3)]
    assert shown.isdisjoint(payment["address"] for payment in new)
    node.pay(new[0]["address"], 40_000)
    node.mine(3)
    till.wait_payment(new[0]["payment_id"], "forwarded")
    # A shop that had read beyond the backup hears of it, and of all that came since.
    (told, *since) = till.get(f"events?after={seen}&limit=100")["events"]
    assert (told["type"], told["data"]["events_until"]) == ("till.restored", made["rows"]["event"])
    assert "payment.confirmed" in {event["type"] for event in since}

    indexes = [index_of(till, payment) for payment in new]
    till.restart()  # leaves out nothing more
    after = till.create("small", "after-restart")
    assert [*indexes, index_of(till, after)] == [back["next_index"] + number for number in range(4)]
    agree(till, [done, open_, late, *new, after], SOLD, begin)


def index_of(till: RunningService, payment: Payment) -> int:
    """Number of an address in the owner's descriptor."""
    listed = till.node.rpc("getdescriptorinfo", till.owner.descriptor)["descriptor"]
    return list(till.node.rpc("deriveaddresses", listed, [0, 2 * DISTANCE])).index(payment["address"])


def test_what_was_forwarded_since(
    own_node: RegtestNode, make_till: MakeTill, make_database: MakeUrl, tmp_path: Path
) -> None:
    """The sweep of one payment is mined and forgotten, that of another waits in the mempool and is forgotten."""
    own_node.start()
    till, node, file = make_till(own_node, "sqlite", "forwarding"), own_node, tmp_path / "till.backup"
    till.wait_level()
    before, mined, waiting = (till.create("small", user) for user in ("before", "mined", "waiting"))
    pay_and_forward(till, before)
    command(till, "backup", str(file))
    swept = pay_and_forward(till, mined)["forwarding_tx_hash"]
    node.mine(1)
    again = pay_and_forward(till, waiting)["forwarding_tx_hash"]
    till.stop()
    move_to(till, make_database("postgres"))
    command(till, "restore", str(file))
    till.start()
    till.wait_level()
    for payment, sweep in ((mined, swept), (waiting, again)):
        shown = till.wait_payment(payment["payment_id"], "forwarded")
        assert (shown["forwarding_tx_hash"], shown["credited"]) == (sweep, 400)
    node.mine(1)
    till.wait_level()
    for user in ("before", "mined", "waiting"):
        assert till.entries(user) == [("payment", 400)]
    audited = main("audit", "--full", "--json", "--config", str(till.config))
    assert json.loads(audited.out)["differences"] == []


def pay_and_forward(till: RunningService, payment: Payment) -> Payment:
    till.node.pay(payment["address"], 40_000)
    till.node.mine(3)
    return till.wait_payment(payment["payment_id"], "forwarded")
