"""`serve --record` on a real node, and `replay`: the same ledger, to the last hash."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from node_watcher.record.reading import Reading
from regtest.command_line import main
from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.node import RegtestNode
from regtest.service import RunningService
from regtest.test_kill_loop import Customers, kill_the_service
from storage.database import Database
from storage.recorded import ledger_shown


def ledger_of(till: RunningService) -> dict[str, Any]:
    """What the service itself has written."""

    async def read() -> dict[str, Any]:
        async with Database(till.database_url) as database:
            return await database.read(ledger_shown)

    return asyncio.run(read())


def replayed(record: Path) -> dict[str, Any]:
    done = main("replay", str(record), "--json")
    assert done.code == 0, done.err + done.out[:2000]
    shown: dict[str, Any] = json.loads(done.out)
    return shown


def same(till: RunningService, record: Path) -> dict[str, Any]:
    """Assert that the replay has the service's own ledger; the replay."""
    own, again = ledger_of(till), replayed(record)
    for part in ("transfers", "payments", "accounts", "ledger_hash"):
        assert again[part] == own[part], part
    assert again["ok"]
    return again


@pytest.mark.parametrize("kind", TWO_COMBINATIONS, ids="-".join)
def test_everything_once_more(
    kind: tuple[str, str], own_node: RegtestNode, make_till: MakeTill, tmp_path: Path
) -> None:
    engine, mode = kind
    record = tmp_path / "till.record"
    till = make_till(own_node, engine, mode, record=record)
    node = own_node

    # Bought and paid: at once, in parts, too much, and bumped on the way.
    plain, parts, much, bumped = (till.create("small", user) for user in ("plain", "parts", "much", "bumped"))
    node.pay(plain["address"], 40_000)
    node.pay(parts["address"], 15_000)
    node.pay(much["address"], 57_123)
    first = node.pay(bumped["address"], 40_000)
    till.wait_payment(bumped["payment_id"], "confirming")
    node.bump(first)
    node.pay(parts["address"], 25_000)
    node.mine(3)
    for payment in (plain, parts, much, bumped):
        till.wait_payment(payment["payment_id"], "forwarded")
    till.post("users/plain/credits/spend", {"amount": 150, "reference": "order 7"})
    assert till.balance("plain") == 250

    # A reorganisation takes a payment back, and gives it again.
    lost = till.create("small", "lost")
    node.pay(lost["address"], 40_000)
    node.mine(3)
    till.wait_payment(lost["payment_id"], "forwarded")
    node.disconnect_blocks(3)
    node.mine_empty(4)
    till.wait_payment(lost["payment_id"], lambda p: p["credited"] == 0)
    node.mine(3)
    till.wait_payment(lost["payment_id"], "forwarded")

    # kill -9 of the service in the middle of things, a node that restarts.
    till.kill()
    till.start()
    killed = till.create("small", "killed")
    node.pay(killed["address"], 40_000)
    node.restart()
    node.mine(1)
    till.wait_payment(killed["payment_id"], lambda p: p["confirmations"] == 1)
    node.mine(2)
    till.kill()
    till.start()
    till.wait_payment(killed["payment_id"], "forwarded")
    till.wait_level()
    till.stop()
    shown = same(till, record)
    assert shown["compared_at_end"]
    assert shown["runs"] == 3
    kinds = {row["kind"] for row in shown["transfers"]}
    assert kinds >= {"deposit", "reversal", "spend"} | ({"forward"} if mode == "forwarding" else set())
    assert oct(record.stat().st_mode & 0o777) == "0o600"


KILLS = int(os.environ.get("RECORD_KILLS", "5"))


@pytest.mark.timeout(60 + 20 * KILLS)
@pytest.mark.parametrize("kind", TWO_COMBINATIONS, ids="-".join)
def test_kills_in_the_middle_of_its_work(
    kind: tuple[str, str], own_node: RegtestNode, make_till: MakeTill, tmp_path: Path
) -> None:
    record = tmp_path / "till.record"
    quick = {"payments": {"check_interval_seconds": 0.2}}
    till = make_till(own_node, *kind, start=False, record=record, settings=quick)
    seed = os.environ.get("RECORD_SEED", "1")
    customers = Customers(till, random.Random(f"record-{seed}-{kind}"), own_node.height)
    assert till.key
    for number in range(KILLS):
        kill_the_service(till, customers, at_work=number % 3 != 2)
    till.start(ready=False)
    own_node.mine(3)
    till.wait_level(timeout=60)
    spent = [user for user in (f"user-{n}" for n in range(1, customers.bought + 1)) if till.balance(user)]
    for user in spent:
        till.post(f"users/{user}/credits/spend", {"amount": 1, "reference": f"taste of {user}"})
    till.kill()
    till.start()
    till.wait_level()
    till.stop()
    shown = same(till, record)
    print(f"{KILLS} kills, {len(shown['transfers'])} transfers, {shown['lines']} lines, {record.stat().st_size} bytes")
    assert shown["runs"] >= 3
    assert len(shown["transfers"]) > len(spent) > 0


def bought(till: RunningService, user_id: str) -> None:
    payment = till.create("small", user_id)
    till.node.pay(payment["address"], 40_000)
    till.node.mine(3)
    till.wait_payment(payment["payment_id"], "forwarded")


@pytest.mark.parametrize("kind", TWO_COMBINATIONS, ids="-".join)
def test_a_record_may_begin_when_much_has_happened(
    kind: tuple[str, str], own_node: RegtestNode, make_till: MakeTill, tmp_path: Path
) -> None:
    till = make_till(own_node, *kind)
    bought(till, "before")
    open_still = till.create("small", "before and after")
    own_node.pay(open_still["address"], 15_000)
    till.wait_payment(open_still["payment_id"], lambda p: p["received_sat"] == 15_000)
    till.stop()
    till.record = tmp_path / "till.record"
    till.start()
    bought(till, "after")
    own_node.pay(open_still["address"], 25_000)
    own_node.mine(3)
    till.wait_payment(open_still["payment_id"], "forwarded")
    own_node.reorg(4, with_mempool=True)
    till.wait_level()
    till.stop()
    assert same(till, till.record)["compared_at_end"]

    # It goes on after a stop; what happened without it cannot be played, and is refused.
    till.start()
    bought(till, "later")
    till.stop()
    assert same(till, till.record)["runs"] == 2
    record, till.record = till.record, None
    till.start()
    bought(till, "unseen")
    till.stop()
    main("serve", "--config", str(till.config), "--record", str(record)).refused(
        "--record", "has run without it; name another file"
    )


def test_nothing_secret_is_in_it(own_node: RegtestNode, make_till: MakeTill, tmp_path: Path) -> None:
    record = tmp_path / "till.record"
    till = make_till(own_node, "sqlite", "forwarding", record=record)
    key, token = till.key, till.user_token("somebody")
    till.ask("GET", "users/somebody/credits", key=token).expect(200)
    bought(till, "somebody")
    till.stop()
    seed = json.loads((till.folder / "seed.json").read_text("utf-8"))
    secrets = [
        key,
        token,
        till.user_token_secret,
        till.settings["wallet"]["seed_passphrase"],
        till.database_url,
        own_node.cookie_file.read_text("utf-8").strip(),
        own_node.cookie_file.read_text("utf-8").strip().partition(":")[2],
        *(text for text in texts_in(seed) if len(text) > 20),
    ]
    reading = Reading(record)
    everything = record.read_text("utf-8") + json.dumps([reading.whole(said) for _, said in reading], default=str)
    reading.close()
    assert "somebody" in everything
    for secret in secrets:
        assert secret
        assert secret not in everything


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in texts_in(inner)]
    return [value] if isinstance(value, str) else []


def test_where_a_record_cannot_be(own_node: RegtestNode, make_till: MakeTill, tmp_path: Path) -> None:
    till = make_till(own_node, start=False)
    (tmp_path / "rubbish").write_text("hello\n")
    for name, words in (("rubbish", "is no record of nodetill"), ("none/till.record", "cannot be written")):
        main("serve", "--config", str(till.config), "--record", str(tmp_path / name)).refused(words)
    assert (tmp_path / "rubbish").read_text() == "hello\n"

    database = Path(till.settings["database"]["url"].removeprefix("sqlite:///"))
    for file in (database, database.with_name(database.name + "-wal"), database.with_name(database.name + ".lock")):
        main("serve", "--config", str(till.config), "--record", str(file)).refused("is a file of the database")
    assert not database.exists()
