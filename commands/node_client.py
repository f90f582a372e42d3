"""Connections to the operator's node, made from `[node]`."""

from __future__ import annotations

from collections.abc import Callable

from config.settings import Settings
from node_watcher.credentials import Credentials
from node_watcher.hints import Hint, Hints
from node_watcher.rest import Rest
from node_watcher.rpc_http import HttpRpc
from node_watcher.rpc_patience import Observer


def rpc_client(settings: Settings, observe: Observer | None = None) -> HttpRpc:
    """The watcher's transport: kept-alive connections and true batches. `observe` counts the calls."""
    node = settings.node
    return HttpRpc(
        node.rpc_url,
        Credentials(
            cookie_file=node.rpc_cookie_file,
            user=node.rpc_user,
            password=node.rpc_password.get_secret_value() if node.rpc_password else None,
        ),
        observe=observe,
    )


def rest_client(settings: Settings) -> Rest:
    return Rest(settings.node.rpc_url)


def hints_for(settings: Settings, on_rawtx: Callable[[bytes], None], on_hint: Callable[[Hint], None]) -> Hints | None:
    """The ZMQ subscriber, or None when no endpoint is set: then the timer finds everything."""
    node = settings.node
    wanted = {"rawtx": node.zmq_rawtx, "hashblock": node.zmq_hashblock, "sequence": node.zmq_sequence}
    endpoints = {topic: endpoint for topic, endpoint in wanted.items() if endpoint is not None}
    return Hints(endpoints, on_rawtx, on_hint) if endpoints else None
