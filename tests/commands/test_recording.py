"""What a record may hold of the settings."""

from __future__ import annotations

from pathlib import Path

from commands.recording import secrets_in
from config.load import load
from config.schema import SECRETS


def test_every_secret_of_the_settings_is_known(tmp_path: Path) -> None:
    config = tmp_path / "nodetill.toml"
    config.touch(0o600)
    config.write_text(
        """
        [node]
        network = "regtest"
        rpc_url = "http://127.0.0.1:18443"
        rpc_user = "till"
        rpc_password = "canary-rpc"
        witness_nodes = [{ rpc_url = "http://127.0.0.1:18444", rpc_user = "till", rpc_password = "canary-witness" }]
        [wallet]
        seed_file = "seed.json"
        seed_passphrase = "canary-passphrase"
        forward_to = "bcrt1q6jmkym2wnsmh5ln5cq6dp3u79f695x0ga8wv35"
        [api]
        user_token_secret = "canary-token-canary-token-canary-token"
        [database]
        url = "postgresql://till:canary-database@localhost/till"
        [[webhooks]]
        url = "https://shop.example/hook"
        secret = "whsec_Y2FuYXJ5LWhvb2stY2FuYXJ5LWhvb2stY2FuYXJ5"
        [[packages]]
        id = "small"
        name = "Small"
        credits = 1
        price_sat = 1000
        """
    )
    settings = load(config, {})
    found = set(secrets_in(settings))
    assert {
        "canary-rpc",
        "canary-witness",
        "canary-passphrase",
        "canary-token-canary-token-canary-token",
        "postgresql://till:canary-database@localhost/till",
        "canary-database",
        "whsec_Y2FuYXJ5LWhvb2stY2FuYXJ5LWhvb2stY2FuYXJ5",
    } <= found
    assert len(found) >= len(SECRETS)
