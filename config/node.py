"""[node]: how to reach the operator's own bitcoind."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from pydantic import field_validator, model_validator

from config.base import Whole
from config.checkpoint import Checkpoint
from config.rpc_address import RpcAddress, WitnessNodeSettings

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


class NodeSettings(RpcAddress):
    """The node, its credentials, its notifications, and by what it is known to follow the right chain."""

    section: ClassVar[str] = "node."

    network: Network
    zmq_rawtx: str | None = None
    zmq_hashblock: str | None = None
    zmq_sequence: str | None = None
    wallet: str = "nodetill"
    witness_nodes: tuple[WitnessNodeSettings, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    accept_version: str | None = None
    stale_after_minutes: Whole | None = None

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

    @field_validator("checkpoints")
    @classmethod
    def _once_each(cls, value: tuple[Checkpoint, ...]) -> tuple[Checkpoint, ...]:
        if len({pin.height for pin in value}) != len(value):
            raise ValueError("names the same height twice; keep one line for each")
        return value

    @field_validator("stale_after_minutes")
    @classmethod
    def _some_minutes(cls, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise ValueError("must be at least 1; blocks come every 10 minutes, and pauses of an hour are common")
        return value

    @model_validator(mode="after")
    def _witnesses_are_others(self) -> Self:
        addresses = [self.rpc_url, *(witness.rpc_url for witness in self.witness_nodes)]
        for address in addresses:
            if addresses.count(address) > 1:
                raise ValueError(
                    f"node.witness_nodes: {address} is named twice, as node.rpc_url or as another witness; a witness "
                    "is another node"
                )
        return self
