"""Our own derivation of addresses, held against the node's before the first one is trusted."""

from __future__ import annotations

import logging

from node_watcher.rpc import Rpc, RpcError
from payments.descriptor import RangedDescriptor

log = logging.getLogger("nodetill")
_LAST = 9


class DerivationDiffers(RuntimeError):
    """We and the node derive different addresses from one descriptor: a defect; nothing may be sold."""


async def check_derivation(rpc: Rpc, descriptor: RangedDescriptor) -> None:
    """Compare the first addresses with the node's `deriveaddresses`. Raises `DerivationDiffers`."""
    try:
        theirs = await rpc.call("deriveaddresses", descriptor.text, [0, _LAST])
    except RpcError as error:
        log.warning("The node does not derive addresses, so ours could not be compared: %s", error)
        return
    ours = [descriptor.derive(index)[1] for index in range(_LAST + 1)]
    if ours != theirs:
        raise DerivationDiffers(
            f"nodetill derives {ours[0]} first, the node {theirs[0]}, from {descriptor.text}; "
            "do not take payments, and report this."
        )
