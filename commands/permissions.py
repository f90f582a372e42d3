"""What the RPC user of the node must be allowed to call."""

from __future__ import annotations

from config.settings import Settings
from node_watcher.rpc import NodeForbids, Rpc, RpcError

RPC_METHODS = (
    "getblockchaininfo",
    "getbestblockhash",
    "getblockhash",
    "getblockheader",
    "getblock",
    "getchaintips",
    "getrawmempool",
    "getmempoolentry",
    "getmempoolinfo",
    "getrawtransaction",
    "gettxout",
    "gettxspendingprevout",
    "getnetworkinfo",
    "getzmqnotifications",
    "deriveaddresses",
    "listwallets",
    "loadwallet",
    "createwallet",
    "importdescriptors",
    "listdescriptors",
    "listsinceblock",
    "gettransaction",
)
"""Everything the watcher asks: the `rpcwhitelist` of its user."""

FORWARDING_METHODS = ("estimatesmartfee", "testmempoolaccept", "sendrawtransaction")
"""What forwarding mode asks beside that."""

_WRONG_ARGUMENTS: dict[str, tuple[object, ...]] = {"getrawmempool": ("x",), "listsinceblock": ("x",)}
"""Where a call without arguments would be work, one that the method refuses."""


async def forbidden_methods(rpc: Rpc, settings: Settings) -> list[str]:
    """Every method that is needed and forbidden. Raises `NodeError` where the node gives no answer.

    Each is called once, so that a missing name in `rpcwhitelist` shows now and not at the first payment. Without
    arguments they only look, or complain about that; none of them changes anything."""
    forbidden = []
    for method in RPC_METHODS + (FORWARDING_METHODS if settings.wallet.mode != "watch-only" else ()):
        try:
            await rpc.call(method, *_WRONG_ARGUMENTS.get(method, ()))
        except NodeForbids:
            forbidden.append(method)
        except RpcError:
            continue  # it was let through to the method, which misses its arguments
    return forbidden


def how_to_allow(methods: list[str], settings: Settings) -> str:
    """What the operator does about forbidden methods."""
    return (
        f"The RPC user may not call {', '.join(methods)}: add them to "
        f"rpcwhitelist={settings.node.rpc_user or '<user>'}:… in bitcoin.conf, set rpcwhitelistdefault=0 there, and "
        "restart the node."
    )
