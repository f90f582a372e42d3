"""[node]: how to reach the operator's own bitcoind."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator

from config.base import Section

Network = Literal["main", "testnet4", "signet", "regtest"]
NETWORKS: tuple[str, ...] = get_args(Network)

# Ports of chainparamsbase.cpp, and the folder below the data directory.
_RPC_PORT = {"main": 8332, "testnet4": 48332, "signet": 38332, "regtest": 18443}
_FOLDER = {"main": "", "testnet4": "testnet4", "signet": "signet", "regtest": "regtest"}


def default_rpc_url(network: str) -> str:
    """Where a bitcoind of that network listens when nothing else was said."""
    return f"http://127.0.0.1:{_RPC_PORT[network]}"


def default_cookie_file(network: str, environ: Mapping[str, str]) -> Path:
    """The cookie of a bitcoind that runs for the same person with the default data directory."""
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    if sys.platform == "darwin":
        datadir = home / "Library" / "Application Support" / "Bitcoin"
    else:
        datadir = home / ".bitcoin"
    return datadir / _FOLDER[network] / ".cookie"


class NodeSettings(Section):
    """The node, its credentials, its notifications."""

    network: Network
    rpc_url: str
    rpc_cookie_file: Path | None = None
    rpc_user: str | None = None
    rpc_password: SecretStr | None = None
    zmq_rawtx: str | None = None
    zmq_hashblock: str | None = None
    zmq_sequence: str | None = None
    wallet: str = "nodetill"

    @field_validator("rpc_url")
    @classmethod
    def _http(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname)
            port = parts.port
        except ValueError:
            good, port = False, None
        if not good:
            raise ValueError("must be the http address of your node's RPC, such as http://127.0.0.1:8332")
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                "must not hold a user or password; write them as node.rpc_user and "
                "node.rpc_password, or use node.rpc_cookie_file"
            )
        if parts.query or parts.fragment or parts.path not in ("", "/"):
            raise ValueError("must end after the port; the name of the wallet is its own setting, node.wallet")
        if port is None:
            raise ValueError("needs a port, such as http://127.0.0.1:8332")
        return value.rstrip("/")

    @field_validator("zmq_rawtx", "zmq_hashblock", "zmq_sequence")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        tcp = re.fullmatch(r"tcp://(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})", value)
        if tcp is not None:
            if tcp[1] == "*":
                raise ValueError("needs the node's host in place of *, such as 127.0.0.1")
            if 0 < int(tcp[2]) < 65536:
                return value
        elif re.fullmatch(r"ipc://\S+", value):
            return value
        raise ValueError(
            "must be the address in your bitcoin.conf's zmqpub line, such as "
            "tcp://127.0.0.1:28332 or ipc:///run/bitcoind.sock"
        )

    @field_validator("wallet")
    @classmethod
    def _wallet_name(cls, value: str) -> str:
        # The name becomes a folder in the node's wallets directory and a part of the RPC path.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
            raise ValueError("must be 1 to 64 letters, digits, dots, dashes or underscores")
        return value

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        if self.rpc_user and self.rpc_cookie_file:
            raise ValueError("node.rpc_user and node.rpc_cookie_file are both set; keep one of the two")
        if self.rpc_password is not None and not self.rpc_user:
            raise ValueError(
                "node.rpc_password is set without node.rpc_user; add the user that your rpcauth line names"
            )
        if self.rpc_user and self.rpc_password is None:
            raise ValueError("node.rpc_user is set without a password; add node.rpc_password_file or node.rpc_password")
        if self.rpc_user and ":" in self.rpc_user:
            raise ValueError("node.rpc_user must not hold a colon; HTTP ends the name there")
        return self
