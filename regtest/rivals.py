"""Two nodes that lose sight of each other, go on by themselves, and meet again."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from regtest.bitcoind_source import BitcoindPrograms
from regtest.conftest import SteadyNode
from regtest.node import RegtestNode

# Inbound and outbound peers alike: transactions are passed on at once, and nobody is banned for a strange block.
_TRUSTED = "-whitelist=noban,in,out@127.0.0.1"


class Rivals:
    """`ours` is the node beside the service; `theirs` is the rest of the world, without ZMQ or wallet."""

    def __init__(self, programs: BitcoindPrograms | None = None) -> None:
        self.ours = SteadyNode(programs, p2p=True, extra_args=[_TRUSTED])
        self.theirs = RegtestNode(programs, p2p=True, zmq=False, extra_args=[_TRUSTED])

    def split(self) -> None:
        """Each is alone from now on, with the same chain to go on from."""
        self._agree()
        self.ours.rpc("setnetworkactive", False)
        for node in (self.ours, self.theirs):
            _wait_alone(node)

    def _agree(self) -> None:
        if not self.ours.rpc("getpeerinfo"):
            self.ours.rpc("setnetworkactive", True)
            self.ours.connect(self.theirs)
        if self.ours.height == self.theirs.height and self.ours.tip != self.theirs.tip:
            self.ours.mine(1)
        self.ours.wait("the same chain", lambda: self.ours.tip == self.theirs.tip)

    def meet(self) -> None:
        """They hear of each other's blocks. Returns as soon as each knows the other's tip, followed or not."""
        self.ours.rpc("setnetworkactive", True)
        tips = (self.ours.tip, self.theirs.tip)
        self.ours.connect(self.theirs)
        for node in (self.ours, self.theirs):
            for tip in tips:
                _wait_for_word(node, tip)

    def join(self) -> None:
        """They meet, and our node follows the longer chain of the others."""
        longer = self.theirs.tip
        self.meet()
        self.ours.wait_for_tip(longer)

    def give(self, *raw: str) -> None:
        """Transactions (raw hex) for the mempool of the others."""
        for one in raw:
            self.theirs.rpc("sendrawtransaction", one)

    def __enter__(self) -> Self:
        try:
            self.ours.start()
            self.theirs.start()
            self.ours.fund()
            self.ours.connect(self.theirs)  # they learn our chain
            self.theirs.wait_for_tip(self.ours.tip)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wait_alone(node: RegtestNode) -> None:
    node.wait("a quiet network", lambda: not node.rpc("getpeerinfo"))


def _wait_for_word(node: RegtestNode, block_hash: str) -> None:
    """Until it has heard of the block, in its active chain or beside it."""
    node.wait(f"word of block {block_hash}", lambda: any(tip["hash"] == block_hash for tip in node.rpc("getchaintips")))
