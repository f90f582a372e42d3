"""Raw blocks from the node: by REST where it offers that (twice as fast), else by RPC."""

from __future__ import annotations

from typing import Any, Final

from node_watcher.rest import Rest
from node_watcher.rpc import NodeError, NodeUnavailable, Rpc
from payments.block import HEADER_SIZE
from payments.tx import display_hash, sha256d

ASK_AGAIN: Final = (
    "No block is skipped: it is asked for again. If this goes on, the node's copy is damaged: "
    "start bitcoind once with -reindex. If that does not help, report it."
)
ANOTHER_NODE: Final = "Point node.rpc_url at a node that follows Bitcoin (Bitcoin Core)."


class NotBitcoin(NodeError):
    """The node serves blocks that are not of its network's chain."""

    def __init__(self, block_hash: str, why: object) -> None:
        super().__init__(
            f"The node follows the rules of another coin: its block {block_hash} is none of this network ({why}). "
            f"Nothing of it is recorded. {ANOTHER_NODE}"
        )


class UnreadableBlock(NodeError):
    """The node gave a block that is cut short, damaged, or that we cannot read. It is asked again."""


def header_bytes(answer: Any, block_hash: str) -> bytes:
    """What `getblockheader HASH false` answered. Raises `UnreadableBlock`."""
    try:
        return bytes.fromhex(answer)
    except (TypeError, ValueError) as error:
        raise UnreadableBlock(
            f"The node gave the header of block {block_hash} as something else than hex. {ASK_AGAIN}"
        ) from error


class BlockSource:
    """Fetches raw blocks and holds them against their hash."""

    def __init__(self, rpc: Rpc, rest: Rest | None = None) -> None:
        self._rpc, self._rest = rpc, rest
        self._offered: bool | None = None

    async def fetch(self, block_hash: str) -> bytes:
        """The bytes of one block. Raises `NodeError`: `NotBitcoin` where they do not have that hash."""
        raw = await self._by_rest(block_hash)
        if raw is None:
            raw = await self._by_rpc(block_hash)
        if len(raw) < HEADER_SIZE:
            raise UnreadableBlock(f"The node gave {len(raw)} bytes for block {block_hash}. {ASK_AGAIN}")
        if display_hash(sha256d(raw[:HEADER_SIZE])) != block_hash:
            raise NotBitcoin(block_hash, "its header does not have that hash (double SHA-256 of 80 bytes)")
        return raw

    async def _by_rpc(self, block_hash: str) -> bytes:
        try:
            return bytes.fromhex(await self._rpc.call("getblock", block_hash, 0))
        except (TypeError, ValueError) as error:
            raise UnreadableBlock(
                f"The node gave block {block_hash} as something else than hex. {ASK_AGAIN}"
            ) from error

    async def _by_rest(self, block_hash: str) -> bytes | None:
        if self._rest is None or self._offered is False:
            return None
        try:
            if self._offered is None:
                self._offered = await self._rest.offered()
            return await self._rest.block(block_hash) if self._offered else None
        except NodeUnavailable:
            self._offered = None  # after a restart the node may offer it, or no longer
            return None  # RPC says what is the matter
