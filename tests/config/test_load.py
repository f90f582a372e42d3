"""The happy side of loading: defaults, precedence, paths, secrets."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from config.load import load

MINIMAL = """
[node]
network = "regtest"
[wallet]
descriptor = "wpkh([d34db33f/84h/1h/0h]tpubX/0/*)"
"""


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "nodetill.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL, 0o644)  # no secret in it: others may read
    settings = load(path, {"HOME": "/home/ann"})
    assert settings.node.rpc_url == "http://127.0.0.1:18443"
    assert settings.node.rpc_cookie_file == Path("/home/ann/.bitcoin/regtest/.cookie")
    assert settings.node.wallet == "nodetill"
    assert settings.node.zmq_rawtx is None
    assert settings.wallet.mode == "watch-only"
    assert settings.payments.confirmations_required == 3
    assert settings.payments.tiers == ()
    assert settings.payments.timeout_ms == 3_600_000
    assert settings.payments.check_interval_ms == 1_000
    assert settings.payments.tolerance_sat == 0
    assert (settings.payments.late, settings.payments.excess) == ("credit", "credit")
    assert settings.payments.max_open_per_user == 10
    assert [package.id for package in settings.packages] == ["small", "medium", "large"]
    assert settings.database.engine == "sqlite"
    assert settings.database.path == tmp_path / "nodetill.db"
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8480)
    assert settings.api.public_url is None
    assert settings.api.user_token_secret is None
    assert settings.webhooks == ()
    assert (settings.log.format, settings.log.level) == (None, "info")
    assert settings.forwarding.max_feerate == Decimal(50)
    assert settings.forwarding.target_blocks == 6
    assert settings.forwarding.min_sat == 1_000
    assert settings.forwarding.max_fee_share == 10
    assert (settings.forwarding.batch_window_ms, settings.forwarding.batch_max_inputs) == (0, 200)
    assert settings.forwarding.deadline_ms == 48 * 3_600_000
    assert settings.forwarding.hold == 0


@pytest.mark.parametrize(
    ("network", "port", "folder"),
    [
        ("main", 8332, ""),
        ("testnet4", 48332, "testnet4"),
        ("signet", 38332, "signet"),
        ("regtest", 18443, "regtest"),
    ],
)
def test_network_decides_port_cookie_and_pace(network: str, port: int, folder: str) -> None:
    environ = {
        "HOME": "/h",
        "NODETILL_NODE__NETWORK": network,
        "NODETILL_WALLET__DESCRIPTOR": "tr(x/*)",
    }
    settings = load(None, environ)
    assert settings.node.rpc_url == f"http://127.0.0.1:{port}"
    assert settings.node.rpc_cookie_file == Path("/h/.bitcoin") / folder / ".cookie"
    assert settings.payments.check_interval_ms == (1_000 if network == "regtest" else 30_000)


def test_precedence(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "[payments]\nconfirmations_required = 4\ntimeout_minutes = 7.5\n")
    assert load(path, {}).payments.confirmations_required == 4
    assert load(path, {}).payments.timeout_ms == 450_000
    plain = {"BITCOIN_CONFIRMATIONS_REQUIRED": "5", "BITCOIN_PAYMENT_TIMEOUT_MINUTES": "0.1"}
    assert load(path, plain).payments.confirmations_required == 5
    assert load(path, plain).payments.timeout_ms == 6_000
    own = {**plain, "NODETILL_PAYMENTS__CONFIRMATIONS_REQUIRED": "6"}
    assert load(path, own).payments.confirmations_required == 6
    empty = {**plain, "NODETILL_PAYMENTS__CONFIRMATIONS_REQUIRED": ""}
    assert load(path, empty).payments.confirmations_required == 5


def test_lists_and_truth_values_from_the_environment(tmp_path: Path) -> None:
    environ = {
        "NODETILL_PACKAGES": '[{"id":"one","name":"One","credits":1,"price_sat":1000}]',
        "NODETILL_PAYMENTS__TIERS": '[{"above_sat":9,"confirmations":6},{"above_sat":1,"confirmations":4}]',
        "NODETILL_API__HOST": "192.168.1.2",
        "NODETILL_API__ALLOW_PUBLIC_BIND": "true",
    }
    settings = load(written(tmp_path, MINIMAL), environ)
    assert [package.id for package in settings.packages] == ["one"]
    assert [(tier.above_sat, tier.confirmations) for tier in settings.payments.tiers] == [
        (1, 4),
        (9, 6),
    ]
    assert settings.api.host == "192.168.1.2"


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "pass.txt").write_text("open sesame\n")
    monkeypatch.chdir(tmp_path)
    path = written(
        tmp_path / "etc",
        """
        [node]
        network = "main"
        rpc_cookie_file = "~/btc/.cookie"
        [wallet]
        seed_file = "seed.json"
        seed_passphrase_file = "pass.txt"
        forward_to = "bc1qxyz"
        [database]
        url = "sqlite:///data/till.db"
        """,
    )
    settings = load(path.relative_to(tmp_path), {"HOME": "/h"})
    assert settings.wallet.mode == "forwarding"
    assert settings.wallet.seed_file == tmp_path / "etc" / "seed.json"
    assert settings.wallet.seed_passphrase is not None
    assert settings.wallet.seed_passphrase.get_secret_value() == "open sesame"
    assert settings.node.rpc_cookie_file == Path("/h/btc/.cookie")
    assert settings.database.path == tmp_path / "etc" / "data" / "till.db"
    moved = load(path, {"NODETILL_DATABASE__URL": "sqlite:///here.db"})
    assert moved.database.path == tmp_path / "here.db"


def test_a_secret_from_the_environment_replaces_the_file_s(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from a file")
    path = written(
        tmp_path,
        MINIMAL.replace("[wallet]", 'rpc_user = "u"\nrpc_password = "plain"\n[wallet]'),
    )
    for environ, expected in (
        ({}, "plain"),
        ({"NODETILL_NODE__RPC_PASSWORD": "env"}, "env"),
        ({"NODETILL_NODE__RPC_PASSWORD_FILE": str(tmp_path / "password")}, "from a file"),
    ):
        settings = load(path, environ)
        assert settings.node.rpc_password is not None
        assert settings.node.rpc_password.get_secret_value() == expected
        assert settings.node.rpc_cookie_file is None


def test_secrets_never_print(tmp_path: Path) -> None:
    hook = "whsec_" + "QUFB" * 8
    secrets = ("hunter2-rpc", "hunter2-pass", "hunter2-db", "hunter2" * 5, hook)
    path = written(
        tmp_path,
        f"""
        [node]
        network = "regtest"
        rpc_user = "u"
        rpc_password = "{secrets[0]}"
        [wallet]
        seed_file = "s"
        seed_passphrase = "{secrets[1]}"
        forward_to = "bcrt1q"
        [database]
        url = "postgresql://till:{secrets[2]}@db/till"
        [api]
        user_token_secret = "{secrets[3]}"
        [[webhooks]]
        url = "https://shop.example.org/"
        secret = "{hook}"
        """,
    )
    settings = load(path, {})
    shown = repr(settings) + str(settings) + settings.model_dump_json() + settings.database.shown
    for secret in secrets:
        assert secret not in shown
    assert settings.database.shown == "postgresql://till:***@db/till"
    assert settings.database.url.get_secret_value() == "postgresql://till:hunter2-db@db/till"


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = load(written(tmp_path, MINIMAL), {})
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings.api, "port", 1)  # noqa: B010 - a plain assignment is a type error already
