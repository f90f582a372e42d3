"""Everything outside of the till: time, miners, payers and thieves, and the one node that the till asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from payments.model import OutPoint
from tests.simulation.coins import Block, Out, Tx, make_block, make_tx
from tests.simulation.draws import Draws
from tests.simulation.node import Node, Refused

START = 1_700_000_000_000
MINUTE = 60_000
FULL = 40_000
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


class World:
    """Each public method that takes `Draws` is something that can happen; it does nothing where it cannot."""

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

    # ------------------------------------------------------------------ payers

    def pay(self, draws: Draws) -> None:
        """One transaction to one or several payments: all of it, too little, too much, dust, twice."""
        if not self.payables:
            return
        outs = []
        for _ in range(draws.pick((1, 1, 1, 2, 3))):
            to = self.payables[-1 - draws.below(min(4, len(self.payables)))]
            shares = (to.amount_sat, to.amount_sat, to.amount_sat // 2, to.amount_sat - 1, 3 * to.amount_sat, 600, 1)
            outs.append(Out(draws.pick(shares), to.script))
        if coins := self._coins(draws, draws.pick((1, 1, 2))):
            self._send(self._spend(coins, outs, draws.chance(20)), unheard=draws.chance(15))

    def replace(self, draws: Draws) -> None:
        """Spend the coins of a waiting transaction otherwise: bump its fee, change its sums, take it back."""
        there = [*(entry.tx for entry in self.node.pool.values()), *self.unheard.values()]
        waiting = [tx for tx in there if _from_payer(tx)]
        if not waiting:
            return
        old = waiting[-1 - draws.below(len(waiting))]
        ours = [out for out in old.outs if out.script != PAYER]
        match draws.below(5):
            case 0 | 1:  # the fee is raised, from the payer's change
                pass
            case 2:
                ours = []
            case 3:
                ours = [Out(max(1, out.value_sat // 2), out.script) for out in ours]
            case 4 if self.payables:
                ours = [Out(out.value_sat, draws.pick(self.payables).script) for out in ours]
        self._send(self._spend(list(old.ins), ours, draws.chance(20)), unheard=draws.chance(25))

    def evict(self, draws: Draws) -> None:
        """The mempool is full, or forgets what is two weeks old."""
        left = self.node.evict(draws.some(list(self.node.pool)))
        self.unheard |= {tx.txid: tx for tx in left}

    def relay(self, draws: Draws) -> None:
        """What was evicted, or never relayed, comes (again)."""
        for tx in draws.some(list(self.unheard.values())):
            if self.node.up and not self.node.warming:
                self._try(tx)

    def _coins(self, draws: Draws, count: int) -> list[OutPoint]:
        """Coins of the payer's that nothing waiting spends; now and then change that is not mined yet."""
        taken = {*self.node.spent, *(coin for tx in self.unheard.values() for coin in tx.ins)}
        free = [c for c, there in self.best.unspent.items() if there.out.script == PAYER and c not in taken]
        change = [
            entry.tx.outpoint(n)
            for entry in self.node.pool.values()
            for n, out in enumerate(entry.tx.outs)
            if out.script == PAYER and entry.tx.outpoint(n) not in taken
        ]
        if change and draws.chance(15):
            free = change
        place = draws.below(max(1, len(free)))
        return [free[(place + n) % len(free)] for n in range(min(count, len(free)))]

    def value_of(self, coin: OutPoint) -> int:
        """Satoshi of any output that ever was."""
        if coin.txid in self.txs:
            return self.txs[coin.txid].outs[coin.vout].value_sat
        return next(b.txs[0] for b in self.blocks if b.txs[0].txid == coin.txid).outs[coin.vout].value_sat

    def _spend(self, coins: list[OutPoint], outs: Sequence[Out], legacy: bool) -> Tx:
        self.made += 1
        left = sum(self.value_of(coin) for coin in coins) - sum(out.value_sat for out in outs) - 300
        paid = [*outs, Out(max(1, left), PAYER)]
        turned = paid[self.made % len(paid) :] + paid[: self.made % len(paid)]
        tx = make_tx(tuple(coins), tuple(turned), fee_sat=300, salt=self.made, segwit=not legacy)
        self.txs[tx.txid] = tx
        return tx

    def _send(self, tx: Tx, *, unheard: bool) -> None:
        if unheard or not self.node.up or self.node.warming:
            self.unheard[tx.txid] = tx
        else:
            self._try(tx)

    def _try(self, tx: Tx) -> None:
        self.unheard.pop(tx.txid, None)
        try:
            self.node.accept(tx)
        except Refused:
            self.unheard[tx.txid] = tx

    # ------------------------------------------------------------------ miners

    def mine(self, draws: Draws) -> None:
        """Blocks on the longest chain, with all, some or nothing of what waits, and perhaps what nobody relayed."""
        count = draws.pick((1, 1, 1, 2, 3, 6))
        wanted = draws.some(self._waiting(unheard=draws.chance(50)))
        reward = self._reward(draws)
        drift = draws.pick((0, 0, 0, 0, 100, -60, -10)) * MINUTE // 1000
        for number in range(count):
            self._mine_on(self.best, wanted if number == 0 else (), drift=drift, reward=reward if number == 0 else ())

    def _reward(self, draws: Draws) -> tuple[Out, ...]:
        """Who is paid for a block: a miner, and very rarely a payment of ours at once."""
        if self.payables and draws.below(1_000) == 999:
            to = self.payables[-1]
            return (Out(to.amount_sat, to.script),)
        return ()

    def reorganise(self, draws: Draws) -> None:
        """A longer branch: transactions are mined again, or later, or left out, or spent otherwise."""
        depth = min(draws.pick((1, 1, 1, 2, 2, 3, 5, 8)), self.best.height - 1)
        if depth < 1:
            return
        stale = self._stale(depth)
        fork = self.best.below(self.best.height - depth)
        fate = draws.below(5)
        again = draws.some([*stale, *self._waiting(unheard=draws.chance(30))]) if fate < 3 else []
        if fate == 3 and (victims := [tx for tx in stale if _from_payer(tx)]):
            outs = [Out(600, draws.pick(self.payables).script)] if self.payables and draws.chance(30) else []
            again = [self._spend(list(draws.pick(victims).ins), outs, legacy=False)]
            self.unheard[again[0].txid] = again[0]
        extra = draws.pick((1, 1, 2))
        at = draws.below(depth + extra)
        top = fork
        for number in range(depth + extra):
            top = self._mine_on(top, again if number == at else ())

    def rival(self, draws: Draws) -> None:
        """A branch of the same height as ours: nothing may change. Mined upon later, or never."""
        depth = min(1 + draws.below(2), self.best.height - 1)
        top = self.best.below(self.best.height - depth)
        for _ in range(depth):
            top = self._mine_on(top, draws.some(self._stale(depth)))

    def extend_rival(self, draws: Draws) -> None:
        """Miners go on with a branch that was given up."""
        tips = [b for b in self.blocks if b.height >= self.best.height - 3 and not self.best.descends_from(b)]
        if tips:
            top = tips[-1 - draws.below(min(3, len(tips)))]
            for _ in range(self.best.height - top.height + draws.below(2)):
                top = self._mine_on(top, draws.some(self._waiting(unheard=False)))

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

    def heal(self) -> None:
        """All is well: the node runs, knows what its peers know, and has its mempool."""
        node, calm = self.node, Draws(())
        for _ in range(3):
            if not node.up or node.warming or not node.loaded:
                self.node_starts(calm)
        node.catch_up()
        self.node_hears(calm)
        node.catch_up()


def _from_payer(tx: Tx) -> bool:
    """Whether somebody else than the till made it: only its maker can spend its coins otherwise."""
    return any(out.script == PAYER for out in tx.outs)
