"""Wrong set-ups: one line that names the setting and the mend, exit code 2, nothing written."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regtest.conftest import MakeTill, narrow
from regtest.free_ports import free_port
from regtest.node import RegtestNode
from regtest.owner import Owner
from regtest.service import Mode, RunningService

MAIN_ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"  # BIP 173's example
TESTNET_XPRV = (
    "tprv8ZgxMBicQKsPd9TeAdPADNnSyH9SSUUbTVeFszDE23Ki6TBB5nCefAdHkK8Fm3qMQR6sHwA56zqRmKmxnHk37JkiFzvncDqoKmPWubu7hDF"
)


@pytest.fixture(scope="module")
def owner(strict_node: RegtestNode) -> Owner:
    return Owner(strict_node)


Change = Callable[[RunningService], object]


def setting(section: str, **values: Any) -> Change:
    """Lay values over a section; None removes a key."""

    def change(till: RunningService) -> None:
        till.settings.setdefault(section, {}).update(values)

    return change


def wrong_password(till: RunningService) -> None:
    till.settings["node"] |= {"rpc_cookie_file": None, "rpc_user": "narrow", "rpc_password": "guessed"}


def with_zmq(till: RunningService) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    till.settings["node"] |= {"zmq_rawtx": address, "zmq_hashblock": address}


def both_modes(till: RunningService) -> None:
    till.settings["wallet"]["descriptor"] = till.owner.descriptor


def stolen_cookie(till: RunningService) -> None:
    other = till.folder / "other-cookie"
    other.write_text("__cookie__:0000")
    till.settings["node"]["rpc_cookie_file"] = str(other)


def pinned(till: RunningService) -> None:
    till.node.mine(1)
    till.settings["node"]["checkpoints"] = [{"height": 1, "hash": "ab" * 32}]


SETTINGS: list[tuple[str, Mode, Change, list[str]]] = [
    ("wrong network", "watch-only", setting("node", network="signet"), ["node.network", "signet", "regtest"]),
    ("another chain", "watch-only", pinned, ["at height 1", "ab" * 32, "node.checkpoints"]),
    ("unknown network", "watch-only", setting("node", network="testnet3"), ["node.network"]),
    ("wrong password", "watch-only", wrong_password, ["node.rpc_user", "node.rpc_password"]),
    ("old cookie", "watch-only", stolen_cookie, ["node.rpc_cookie_file"]),
    ("missing permission", "watch-only", narrow, ["rpcwhitelist", "getbestblockhash"]),
    ("ZMQ topics off", "watch-only", with_zmq, ["node.zmq_rawtx", "zmqpubrawtx=", "bitcoin.conf"]),
    ("private key", "watch-only", setting("wallet", descriptor=f"wpkh({TESTNET_XPRV}/0/*)"), ["wallet.descriptor"]),
    ("no range", "watch-only", setting("wallet", descriptor="wpkh(tpub/0/1)"), ["wallet.descriptor"]),
    ("address of another network", "forwarding", setting("wallet", forward_to=MAIN_ADDRESS), ["wallet.forward_to"]),
    ("no address at all", "forwarding", setting("wallet", forward_to="me"), ["wallet.forward_to"]),
    ("wrong passphrase", "forwarding", setting("wallet", seed_passphrase="guessed it"), ["wallet.seed_", "passphrase"]),
    ("no seed file", "forwarding", setting("wallet", seed_file="gone.json"), ["wallet.seed_file", "gone.json"]),
    ("both modes", "forwarding", both_modes, ["wallet.descriptor", "wallet.seed_file"]),
    ("unknown key", "watch-only", setting("payments", confirmation_required=3), ["payments.confirmation_required"]),
    ("unknown section", "watch-only", setting("payment", late="hold"), ["payment "]),
    ("wrong type", "watch-only", setting("payments", confirmations_required="three"), ["confirmations_required"]),
    ("public bind", "watch-only", setting("api", host="0.0.0.0"), ["api.host", "api.allow_public_bind"]),
    ("short secret", "watch-only", setting("api", user_token_secret="abc"), ["api.user_token_secret", "32"]),
    (
        "no such folder",
        "watch-only",
        setting("database", url="sqlite:////nowhere/at/all/till.db"),
        ["database.url", "/nowhere/at/all"],
    ),
    (
        "no such database",
        "watch-only",
        setting("database", url="postgresql://nodetill@127.0.0.1:1/till"),
        ["database.url", "PostgreSQL"],
    ),
]


@pytest.mark.parametrize(
    ("mode", "change", "words"), [case[1:] for case in SETTINGS], ids=[case[0] for case in SETTINGS]
)
def test_a_wrong_setting(
    mode: Mode, change: Change, words: list[str], strict_node: RegtestNode, make_till: MakeTill, owner: Owner
) -> None:
    till = make_till(strict_node, mode=mode, zmq=False, start=False, owner=owner)
    change(till)
    till.write_config()
    before = set(till.folder.iterdir())
    till.serve().refused(*words)
    assert set(till.folder.iterdir()) == before
    assert not Path(till.database_url.removeprefix("sqlite:///")).exists(), "nothing is written"
    assert till.settings["node"]["wallet"] not in strict_node.rpc("listwallets")


@pytest.fixture
def till(strict_node: RegtestNode, make_till: MakeTill, owner: Owner) -> RunningService:
    """Right in everything; not started."""
    return make_till(strict_node, zmq=False, start=False, owner=owner)


def written(till: RunningService) -> bool:
    return Path(till.database_url.removeprefix("sqlite:///")).exists()


def test_malformed_toml(till: RunningService) -> None:
    till.config.write_text("[node]\nnetwork = regtest\n")
    till.serve().refused(str(till.config), "line 2")


def test_no_settings_file(till: RunningService) -> None:
    till.config.unlink()
    till.serve().refused(str(till.config), "nodetill init", "--config")


def test_a_misspelt_variable(till: RunningService) -> None:
    done = till.serve(NODETILL_PAYMENTS__CONFIRMATION_REQUIRED="3")
    done.refused("NODETILL_PAYMENTS__CONFIRMATION_REQUIRED", "NODETILL_PAYMENTS__CONFIRMATIONS_REQUIRED")
    assert not written(till)


def test_a_wrong_value_in_a_variable(till: RunningService) -> None:
    till.serve(BITCOIN_CONFIRMATIONS_REQUIRED="many").refused("BITCOIN_CONFIRMATIONS_REQUIRED")


def test_others_can_read_a_secret(till: RunningService) -> None:
    till.config.chmod(0o640)
    till.serve().refused(str(till.config), "chmod 600")
    assert not written(till)


def test_a_taken_port(till: RunningService) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        till.settings["api"]["port"] = taken.getsockname()[1]
        till.write_config()
        till.serve().refused("api.port", str(till.settings["api"]["port"]))
    assert not written(till)


def test_a_folder_that_cannot_be_written(till: RunningService, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.geteuid() == 0:
        closed.rmdir()
        closed = Path("/proc/nodetill")  # root may write anywhere but there
    till.settings["database"]["url"] = f"sqlite:///{closed / 'till.db'}"
    till.write_config()
    till.serve().refused("database.url", str(closed))
