"""A simulated node: its own view of the block tree, its mempool, and the bad days it can have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from payments.model import OutPoint
from tests.simulation.coins import Block, Tx


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction in the mempool, and when it came, in seconds, as `getmempoolentry` tells."""

    tx: Tx
    time: int


class Refused(Exception):
    """The mempool does not take a transaction: bitcoind's code and words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Node:
    """Follows the longest chain it knows; of two of one height, the one that it heard of first.

    `up`: it answers. `warming`: it answers -28. `loaded`: its mempool was read back from disk.
    `lagging`: it knows new headers and has not checked their blocks. `downloading`: it says so of itself.
    """

    def __init__(self, genesis: Block, now: Callable[[], int], publish: Callable[[Tx], None]) -> None:
        self._now, self._publish = now, publish
        self.known: dict[str, Block] = {genesis.hash: genesis}
        self.waiting: list[Block] = []
        self.tip = genesis
        self.active = [genesis]
        self.pool: dict[str, Entry] = {}
        self.spent: dict[OutPoint, str] = {}
        self.up = self.loaded = True
        self.warming = self.lagging = self.downloading = False
        self.on_disk: list[Entry] = []
        self.entered: dict[str, set[int]] = {}
        """When each transaction came into the mempool, in seconds."""
        self.told_frozen = False
        """Whether its last word of itself was that it is not level with its peers."""
        self.seen_tips = [genesis]
        """Every tip since somebody cleared the list: the oracle of single steps."""

    # ------------------------------------------------------------------ blocks

    @property
    def headers(self) -> int:
        return max([self.tip.height, *(block.height for block in self.waiting)])

    def hear_block(self, block: Block) -> None:
        """A peer has a block. Blocks come with their parents first."""
        if block.hash in self.known or block in self.waiting:
            return
        if not self.up or self.lagging:
            self.waiting.append(block)
        else:
            self._take(block)

    def catch_up(self) -> None:
        """Check what it heard of while it could not."""
        self.lagging = self.downloading = False
        waiting, self.waiting = self.waiting, []
        for block in waiting:
            self._take(block)

    def _take(self, block: Block) -> None:
        assert block.parent is not None
        if block.parent.hash not in self.known:
            self._take(block.parent)
        self.known[block.hash] = block
        if block.height > self.tip.height:
            self._activate(block)

    def _activate(self, tip: Block) -> None:
        fork = tip.below(min(tip.height, self.tip.height))
        while self.active[fork.height] is not fork:
            assert fork.parent is not None
            fork = fork.parent
        gone = self.active[fork.height + 1 :]
        come: list[Block] = []
        block = tip
        while block is not fork:
            come.append(block)
            assert block.parent is not None
            block = block.parent
        self.active[fork.height + 1 :] = reversed(come)
        self.tip = tip
        self.seen_tips.append(tip)
        back = [tx for block in gone for tx in block.txs if not tx.coinbase]
        for tx in [*back, *(tx for block in reversed(come) for tx in block.txs)]:
            self._publish(tx)  # rawtx comes when a block is disconnected, and when one is connected
        self._refill([*(Entry(tx, self._now() // 1000) for tx in back), *self.pool.values()])

    def is_active(self, block: Block) -> bool:
        return block.height <= self.tip.height and self.active[block.height] is block

    # ------------------------------------------------------------------ mempool

    def accept(self, tx: Tx) -> None:
        """A transaction from a peer: what spends the same coins gives way, with all that builds on it."""
        if tx.txid in self.pool or tx.txid in self.tip.where:
            return
        rivals = {self.spent[coin] for coin in tx.ins if coin in self.spent}
        lost = self._with_children(rivals)
        if not all(self._there(coin, lost) for coin in tx.ins):
            raise Refused(-25, "bad-txns-inputs-missingorspent")
        self._remove(lost)
        self._add(Entry(tx, self._now() // 1000))
        self._publish(tx)

    def evict(self, txids: Iterable[str]) -> list[Tx]:
        """Full, or too old: these leave, and what builds on them. Returns what left."""
        lost = self._with_children(set(txids))
        left = [entry.tx for txid, entry in self.pool.items() if txid in lost]
        self._remove(lost)
        return left

    def _there(self, coin: OutPoint, without: set[str] | None = None) -> bool:
        if coin in self.tip.unspent:
            return True
        made = self.pool.get(coin.txid)
        return made is not None and coin.vout < len(made.tx.outs) and coin.txid not in (without or ())

    def _with_children(self, txids: set[str]) -> set[str]:
        lost = set(txids)
        for txid, entry in self.pool.items():  # children come after their parents
            if any(coin.txid in lost for coin in entry.tx.ins):
                lost.add(txid)
        return lost

    def _add(self, entry: Entry) -> None:
        self.pool[entry.tx.txid] = entry
        self.entered.setdefault(entry.tx.txid, set()).add(entry.time)
        for coin in entry.tx.ins:
            self.spent[coin] = entry.tx.txid

    def _remove(self, lost: set[str]) -> None:
        for txid in [txid for txid in self.pool if txid in lost]:
            for coin in self.pool.pop(txid).tx.ins:
                del self.spent[coin]

    def _refill(self, entries: list[Entry]) -> None:
        """After the tip moved: what is still valid, of these, in this order."""
        self.pool, self.spent = {}, {}
        for entry in entries:
            tx = entry.tx
            fits = all(coin not in self.spent and self._there(coin) for coin in tx.ins)
            if fits and tx.txid not in self.tip.where and tx.txid not in self.pool:
                self._add(entry)

    # ------------------------------------------------------------------ bad days

    def stop(self) -> None:
        """It ends, and keeps its mempool on disk."""
        self.up = False
        if self.loaded:
            self.on_disk = list(self.pool.values())
            self._refill([])
        self.loaded = False

    def start(self) -> None:
        """It warms up (-28), with an empty mempool."""
        if not self.up:
            self.up, self.warming, self.loaded = True, True, False

    def warmed_up(self) -> None:
        """It answers. Its mempool is read back a moment later."""
        self.warming = False
        if not self.lagging:
            self.catch_up()

    def read_mempool(self, *, lost: bool) -> None:
        """The mempool is read back from disk, or its file was gone."""
        if self.up and not self.warming and not self.loaded:
            self._refill([*self.pool.values(), *([] if lost else self.on_disk)])
            self.on_disk, self.loaded = [], True

    def regress(self, depth: int) -> None:
        """Killed before it wrote its blocks: it comes back with a tip `depth` lower and knows no higher block."""
        self.stop()
        self.tip = self.tip.below(max(0, self.tip.height - depth))
        del self.active[self.tip.height + 1 :]
        self.known = {h: block for h, block in self.known.items() if block.height <= self.tip.height}
        self.waiting = []
        self._refill([])
        self.up, self.warming, self.lagging = True, False, True
