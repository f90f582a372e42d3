"""Time, the blocks that miners found, and the one node that the till asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from payments.model import OutPoint
from tests.simulation.coins import Block, Out, Tx, make_block
from tests.simulation.draws import Draws
from tests.simulation.node import Node

START = 1_700_000_000_000
MINUTE = 60_000
_COIN = 1_000_000
_COINS = 24
PAYER = b"\x00\x14" + b"payer".ljust(20, b"\0")
MINER = b"\x00\x14" + b"miner".ljust(20, b"\0")


@dataclass(slots=True)
class Payable:
    """An address that the shop showed somebody, and what it asked for it."""

    number: int
    script: bytes
    address: str
    amount_sat: int


class Network:
    """The chain as all the world has it, which is more than our node may know."""

    def __init__(self) -> None:
        self.now = START
        self.made = 0
        self.genesis = make_block(None, (), START // 1000 - 86_400, 0, (Out(_COIN, PAYER),) * _COINS)
        self.best = self.genesis
        self.blocks = [self.genesis]
        self.found_at = {self.genesis.hash: START}
        """When each block was really found, in milliseconds. Its header may say something else."""
        self.hints: list[bytes] = []
        self.node = Node(self.genesis, lambda: self.now, self._publish)
        self.payables: list[Payable] = []
        self.txs: dict[str, Tx] = {}
        self.unheard: dict[str, Tx] = {}
        """Made, and never relayed to our node: a miner may have them all the same."""
        self._mine_on(self.best, ())
        self._mine_on(self.best, ())

    def _publish(self, tx: Tx) -> None:
        self.hints.append(tx.raw)

    # ------------------------------------------------------------------ blocks

    def _mine_on(self, parent: Block, txs: Iterable[Tx], *, drift: int = 0, reward: tuple[Out, ...] = ()) -> Block:
        self.made += 1
        unspent = set(parent.unspent)
        fitting: list[Tx] = []
        for tx in txs:
            if tx.txid not in parent.where and tx not in fitting and unspent.issuperset(tx.ins):
                unspent.difference_update(tx.ins)
                unspent.update(tx.outpoint(n) for n in range(len(tx.outs)))
                fitting.append(tx)
        time = max(parent.time + 1, self.now // 1000 + drift)
        block = make_block(parent, tuple(fitting), time, self.made, reward or (Out(5_000_000_000, MINER),))
        self.blocks.append(block)
        self.found_at[block.hash] = self.now
        if block.height > self.best.height:
            self.best = block
        self.node.hear_block(block)
        self.unheard = {txid: tx for txid, tx in self.unheard.items() if txid not in self.best.where}
        return block

    def _stale(self, depth: int) -> list[Tx]:
        found: list[Tx] = []
        block = self.best
        for _ in range(depth):
            found = [*(tx for tx in block.txs if not tx.coinbase), *found]
            assert block.parent is not None
            block = block.parent
        return found

    def _waiting(self, *, unheard: bool) -> list[Tx]:
        first = list(self.unheard.values()) if unheard else []
        held = [entry.tx for entry in self.node.on_disk]
        return [*first, *(entry.tx for entry in self.node.pool.values()), *held]

    def value_of(self, coin: OutPoint) -> int:
        """Satoshi of any output that ever was."""
        if coin.txid in self.txs:
            return self.txs[coin.txid].outs[coin.vout].value_sat
        return next(b.txs[0] for b in self.blocks if b.txs[0].txid == coin.txid).outs[coin.vout].value_sat

    # ------------------------------------------------------------------ time and the node

    def wait(self, draws: Draws) -> None:
        self.now += draws.pick((1, 10, 31, 61)) * MINUTE

    def node_stops(self, draws: Draws) -> None:
        self.node.stop()

    def node_starts(self, draws: Draws) -> None:
        """It comes up, one stage at a time."""
        node = self.node
        if not node.up:
            node.start()
        elif node.warming:
            node.warmed_up()
        elif not node.loaded:
            node.read_mempool(lost=draws.chance(30))
        elif node.lagging:
            node.catch_up()

    def node_lags(self, draws: Draws) -> None:
        if self.node.up:
            self.node.lagging, self.node.downloading = True, draws.chance(30)

    def node_regresses(self, draws: Draws) -> None:
        """It loses its newest blocks, and hears of them again: of all at once, or when it catches up."""
        self.node.regress(draws.pick((1, 2, 4)))
        if draws.chance(50):
            self.node_hears(draws)

    def node_hears(self, draws: Draws) -> None:
        """Its peers tell it the longest chain."""
        chain: list[Block] = []
        block: Block | None = self.best
        while block is not None and block.hash not in self.node.known:
            chain.append(block)
            block = block.parent
        for one in reversed(chain):
            self.node.hear_block(one)

    def absent(self) -> set[str]:
        """Transactions that the node has neither in its mempool nor in its chain: it has its whole mempool, or what
        it has spends the same coins."""
        node = self.node
        missing = {txid: tx for txid, tx in self.txs.items() if txid not in node.pool and txid not in node.tip.where}
        if node.loaded:
            return set(missing)
        mined = {coin for block in node.active for tx in block.txs for coin in tx.ins}
        return {txid for txid, tx in missing.items() if any(c in node.spent or c in mined for c in tx.ins)}

    def heal(self) -> None:
        """All is well: the node runs, knows what its peers know, and has its mempool."""
        node, calm = self.node, Draws(())
        for _ in range(3):
            if not node.up or node.warming or not node.loaded:
                self.node_starts(calm)
        node.catch_up()
        self.node_hears(calm)
        node.catch_up()
