"""Money out where nobody signs here: the PSBT goes to a wallet that nodetill does not know, and comes back signed."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from embit.psbt import PSBT

from regtest.command_line import Ended, main
from regtest.conftest import MakeTill
from regtest.node import RegtestNode, to_sat
from regtest.owner import Owner
from regtest.service import RunningService
from storage.database import Database
from storage.tx import Tx
from tests.node_watcher.signing.offline_wallet import KINDS, OfflineWallet, open_signer

PRICE = 40_000
_KEYS = itertools.count(20)


@dataclass(frozen=True)
class Desk:
    """A till in offline mode, and the wallets that hold its keys."""

    node: RegtestNode
    till: RunningService
    wallet: OfflineWallet
    signers: tuple[str, ...]
    owner: Owner
    folder: Path

    @property
    def forward_to(self) -> str:
        return str(self.till.settings["wallet"]["forward_to"])

    def run(self, *words: str, given: str = "") -> Ended:
        return main("forward", *words, "--config", str(self.till.config), given=given, timeout=90)

    def told(self, *words: str, code: int = 0, given: str = "") -> dict[str, Any]:
        done = self.run(*words, "--json", given=given)
        assert done.code == code, done
        answer: dict[str, Any] = json.loads(done.out)
        return answer

    def sell(self, *users: str) -> list[str]:
        """A payment of each with its credits on the account."""
        made = [self.till.create("small", user) for user in users]
        for payment in made:
            self.node.pay(payment["address"], PRICE)
        self.node.mine(3)
        for payment in made:
            self.till.wait_payment(payment["payment_id"], "confirmed")
        return [str(payment["payment_id"]) for payment in made]

    def handed_out(self, *words: str) -> str:
        done = self.run("psbt", "--out", "-", *words)
        assert done.code == 0, done
        return done.out.strip()

    def signed(self, psbt: str) -> str:
        """By as many of the wallets as have to, each by itself."""
        made = [self.node.rpc("walletprocesspsbt", psbt, wallet=name)["psbt"] for name in self.signers]
        return str(made[0] if len(made) == 1 else self.node.rpc("combinepsbt", made))

    def arrived(self) -> int:
        """What is at the destination, in satoshi."""
        received = self.node.rpc("listreceivedbyaddress", 0, wallet=self.owner.name, address_filter=self.forward_to)
        return sum(to_sat(row["amount"]) for row in received)

    def facts(self) -> list[Any]:
        """All that money out has written."""

        def read(tx: Tx) -> list[Any]:
            tables = ("sweep", "sweep_spend", "sweep_input", "transfer", "forward_order", "forward_late")
            looks = tx.all("SELECT look_wanted FROM till")
            return [[tuple(row[k] for k in row.keys()) for row in tx.all(f"SELECT * FROM {t}")] for t in tables] + [  # noqa: SIM118
                looks[0]["look_wanted"]
            ]

        async def ask() -> list[Any]:
            async with Database(self.till.database_url, read_only=True) as database:
                return await database.read(read)

        return asyncio.run(ask())

    def audited(self) -> None:
        done = main("audit", "--full", "--json", "--config", str(self.till.config))
        assert (done.code, json.loads(done.out)["differences"]) == (0, []), done


MakeDesk = Callable[..., Desk]


@pytest.fixture
def make_desk(own_node: RegtestNode, make_till: MakeTill, tmp_path: Path) -> Iterator[MakeDesk]:
    made: list[str] = []

    def make(engine: str = "sqlite", kind: str = "wpkh", **options: Any) -> Desk:
        wallet = replace(KINDS[kind], masters=tuple(next(_KEYS) for _ in KINDS[kind].masters))
        names = tuple(f"{kind}-{place}-{secrets.token_hex(4)}" for place in range(wallet.needed))
        for place, name in enumerate(names):
            open_signer(own_node, name, wallet, place)
            made.append(name)
        owner = Owner(own_node)
        settings = {"wallet": {"descriptor": wallet.public.text, "forward_to": owner.new_address()}}
        settings |= options.pop("settings", {})
        till = make_till(own_node, engine, "watch-only", owner=owner, settings=settings, **options)
        return Desk(own_node, till, wallet, names, owner, tmp_path)

    yield make
    for name in made:
        own_node.rpc("unloadwallet", name)


@pytest.mark.parametrize(
    ("engine", "kind"),
    [("sqlite", "wpkh"), ("postgres", "wpkh"), ("sqlite", "tr"), ("postgres", "wsh-sortedmulti"), ("sqlite", "pkh")],
)
def test_from_the_sale_to_the_owner(make_desk: MakeDesk, engine: str, kind: str) -> None:
    desk = make_desk(engine, kind)
    nothing = desk.run("psbt", "--out", "-")
    assert (nothing.code, nothing.out) == (1, "")
    assert "none waits" in nothing.err
    ids = desk.sell("first", "second")
    planned = desk.told("plan")
    assert (planned["waits_for"], [batch["inputs"] for batch in planned["batches"]]) == ("psbt", [2])
    before = desk.facts()
    out = desk.folder / "sweep.psbt"
    shown = desk.told("psbt", "--out", str(out))
    assert desk.facts() == before
    assert (shown["value_sat"], shown["destination"]) == (2 * PRICE, desk.forward_to)
    assert shown["fee_sat"] == planned["batches"][0]["fee_sat"]
    assert {coin["payment_id"] for coin in shown["inputs"]} == set(ids)
    psbt = base64.b64encode(out.read_bytes()).decode()
    seen = desk.node.rpc("decodepsbt", psbt)
    assert to_sat(seen["fee"]) == shown["fee_sat"]
    assert all(("non_witness_utxo" in inside) == (kind != "tr") for inside in seen["inputs"])

    back = desk.folder / "signed"
    back.write_text(desk.signed(psbt))
    taken = desk.told("psbt", "--in", str(back))
    assert (taken["state"], taken["new"], taken["fee_sat"]) == ("broadcast", True, shown["fee_sat"])
    assert taken["txid"] in desk.node.mempool()
    for payment_id in ids:
        assert desk.till.wait_payment(payment_id, "forwarded")["forwarding_tx_hash"] == taken["txid"]
    assert desk.till.log_says("Successfully forwarded") == 1

    before = desk.facts()
    again = desk.run("psbt", "--in", str(back))
    assert (again.code, "was handed in before, and is broadcast; nothing was changed" in again.out) == (0, True), again
    raw = desk.node.rpc("getrawtransaction", taken["txid"])
    assert not desk.told("psbt", "--in", "-", given=raw)["new"]  # the same in another form
    assert desk.facts() == before

    desk.sell("held")  # that one stays
    assert desk.arrived() == shown["arrives_sat"]
    assert desk.arrived() + taken["fee_sat"] + desk.till.figures()["nodetill_forward_backlog_sat"] == 3 * PRICE
    desk.node.mine(6)
    desk.till.wait_level()
    desk.till.wait("the end of the sweep", lambda: desk.told("plan")["sweeps"] == [])
    desk.audited()
    assert [desk.till.balance(user) for user in ("first", "second", "held")] == [400, 400, 400]


def test_a_stuck_one_is_replaced(make_desk: MakeDesk) -> None:
    desk = make_desk()
    (payment_id,) = desk.sell("u1")
    first = desk.told("psbt", "--in", "-", given=desk.signed(desk.handed_out()))
    desk.node.mine_empty(2)
    desk.till.wait_level()
    shown = desk.told("psbt", "--out", "-", "--replace", first["txid"])
    assert (shown["replaces"], shown["fee_sat"] > first["fee_sat"]) == (first["txid"], True)
    second = desk.told("psbt", "--in", "-", given=desk.signed(shown["psbt"]))
    assert (second["state"], second["replaces"]) == ("broadcast", first["txid"])
    assert (first["txid"] in desk.node.mempool(), second["txid"] in desk.node.mempool()) == (False, True)
    # By the name of any version the newest is replaced; the one before it comes too late.
    third = desk.handed_out("--replace", first["txid"])
    assert desk.told("psbt", "--in", "-", given=desk.signed(third))["replaces"] == second["txid"]
    known = desk.told("psbt", "--in", "-", given=desk.signed(shown["psbt"]))
    assert not known["new"]
    desk.node.mine(1)
    desk.till.wait_level()
    late = desk.run("psbt", "--out", "-", "--replace", first["txid"])
    assert (late.code, "is in a block" in late.err, late.out) == (1, True, "")
    desk.audited()
    (sweep,) = desk.told("plan")["sweeps"]
    assert sweep["versions"] == 3
    assert desk.arrived() == PRICE - sweep["fee_sat"]
    assert desk.till.payment(payment_id)["forwarding_tx_hash"] == sweep["txid"]


def test_one_that_pays_no_more_replaces_nothing(make_desk: MakeDesk) -> None:
    """Signed twice from two plans: the cheaper one after the dearer."""
    desk = make_desk()
    desk.sell("u1")
    dear, cheap = desk.handed_out(), PSBT.from_string(desk.handed_out())
    desk.told("psbt", "--in", "-", given=desk.signed(dear))
    cheap.outputs[0].value += 20
    refused = desk.run("psbt", "--in", "-", given=desk.signed(cheap.to_base64()))
    assert refused.code == 1
    assert "--replace" in refused.err


@pytest.fixture(scope="module")
def with_coins(own_node: RegtestNode) -> None:
    """A node that has money for a stranger's PSBT."""
    assert own_node.funded


def test_what_is_refused_changes_nothing(make_desk: MakeDesk, with_coins: None) -> None:
    desk = make_desk(settings={"forwarding": {"max_feerate": 20}})
    desk.sell("u1")
    psbt = desk.handed_out()

    def changed(change: Callable[[Any], None]) -> str:
        made = PSBT.from_string(psbt)
        change(made)
        return desk.signed(made.to_base64())

    def elsewhere(made: Any) -> None:
        made.outputs[0].script_pubkey.data = bytes.fromhex("0014") + bytes(20)

    def split(made: Any) -> None:
        tx = made.tx
        tx.vout[0].value -= 1_000
        tx.vout.append(type(tx.vout[0])(1_000, type(tx.vout[0].script_pubkey)(bytes.fromhex("0014") + bytes(20))))
        made.outputs = [type(made.outputs[0])(vout=out) for out in tx.vout]

    def greedy(made: Any) -> None:
        made.outputs[0].value -= 5_000

    def dust(made: Any) -> None:
        made.outputs[0].value = 200

    def wrong(made: str) -> str:
        """A good signature of the right key, over another sum."""
        other, good = PSBT.from_string(made), PSBT.from_string(changed(greedy))
        for mine, theirs in zip(other.inputs, good.inputs, strict=True):
            mine.final_scriptwitness, mine.partial_sigs = theirs.final_scriptwitness, theirs.partial_sigs
        return str(other.to_base64())

    address = desk.node.new_address()
    stranger = desk.node.rpc("walletcreatefundedpsbt", [], [{address: 0.001}], wallet="payer")["psbt"]
    cases = {
        psbt: "not signed",
        stranger: "no coin of this till",
        changed(elsewhere): "pays nothing to wallet.forward_to",
        changed(split): "outputs",
        changed(greedy): "forwarding.max_feerate = 20",
        changed(dust): "satoshi would arrive",
        wrong(psbt): "input 1",
        "rubbish": "neither a PSBT",
        "": "nothing was handed over",
        "0" * 64: "transaction id",
    }
    before = desk.facts()
    for given, word in cases.items():
        refused = desk.run("psbt", "--in", "-", given=given)
        lines = refused.err.splitlines()
        assert (refused.code, refused.out, len(lines), word in refused.err) == (1, "", 1, True), (word, refused)
    assert desk.facts() == before
    assert desk.told("psbt", "--in", "-", given=desk.signed(psbt))["state"] == "broadcast"


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_what_is_handed_in_while_the_service_is_down_goes_out_when_it_starts(make_desk: MakeDesk, engine: str) -> None:
    desk = make_desk(engine)
    (payment_id,) = desk.sell("u1")
    desk.till.stop()
    signed = desk.signed(desk.handed_out())
    stored = desk.told("psbt", "--in", "-", "--wait", "0", given=signed)
    assert (stored["state"], "as soon as the service runs" in stored["answer"]) == ("stored", True)
    assert stored["txid"] not in desk.node.mempool()
    known = desk.told("psbt", "--in", "-", given=signed)
    assert (known["new"], known["state"]) == (False, "stored")
    assert "none waits" in desk.run("psbt", "--out", "-").err  # its coins are not handed out twice
    desk.till.start()
    assert desk.till.wait_payment(payment_id, "forwarded")["forwarding_tx_hash"] == stored["txid"]
    assert stored["txid"] in desk.node.mempool()


def test_wrong_usage_is_one_line(make_desk: MakeDesk, make_till: MakeTill, own_node: RegtestNode) -> None:
    desk = make_desk(start=False)
    there = desk.folder / "there"
    there.touch()
    config = ("--config", str(desk.till.config))
    main("forward", "psbt", *config).refused("--out FILE", "--in FILE")
    main("forward", "psbt", "--out", "-", "--in", "-", *config).refused("either")
    main("forward", "psbt", "--out", str(there), *config).refused("exists already")
    main("forward", "psbt", "--in", str(desk.folder / "nowhere"), *config).refused("cannot be read")
    main("forward", "psbt", "--in", "-", "--replace", "0" * 64, *config).refused("--replace")
    main("forward", "psbt", "--out", "-", "--replace", "short", *config).refused("64 hexadecimal")
    for order in (("run",), ("pause",), ("resume",), ("bump", "0" * 64)):
        main("forward", *order, *config).refused("nobody signs here", "forward psbt")
    watched = make_till(own_node, "sqlite", "watch-only", start=False)
    main("forward", "psbt", "--out", "-", "--config", str(watched.config)).refused("wallet.forward_to", "watch-only")
    swept = make_till(own_node, "sqlite", "forwarding", start=False)
    main("forward", "psbt", "--out", "-", "--config", str(swept.config)).refused("wallet.seed_file")


def test_a_record_ends_where_a_psbt_is_handed_in(make_desk: MakeDesk, tmp_path: Path) -> None:
    """Up to there it can be replayed: what is handed in comes from another process, and is not in the record."""
    record = tmp_path / "till.record"
    desk = make_desk(record=record)
    desk.sell("u1")
    desk.till.stop()
    played = main("replay", str(record))
    assert played.code == 0, played
    desk.till.start()
    desk.told("psbt", "--in", "-", given=desk.signed(desk.handed_out()))
    desk.till.stop()
    played = main("replay", "--json", str(record))
    assert (played.code, "sendrawtransaction" in played.err) == (1, True), played
    assert json.loads(played.out)["accounts"], "the ledger up to there"
    desk.till.start()
    desk.sell("u2")
    desk.till.stop()
    desk.told("psbt", "--in", "-", "--wait", "0", given=desk.signed(desk.handed_out()))
    words = ("serve", "--config", str(desk.till.config), "--record")
    main(*words, str(record)).refused("has run without it", "name another file")
    desk.till.record = tmp_path / "another.record"
    desk.till.start()
    desk.till.wait("the sweep", lambda: len(desk.node.mempool()) == 1)
    desk.till.stop()
    assert main("replay", str(desk.till.record)).code == 0
