"""Blocks that others have seen: a node that was killed lacks what it had not written to its disk, and gets it again."""

from __future__ import annotations

from collections.abc import Collection

from regtest.node import RegtestNode

_SILENT = "-walletbroadcast=0"


class WitnessedBlocks:
    """Mines for one node and keeps every block, as its peers would."""

    def __init__(self, node: RegtestNode) -> None:
        self._node = node
        self._begin = 0
        self._blocks: list[str] = []
        self.wallets_speak()

    def wallets_speak(self) -> None:
        """A restart, after which everything is on its disk, and its wallets send what they hold, as usual."""
        self._restart([])

    def wallets_are_silent(self) -> None:
        """A restart, after which its wallets send nothing: what its mempool has lost nobody else brings back."""
        self._restart([_SILENT])

    def _restart(self, words: list[str]) -> None:
        self._node.extra_args = [word for word in self._node.extra_args if word != _SILENT] + words
        self._node.restart()
        self._begin, self._blocks = self._node.height, []

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
        if lost := self._node.mempool():
            raise RuntimeError(f"somebody brought {lost} back: are the wallets silent?")
        for block in self._blocks[self._node.height - self._begin :]:
            self._node.rpc("submitblock", block)
        if self._node.height != self._begin + len(self._blocks):
            raise RuntimeError(f"the node has {self._node.height} blocks, {self._begin + len(self._blocks)} were mined")

    def _keep(self, hashes: Collection[str]) -> None:
        self._blocks += [self._node.rpc("getblock", block, 0) for block in hashes]
