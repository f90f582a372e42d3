"""Signing in a process of its own: killed, absent, run by hand, asked for what it does not sign. Credit never waits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from embit.bip32 import HDKey
from embit.ec import PrivateKey
from embit.networks import NETWORKS

from node_watcher.signing.seed import Seed
from payments.keys import seed_of
from regtest.conftest import MakeTill
from regtest.node import RegtestNode
from regtest.owner import Owner
from regtest.service import RunningService
from regtest.signer_process import RunningSigner


def children_of(pid: int) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == pid and words[0] != "Z":
            found.append(int(place.parent.name))
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sold(till: RunningService, node: RegtestNode, user: str) -> str:
    """A payment with its credits on the account."""
    payment = till.create("small", user)
    node.pay(payment["address"], 40_000)
    till.wait_payment(payment["payment_id"], "confirming")
    node.mine(3)
    till.wait_payment(payment["payment_id"], lambda p: p["status"] in ("confirmed", "forwarded"))
    assert till.balance(user) == 400
    return str(payment["payment_id"])


def arrived(till: RunningService, node: RegtestNode, payment_id: str) -> None:
    """Its coins go to `forward_to`."""
    txid = till.wait_payment(payment_id, "forwarded")["forwarding_tx_hash"]
    (out,) = node.rpc("getrawtransaction", txid, 1)["vout"]
    assert out["scriptPubKey"]["address"] == till.forward_to


# ------------------------------------------------------------------ started by the service


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_killed_it_is_started_again(own_node: RegtestNode, make_till: MakeTill, engine: str) -> None:
    till = make_till(own_node, engine, "forwarding")
    arrived(till, own_node, sold(till, own_node, "before"))
    (first,) = children_of(till.pid)
    os.kill(first, signal.SIGKILL)
    payment_id = sold(till, own_node, "after")
    arrived(till, own_node, payment_id)
    (second,) = children_of(till.pid)
    assert second != first
    assert till.log_says("The signer's process ended with code -9; it is started again") == 1
    assert till.balance("after") == 400
    assert till.stop() == 0
    assert not lives(second)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_it_never_outlives_the_service(own_node: RegtestNode, make_till: MakeTill, how: str) -> None:
    till = make_till(own_node, "sqlite", "forwarding")
    (child,) = children_of(till.pid)
    folder = Path(os.readlink(f"/proc/{child}/fd/0") and _socket_of(child)).parent
    getattr(till, how)()
    till.wait("the signer's end", lambda: not lives(child) and not folder.exists(), timeout=10)
    till.start()


def _socket_of(pid: int) -> str:
    """Where the process listens, by the kernel's table of UNIX sockets."""
    inodes = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and f"socket:[{words[6]}]" in inodes:
            return words[7]
    raise AssertionError("it listens nowhere")


def test_a_restart_keeps_the_day(own_node: RegtestNode, make_till: MakeTill) -> None:
    till = make_till(own_node, "sqlite", "forwarding", settings={"wallet": {"daily_cap_sat": 79_999}})
    arrived(till, own_node, sold(till, own_node, "first"))
    second = sold(till, own_node, "second")
    till.wait("the refusal", lambda: till.log_says("daily_cap_sat of 79999"))
    till.restart()
    before = till.log_says("is not forwarded yet")
    till.wait("the refusal again", lambda: till.log_says("is not forwarded yet") > before or before >= 2)
    assert till.payment(second)["status"] == "confirmed"
    assert till.balance("second") == 400
    till.stop()
    till.settings["wallet"]["daily_cap_sat"] = 80_000
    till.write_config()
    till.start()
    arrived(till, own_node, second)


# ------------------------------------------------------------------ run by hand


@pytest.fixture
def owner(own_node: RegtestNode) -> Owner:
    return Owner(own_node)


@pytest.fixture
def make_signer(owner: Owner) -> Iterator[Callable[..., RunningSigner]]:
    made: list[RunningSigner] = []

    def make(**options: Any) -> RunningSigner:
        made.append(RunningSigner(owner.new_address(), **options))
        return made[-1]

    yield make
    for signer in made:
        signer.close()


def hardened(make_till: MakeTill, node: RegtestNode, owner: Owner, signer: RunningSigner) -> RunningService:
    """A service without a seed, not yet started."""
    wallet = {
        "descriptor": signer.descriptor,
        "forward_to": signer.settings["destination"],
        "signer_socket": str(signer.socket),
        "seed_file": None,
        "seed_passphrase": None,
    }
    till = make_till(node, "sqlite", "forwarding", owner=owner, settings={"wallet": wallet}, start=False)
    till.forward_to = signer.settings["destination"]
    return till


@pytest.mark.parametrize("without_bit", [False, True], ids=["bit", "embit"])
def test_without_a_seed_in_the_service(
    own_node: RegtestNode,
    make_till: MakeTill,
    owner: Owner,
    make_signer: Callable[..., RunningSigner],
    without_bit: bool,
) -> None:
    signer = make_signer(without_bit=without_bit).start()
    till = hardened(make_till, own_node, owner, signer).start()
    assert children_of(till.pid) == []
    arrived(till, own_node, sold(till, own_node, "buyer"))
    assert "Signed sweep" in signer.log_file.read_text()


def test_coins_wait_for_a_signer_that_is_down(
    own_node: RegtestNode, make_till: MakeTill, owner: Owner, make_signer: Callable[..., RunningSigner]
) -> None:
    signer = make_signer()
    till = hardened(make_till, own_node, owner, signer).start()
    payment_id = sold(till, own_node, "patient")
    till.wait(
        "the log's word", lambda: till.log_says(f"Payment {payment_id} is not forwarded yet: the signer does not")
    )
    assert till.payment(payment_id)["status"] == "confirmed"
    signer.start()
    arrived(till, own_node, payment_id)
    signer.kill()
    later = sold(till, own_node, "patient-too")
    signer.start()
    arrived(till, own_node, later)
    assert till.balance("patient") == till.balance("patient-too") == 400


def test_another_destination_in_the_settings_changes_nothing(
    own_node: RegtestNode, make_till: MakeTill, owner: Owner, make_signer: Callable[..., RunningSigner]
) -> None:
    signer = make_signer()
    till = hardened(make_till, own_node, owner, signer)
    thief = own_node.new_address()
    till.settings["wallet"]["forward_to"] = thief
    till.write_config()
    signer.start()
    till.serve().refused("wallet.forward_to", signer.settings["destination"])
    # Started while the signer is away, it cannot know; the signer refuses all the same.
    signer.stop()
    till.start()
    payment_id = sold(till, own_node, "robbed")
    signer.start()
    till.wait("the refusal", lambda: till.log_says("own destination"))
    assert till.payment(payment_id)["status"] == "confirmed"
    assert till.balance("robbed") == 400
    assert own_node.mempool() == set()
    till.stop()
    till.settings["wallet"]["forward_to"] = signer.settings["destination"]
    till.write_config()
    till.start()
    arrived(till, own_node, payment_id)


def test_a_signer_with_another_seed(
    own_node: RegtestNode, make_till: MakeTill, owner: Owner, make_signer: Callable[..., RunningSigner]
) -> None:
    right, wrong = make_signer(), make_signer()
    till = hardened(make_till, own_node, owner, right)
    till.settings["wallet"] |= {"signer_socket": str(wrong.socket), "forward_to": wrong.settings["destination"]}
    till.write_config()
    wrong.start()
    till.serve().refused("wallet.descriptor", wrong.descriptor)
    wrong.stop()
    till.start()
    payment_id = sold(till, own_node, "strange")
    wrong.start()
    till.wait("the refusal", lambda: till.log_says("not of this signer's seed"))
    assert till.payment(payment_id)["status"] == "confirmed"


@pytest.mark.parametrize("kind", ["tr", "pkh", "sh(wpkh"])
def test_a_signer_signs_for_one_kind_only(
    own_node: RegtestNode, make_till: MakeTill, owner: Owner, make_signer: Callable[..., RunningSigner], kind: str
) -> None:
    signer = make_signer()
    till = hardened(make_till, own_node, owner, signer)
    till.settings["wallet"]["descriptor"] = signer.descriptor.replace("wpkh", kind) + (")" if "(" in kind else "")
    till.write_config()
    till.serve().refused("wallet.descriptor", "wpkh(…)", "seed show-xpub")


def test_offline_coins_wait(own_node: RegtestNode, make_till: MakeTill, owner: Owner) -> None:
    wallet = {"descriptor": owner.descriptor.replace("wpkh(", "tr(").split("#")[0], "forward_to": owner.new_address()}
    till = make_till(own_node, "sqlite", "watch-only", owner=owner, settings={"wallet": wallet})
    payment_id = sold(till, own_node, "offline")
    own_node.mine(1)
    till.wait_level()
    assert till.payment(payment_id)["status"] == "confirmed"
    assert till.figures()["nodetill_forward_backlog_sat"] == 40_000
    # The same descriptor kept its coins there before; from now on they are to be sent on, or the other way round.
    till.stop()
    till.settings["wallet"]["forward_to"] = None
    till.write_config()
    till.start()
    other = sold(till, own_node, "watched")
    assert till.payment(other)["status"] == "forwarded"
    assert till.payment(payment_id)["status"] == "confirmed"


# ------------------------------------------------------------------ where a secret might be


def forms(mnemonic: str, passphrase: str) -> list[bytes]:
    """The secrets of a till in every form that somebody might write down."""
    raw = seed_of(mnemonic)
    seed = Seed(raw)
    master = HDKey.from_seed(raw)
    found = [mnemonic, " ".join(mnemonic.split()[:3]), ",".join(mnemonic.split()[:3]), passphrase, raw.hex()]
    found += [str(mnemonic.split()), '", "'.join(mnemonic.split()[:3])]
    for path in ("m", "m/84h/1h/0h", "m/84h/1h/0h/0"):
        found += [master.derive(path).to_base58(version=NETWORKS[net]["xprv"]) for net in ("main", "test")]
    keys = [seed.private_key("regtest", index) for index in range(30)]
    found += [key.hex() for key in keys] + [PrivateKey(key).wif(NETWORKS["test"]) for key in keys]
    return [text.encode() for text in found] + [raw, *keys, master.secret]


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_no_secret_is_anywhere(
    own_node: RegtestNode, make_till: MakeTill, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    """The canary: after a sale with its sweep the words and keys are looked for wherever something is written."""
    record = tmp_path / "record"
    till = make_till(own_node, engine, "forwarding", record=record)
    payment_id = sold(till, own_node, "canary")
    arrived(till, own_node, payment_id)
    (child,) = children_of(till.pid)
    places: dict[str, bytes] = {}
    for name, pid in (("serve", till.pid), ("signer", child)):
        places[f"argv of {name}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
        try:
            places[f"environment of {name}"] = Path(f"/proc/{pid}/environ").read_bytes()
        except PermissionError:
            assert name == "signer", "it is closed to everybody but root"
        (core,) = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line]
        assert core.split()[4:6] == ["0", "0"], name
    if os.geteuid() == 0:
        assert b"NODETILL" not in places["environment of signer"]
    for path in ("/metrics", "/readyz", "/healthz", "/", "/openapi.json", f"/pay/{payment_id}", "/docs", "/nothing"):
        places[path] = till.ask("GET", path, key=None).body
    for path in (f"payments/{payment_id}", "payments", "events", "users/canary/credits", "packages", "status"):
        places[path] = till.ask("GET", path).body
    os.kill(child, signal.SIGKILL)  # what it says when it dies and is born again
    till.wait("the next signer", lambda: till.log_says("The signer's process runs again"))
    places["a second service"] = said(till)
    till.stop()
    passphrase = till.settings["wallet"]["seed_passphrase"]
    for wrong in ({"seed_passphrase": "quite wrong"}, {"forward_to": "nowhere"}, {"seed_file": "none.json"}):
        till.settings["wallet"] |= wrong
        till.write_config()
        places[f"refusal of {wrong}"] = said(till)
    till.config.unlink()
    folders = [till.folder]
    places["record"] = record.read_bytes()
    if engine == "sqlite":
        folders.append(Path(till.database_url.removeprefix("sqlite:///")).parent)
    else:
        folders.append(request.getfixturevalue("postgres_server").folder)
    for folder in folders:
        places |= {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert any(name.endswith("signer-journal") for name in places)
    assert payment_id.encode() in b"".join(places.values()), "the search finds what is there"
    for secret in forms(till.mnemonic, passphrase):
        found = [name for name, content in places.items() if secret in content]
        assert found == [], "a secret stands there"


def said(till: RunningService) -> bytes:
    ended = till.serve()
    assert ended.code == 2
    return (ended.out + ended.err).encode()
