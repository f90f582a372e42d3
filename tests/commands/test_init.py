"""`init`: a private file that `load` reads back, or one line and no file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from commands.permissions import FORWARDING_METHODS, RPC_METHODS
from config.load import load
from tests.commands.conftest import DESCRIPTOR, Run

WATCH_ONLY = ("init", "--network", "regtest", "--descriptor", DESCRIPTOR)
ADDRESS = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"


def test_watch_only_file_is_private_and_reads_back(run: Run, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        done = run(*WATCH_ONLY, "--config", tmp_path / "till.toml")
    finally:
        os.umask(before)
    assert done.code == 0
    assert stat.S_IMODE((tmp_path / "till.toml").stat().st_mode) == 0o600
    settings = load(tmp_path / "till.toml", {})
    assert settings.node.network == "regtest"
    assert settings.wallet.descriptor == DESCRIPTOR
    assert settings.payments.confirmations_required == 3


def test_every_flag_arrives(run: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s" * 40 + "\n")
    (tmp_path / "secret").chmod(0o600)
    done = run(
        *("init", "--network", "regtest", "--seed-file", "my seed.json", "--forward-to", ADDRESS),
        *("--seed-passphrase-file", "secret", "--rpc-url", "http://10.0.0.7:18443", "--rpc-user", 'o"wn\\er'),
        *("--rpc-password-file", "secret", "--zmq-rawtx", "tcp://10.0.0.7:1", "--zmq-hashblock", "tcp://10.0.0.7:2"),
        *("--confirmations", "6", "--database-url", "sqlite:///other.db", "--port", "9000"),
        *("--public-url", "https://pay.example.org", "--user-token-secret-file", "secret"),
    )
    assert done.code == 0, done.err
    settings = load(tmp_path / "nodetill.toml", {})
    assert (settings.node.rpc_url, settings.node.rpc_user) == ("http://10.0.0.7:18443", 'o"wn\\er')
    assert (settings.node.zmq_rawtx, settings.node.zmq_hashblock) == ("tcp://10.0.0.7:1", "tcp://10.0.0.7:2")
    assert settings.wallet.seed_file == tmp_path / "my seed.json"
    assert settings.wallet.forward_to == ADDRESS
    assert settings.payments.confirmations_required == 6
    assert settings.database.url.get_secret_value() == f"sqlite:///{tmp_path / 'other.db'}"
    assert (settings.api.port, settings.api.public_url) == (9000, "https://pay.example.org")
    assert settings.api.user_token_secret is not None


def test_the_secret_files_may_come_later(run: Run, tmp_path: Path) -> None:
    done = run(
        *("init", "--network", "regtest", "--seed-file", "seed.json", "--forward-to", ADDRESS),
        *("--seed-passphrase-file", "not-yet", "--user-token-secret-file", "not-yet"),
    )
    assert done.code == 0, done.err
    assert (tmp_path / "nodetill.toml").exists()


def test_what_bitcoin_conf_needs_is_printed(run: Run) -> None:
    done = run(*WATCH_ONLY, "--rpc-user", "till", "--rpc-password-file", "later", "--zmq-rawtx", "tcp://127.0.0.1:7")
    assert "zmqpubrawtx=tcp://127.0.0.1:7\n" in done.out
    assert "zmqpubhashblock=tcp://127.0.0.1:7\n" in done.out
    assert f"rpcwhitelist=till:{','.join(RPC_METHODS)}\n" in done.out
    assert "rpcwhitelistdefault=0" in done.out
    assert FORWARDING_METHODS[-1] not in done.out
    assert "First address of that descriptor: bcrt1q" in done.out


@pytest.mark.parametrize(
    "words, named",
    [
        ([*WATCH_ONLY, "--confirmations", "0"], "payments.confirmations_required"),
        ([*WATCH_ONLY, "--port", "99999"], "api.port"),
        ([*WATCH_ONLY, "--rpc-url", "nowhere"], "node.rpc_url"),
        ([*WATCH_ONLY, "--zmq-rawtx", "28332"], "node.zmq_"),
        ([*WATCH_ONLY, "--public-url", "example"], "api.public_url"),
        ([*WATCH_ONLY, "--database-url", "mysql://x"], "database.url"),
        ([*WATCH_ONLY, "--rpc-user", "me"], "rpc_password"),
        ([*WATCH_ONLY, "--forward-to", ADDRESS], "--descriptor"),
        (["init", "--network", "main", "--descriptor", DESCRIPTOR], "--descriptor"),
        (["init", "--network", "regtest", "--descriptor", "wpkh(x)"], "--descriptor"),
        (["init", "--network", "main", "--seed-file", "s", "--forward-to", ADDRESS], "--forward-to"),
        (["init", "--network", "regtest", "--seed-file", "s"], "--forward-to"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_serve_would_refuse_is_refused_now(run: Run, tmp_path: Path, words: list[str], named: str) -> None:
    done = run(*words)
    assert done.code == 2
    assert named in done.err
    assert all(line.startswith("nodetill: ") for line in done.err.splitlines())
    assert "/tmp/tmp" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_private_key_is_refused_and_not_repeated(run: Run, tmp_path: Path) -> None:
    key = (
        "tprv8ZgxMBicQKsPeDgjzdC36fs6bMjGApWDNLR9erAXMs5skhMv36j9MV5ecvfav"
        "ji5khqjWaWSFhN3YcCUUdiKH6isR4Pwy3U5y5egddBr16m"
    )
    done = run("init", "--network", "regtest", "--descriptor", f"wpkh({key}/0/*)")
    assert "private" in done.complaint
    assert key[:20] not in done.out + done.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_never_overwritten(run: Run, config: Path) -> None:
    before = config.read_bytes()
    assert "--config" in run(*WATCH_ONLY, "--config", config).complaint
    assert config.read_bytes() == before


def test_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    assert "--config" in run(*WATCH_ONLY, "--config", tmp_path / "no" / "nodetill.toml").err
