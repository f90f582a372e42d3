"""The lines that an operator's bitcoin.conf needs."""

from __future__ import annotations

from commands.permissions import FORWARDING_METHODS, RPC_METHODS
from commands.preflight import HWM_WANTED


def bitcoin_conf(zmq_rawtx: str, zmq_hashblock: str, rpc_user: str | None, *, forwarding: bool) -> str:
    """ZMQ lines, and for a user of its own the least it may call."""
    lines = [
        "Lines for bitcoin.conf:",
        "  server=1",
        f"  zmqpubrawtx={zmq_rawtx}",
        f"  zmqpubhashblock={zmq_hashblock}",
        f"  zmqpubrawtxhwm={HWM_WANTED}",
    ]
    if rpc_user:
        methods = ",".join(RPC_METHODS + (FORWARDING_METHODS if forwarding else ()))
        lines += [
            f"  rpcauth={rpc_user}:…     (the line that Bitcoin Core's share/rpcauth/rpcauth.py prints)",
            f"  rpcwhitelist={rpc_user}:{methods}",
            "  rpcwhitelistdefault=0     (or every other user loses all access)",
        ]
    return "\n".join(lines) + "\n"
