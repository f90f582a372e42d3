"""What must be right before the service writes anything. What is only down is waited for instead."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Any

from commands.console import refuse
from commands.node_client import chain_rules, rpc_client
from commands.permissions import forbidden_methods, how_to_allow
from config.settings import Settings
from node_watcher.clock import now_ms
from node_watcher.gate import Gate, wrong_network
from node_watcher.rpc import NodeForbids, NodeRefusesLogin, NodeUnavailable, Rpc, RpcError
from payments.keys import SlowBackend, assert_fast_backend

log = logging.getLogger("nodetill")

HWM_WANTED = 10_000
BLOCKS_ONLY = (
    "The node takes no transactions from its peers, so a payment shows only with its first block, and it makes no fee "
    "estimates, without which nothing is forwarded: remove blocksonly=1 from bitcoin.conf and restart it."
)
_PATIENCE_SECONDS = 5.0


def check_curve() -> None:
    """Refuse to compute keys slowly, and with private ones in a time that tells something of them."""
    try:
        assert_fast_backend()
    except SlowBackend as error:
        refuse(str(error))


async def check_node(settings: Settings) -> None:
    """Refuse a node that answers and is wrong; a node that does not answer is waited for."""
    rpc = rpc_client(settings)
    try:
        await _check(rpc, settings)
    except NodeRefusesLogin as error:
        refuse(str(error))
    except NodeForbids as error:
        refuse(str(error))
    except NodeUnavailable as error:
        log.warning("The node does not answer yet; starting all the same: %s", error)
    finally:
        await rpc.close()


async def _check(rpc: Rpc, settings: Settings) -> None:
    # A node that hangs is not waited for here: the service says so on /readyz meanwhile.
    info = await _blockchain_info(rpc)
    if info["chain"] != settings.node.network:
        refuse(wrong_network(settings.node.network, str(info["chain"])).detail)
    if forbidden := await forbidden_methods(rpc, settings):
        refuse(how_to_allow(forbidden, settings))
    verdict = await Gate(rpc, chain_rules(settings)).examine(now_ms())
    if not verdict.readable:
        refuse(verdict.reasons[0].detail)
    if not await hears_payments(rpc):
        log.warning(BLOCKS_ONLY)
    await _check_zmq(rpc, settings)


async def hears_payments(rpc: Rpc) -> bool:
    """Whether the node takes transactions from its peers (RPC help of getnetworkinfo). Raises `NodeError`."""
    return bool((await rpc.call("getnetworkinfo")).get("localrelay", True))


async def _blockchain_info(rpc: Rpc) -> dict[str, Any]:
    """Its first question tells bitcoind from other servers that speak JSON-RPC."""
    try:
        info = await rpc.call("getblockchaininfo", timeout=_PATIENCE_SECONDS)
    except RpcError as error:
        refuse(f"node.rpc_url: what answers there is not bitcoind ({error}); correct node.rpc_url.")
    if not isinstance(info, dict) or not isinstance(info.get("chain"), str):
        refuse("node.rpc_url: what answers there is not bitcoind (no chain in its answer); correct node.rpc_url.")
    return info


async def _check_zmq(rpc: Rpc, settings: Settings) -> None:
    wanted = {"pubrawtx": settings.node.zmq_rawtx, "pubhashblock": settings.node.zmq_hashblock}
    offered: list[dict[str, Any]] = await rpc.call("getzmqnotifications")
    by_type = {entry["type"]: entry for entry in offered}
    for kind, endpoint in wanted.items():
        setting = f"node.zmq_{kind.removeprefix('pub')}"
        if endpoint is None:
            log.warning("%s is not set: payments are seen by the timer only", setting)
        elif kind not in by_type:
            refuse(
                f"{setting}: the node publishes no {kind.removeprefix('pub')} at all; add zmq{kind}={endpoint} to "
                "bitcoin.conf and restart it (it stays silent, too, when another program has the port), "
                f"or remove {setting} to work by the timer alone."
            )
        elif kind == "pubrawtx" and int(by_type[kind].get("hwm", 0)) < HWM_WANTED:
            log.warning(
                "The node drops transactions of full blocks from ZMQ: add zmqpubrawtxhwm=%d to bitcoin.conf",
                HWM_WANTED,
            )


def check_port(settings: Settings) -> None:
    """Refuse a taken port before anything is written."""
    host, port = settings.api.host, settings.api.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                refuse(f"api.port: {port} is taken by another program; set another api.port, or stop it.")
            if error.errno == errno.EACCES:
                refuse(f"api.port: {port} needs root; set api.port to 1024 or more.")
            refuse(f"api.host: {host} cannot be listened on: {error.strerror}; use an address of this machine.")
