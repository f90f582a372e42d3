"""Connections to the operator's node, made from `[node]`."""

from __future__ import annotations

from collections.abc import Callable

from config.rpc_address import RpcAddress
from config.settings import Settings
from node_watcher.chain_rules import ChainRules, rules_of
from node_watcher.credentials import Credentials
from node_watcher.hints import Hint, Hints
from node_watcher.rest import Rest
from node_watcher.rpc_http import HttpRpc
from node_watcher.rpc_patience import Observer
from node_watcher.witness_node import WitnessNode
from payments.model import BlockId


def rpc_client(settings: Settings, observe: Observer | None = None) -> HttpRpc:
    """The watcher's transport: kept-alive connections and true batches. `observe` counts the calls."""
    return HttpRpc(settings.node.rpc_url, _login(settings.node), observe=observe)


def _login(address: RpcAddress) -> Credentials:
    return Credentials(
        cookie_file=address.rpc_cookie_file,
        user=address.rpc_user,
        password=address.rpc_password.get_secret_value() if address.rpc_password else None,
    )


def witness_nodes(settings: Settings) -> list[WitnessNode]:
    """The nodes that must agree. Close the `rpc` of each."""
    return [
        WitnessNode(address.rpc_url, HttpRpc(address.rpc_url, _login(address)))
        for address in settings.node.witness_nodes
    ]


def chain_rules(settings: Settings) -> ChainRules:
    """What is shipped for the network, and what the operator said of it."""
    node = settings.node
    return rules_of(
        node.network,
        checkpoints=(BlockId(pin.height, pin.hash) for pin in node.checkpoints),
        accept_version=node.accept_version,
        stale_after_ms=None if node.stale_after_minutes is None else node.stale_after_minutes * 60_000,
    )


def rest_client(settings: Settings) -> Rest:
    return Rest(settings.node.rpc_url)


def hints_for(settings: Settings, on_rawtx: Callable[[bytes], None], on_hint: Callable[[Hint], None]) -> Hints | None:
    """The ZMQ subscriber, or None when no endpoint is set: then the timer finds everything."""
    node = settings.node
    wanted = {"rawtx": node.zmq_rawtx, "hashblock": node.zmq_hashblock, "sequence": node.zmq_sequence}
    endpoints = {topic: endpoint for topic, endpoint in wanted.items() if endpoint is not None}
    return Hints(endpoints, on_rawtx, on_hint) if endpoints else None
