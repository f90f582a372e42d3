"""Good and bad days of the node beside us, and our own: down, hanging, restarted, killed, gone back."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from regtest.command_line import main
from regtest.conftest import TWO_COMBINATIONS, MakeTill
from regtest.node import RegtestNode
from regtest.service import RunningService
from regtest.small_package import credited_once, seen
from storage.api_keys import find_key
from storage.database import Database
from storage.records import payment_by_id


@pytest.fixture(scope="module", params=TWO_COMBINATIONS, ids="-".join)
def till(request: pytest.FixtureRequest, own_node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    service = make_till(own_node, *request.param)
    yield service
    service.stop()


def newest_blocks(node: RegtestNode) -> list[str]:
    """Raw blocks, oldest first, farther back than a killed node can have forgotten since its last clean stop."""
    heights = range(node.height - 100, node.height + 1)
    return [str(node.rpc("getblock", node.rpc("getblockhash", height), 0)) for height in heights]


def give_again(node: RegtestNode, blocks: list[str]) -> None:
    """What the peers of a real node would do after it has gone back."""
    for block in blocks:
        node.rpc("submitblock", block)


def test_the_node_is_down_at_the_first_start(own_node: RegtestNode, make_till: MakeTill) -> None:
    till = make_till(own_node, start=False)
    own_node.stop()
    try:
        till.start(ready=False)
        till.wait("a reason", lambda: till.not_ready() == ["node"])
        answer = till.ask("GET", "/readyz", key=None)
        assert answer.status == 503
        assert "the node is not running" in answer.json()["reasons"][0]["detail"]
        payment = till.create("small", "early")
        assert till.payment(payment["payment_id"]) == payment
        began = time.monotonic()
        told = till.ask("POST", f"confirm/{payment['payment_id']}")
        assert (told.status, time.monotonic() - began < 5) == (409, True)
        assert "The node could not be asked just now" in told.json()["detail"]
        assert till.ask("GET", "/healthz", key=None).status == 200
    finally:
        own_node.start()
    own_node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    own_node.mine(3)
    credited_once(till, payment["payment_id"], "early")
    till.wait_level()
    till.stop()


def test_the_node_restarts_in_the_middle(till: RunningService, own_node: RegtestNode) -> None:
    payment_id = seen(till, "patient")
    own_node.mine(1)
    till.wait_payment(payment_id, lambda p: p["confirmations"] == 1)
    own_node.stop()
    till.wait("a reason", lambda: till.not_ready() == ["node"])
    created = till.create("small", "patient")
    shown = till.payment(payment_id)
    assert (shown["status"], shown["confirmations"]) == ("confirming", 1)
    own_node.start()  # with a new cookie
    own_node.mine(2)
    credited_once(till, payment_id, "patient")
    till.wait_level()
    own_node.pay(created["address"], 40_000)
    till.wait_payment(created["payment_id"], "confirming")
    own_node.mine(3)
    till.wait_payment(created["payment_id"], "forwarded")


def test_the_node_is_killed(till: RunningService, own_node: RegtestNode) -> None:
    payment_id = seen(till, "killed")
    own_node.mine(3)
    credited_once(till, payment_id, "killed")
    waiting = seen(till, "killed-2")
    raw = own_node.rpc("getrawtransaction", till.payment(waiting)["tx_hash"])
    kept = newest_blocks(own_node)
    own_node.kill()
    own_node.start()
    give_again(own_node, kept)
    till.wait_level()
    credited_once(till, payment_id, "killed")
    own_node.rpc("sendrawtransaction", raw)
    till.wait_payment(waiting, "confirming")
    own_node.mine(3)
    credited_once(till, waiting, "killed-2")


def test_the_node_comes_back_with_fewer_blocks(till: RunningService, own_node: RegtestNode, tmp_path: Path) -> None:
    own_node.stop()
    shutil.copytree(own_node.datadir / "regtest", tmp_path / "regtest")
    own_node.start()
    till.wait_level()
    payment_id = seen(till, "restored")
    own_node.mine(3)
    kept = newest_blocks(own_node)
    credited_once(till, payment_id, "restored")
    before = till.payment(payment_id)
    own_node.stop()
    shutil.rmtree(own_node.datadir / "regtest")
    shutil.copytree(tmp_path / "regtest", own_node.datadir / "regtest")
    own_node.start()
    till.wait("the reason", lambda: till.not_ready() == ["node-behind"])
    assert till.look(payment_id) == before, "nothing is undone"
    assert till.entries("restored") == [("payment", 400)]
    till.create("small", "restored")
    give_again(own_node, kept)
    till.wait_level()
    credited_once(till, payment_id, "restored")
    assert till.events_of(payment_id).count("payment.reorged") == 0


def test_the_first_sale_after_a_restart_while_the_node_is_down(till: RunningService, own_node: RegtestNode) -> None:
    """The node was looked at since the start: no address has to be left out (see test_old_backup.py)."""
    before = till.create("small", "first-sale")
    till.restart()
    till.wait_level()
    till.ask("POST", f"confirm/{before['payment_id']}")  # returns after a look, and so after the one of the start
    own_node.stop()
    try:
        till.wait("that the node is gone", lambda: till.ask("GET", "/readyz", key=None).status == 503)
        after = till.create("small", "first-sale")
    finally:
        own_node.start()
    indexes = asyncio.run(indexes_of(till, before["payment_id"], after["payment_id"]))
    assert indexes[1] == indexes[0] + 1
    till.wait_level()


async def indexes_of(till: RunningService, *payment_ids: str) -> list[int]:
    async with Database(till.database_url, read_only=True) as database:
        found = [await database.read(payment_by_id, payment_id) for payment_id in payment_ids]
    return [payment.address_index for payment in found if payment is not None]


def test_the_wallet_is_unloaded(till: RunningService, own_node: RegtestNode) -> None:
    wallet = till.settings["node"]["wallet"]
    till.wait("the wallet", lambda: wallet in own_node.rpc("listwallets"))
    own_node.rpc("unloadwallet", wallet)
    payment_id = seen(till, "no-wallet")
    own_node.mine(3)
    credited_once(till, payment_id, "no-wallet")
    till.wait("the wallet again", lambda: wallet in own_node.rpc("listwallets"))
    till.wait_level()
    assert till.log_says("knew payment transaction") == 0, "the second witness found something we had missed"


def test_we_restart_between_payment_and_block(till: RunningService, own_node: RegtestNode) -> None:
    payment_id = seen(till, "between")
    till.restart()
    own_node.mine(2)
    till.wait_payment(payment_id, lambda p: p["confirmations"] == 2)
    till.kill()
    own_node.mine(1)
    till.start()
    credited_once(till, payment_id, "between")
    events = till.events_of(payment_id)
    assert (events.count("payment.detected"), events.count("payment.confirmed")) == (1, 1)


def test_paid_and_mined_while_we_are_down(till: RunningService, own_node: RegtestNode) -> None:
    mined, unconfirmed = till.create("small", "away-1"), till.create("small", "away-2")
    till.kill()
    own_node.pay(mined["address"], 40_000)
    own_node.mine(4)
    own_node.pay(unconfirmed["address"], 40_000)
    till.start()
    credited_once(till, mined["payment_id"], "away-1")
    assert till.wait_payment(unconfirmed["payment_id"], "confirming")["confirmations"] == 0
    own_node.mine(3)
    credited_once(till, unconfirmed["payment_id"], "away-2")


def test_paid_and_spent_while_we_are_down(till: RunningService, own_node: RegtestNode) -> None:
    """The owner moves the coins on before we have seen them; in forwarding mode nobody but us can."""
    payment = till.create("small", "spent")
    till.kill()
    own_node.pay(payment["address"], 40_000)
    own_node.mine(3)
    if till.mode == "watch-only":
        own_node.rpc("sendall", [own_node.new_address()], None, "unset", 5, {}, wallet=till.owner.name)
        own_node.mine(1)
        assert till.owner.received() == {}
    till.start()
    credited_once(till, payment["payment_id"], "spent")


async def was_used(url: str, key_id: str) -> bool:
    async with Database(url) as database:
        key = await database.read(find_key, key_id)
        return key is not None and key.last_used_at is not None


def test_a_command_beside_us_takes_nothing_away(till: RunningService) -> None:
    """SQLite's last program to leave removes the journal: it must not take us for gone."""
    before = till.create("small", "beside")
    words = ("keys", "create", "--name", "second", "--scope", "payments:read", "--json")
    done = main(*words, "--config", str(till.config))
    made = json.loads(done.out)
    assert (done.code, made["scopes"], made.keys()) == (0, ["payments:read"], {"id", "key", "scopes"})
    after = till.create("small", "beside")
    till.kill()
    till.start()
    for payment in (before, after):
        assert till.get(f"payments/{payment['payment_id']}", key=made["key"]) == payment
    till.wait("when it was used", lambda: asyncio.run(was_used(till.database_url, made["id"])))
    assert main("keys", "revoke", made["id"], "--config", str(till.config)).code == 0
    assert till.ask("GET", "payments", key=made["key"]).status == 401
    if till.database_url.startswith("sqlite"):
        assert Path(till.database_url.removeprefix("sqlite:///")).stat().st_mode & 0o077 == 0


def test_the_same_request_after_a_crash(till: RunningService) -> None:
    body, headers = {"package_id": "small", "user_id": "repeat"}, {"Idempotency-Key": "crash-1"}
    first = till.ask("POST", "payments", body, headers=headers).expect(201)
    till.kill()
    till.start()
    assert till.ask("POST", "payments", body, headers=headers).expect(201) == first
    assert len(till.get("payments?user_id=repeat")["payments"]) == 1


def test_the_node_hangs(own_node: RegtestNode, make_till: MakeTill) -> None:
    till = make_till(own_node)
    payment_id = seen(till, "hung")
    own_node.suspend()
    try:
        began = time.monotonic()
        created = till.create("small", "hung")
        assert time.monotonic() - began < 5, "a request never waits for the node"
        till.wait("a reason", lambda: till.not_ready() == ["node"], timeout=45)
        assert till.payment(created["payment_id"])["status"] == "pending"
    finally:
        own_node.resume()
    till.wait_level()
    own_node.mine(3)
    credited_once(till, payment_id, "hung")
    till.stop()


def test_stopping_is_quick_and_clean(till: RunningService) -> None:
    before = len(till.log())
    began = time.monotonic()
    assert till.stop() == 0
    assert time.monotonic() - began < 10
    assert not [line for line in till.log()[before:] if line["level"] not in ("info",)]
    till.start()
