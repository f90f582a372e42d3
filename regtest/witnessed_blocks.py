"""Blocks that others have seen: a node that is killed forgets what it had not written to its disk, and gets them again."""

from __future__ import annotations

from collections.abc import Collection

from regtest.node import RegtestNode


class WitnessedBlocks:
    """Mines for one node and keeps every block, as its peers would."""

    def __init__(self, node: RegtestNode) -> None:
        """The node was restarted just now: everything up to here is on its disk."""
        self._node, self._begin = node, node.height
        self._blocks: list[str] = []

    def mine(self, blocks: int = 1) -> None:
        self._keep(self._node.mine(blocks))

    def mine_empty(self, blocks: int = 1) -> None:
        """Blocks that leave the mempool alone."""
        self._keep(self._node.mine_empty(blocks))

    def mine_all_but(self, left: Collection[str]) -> None:
        """A block with everything but these transactions; none of the others may depend on them."""
        entries = self._node.rpc("getrawmempool", True)
        others = sorted((txid for txid in entries if txid not in left), key=lambda txid: entries[txid]["ancestorcount"])
        self._keep([self._node.mine_with(others)])

    def kill_the_node(self) -> None:
        """kill -9, and it comes back with the chain as it was. Its mempool is gone (`-persistmempool=0`)."""
        self._node.kill()
        self._node.start()
        for block in self._blocks[self._node.height - self._begin :]:
            self._node.rpc("submitblock", block)
        if self._node.height != self._begin + len(self._blocks):
            raise RuntimeError(f"the node has {self._node.height} blocks, {self._begin + len(self._blocks)} were mined")

    def _keep(self, hashes: Collection[str]) -> None:
        self._blocks += [self._node.rpc("getblock", block, 0) for block in hashes]
