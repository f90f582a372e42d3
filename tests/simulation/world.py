"""Everything outside of the till: payers and thieves, miners, and what the network does with their work."""

from __future__ import annotations

from collections.abc import Sequence

from payments.model import OutPoint
from tests.simulation.coins import Out, Tx, make_tx
from tests.simulation.draws import Draws
from tests.simulation.network import MINUTE, PAYER, Network
from tests.simulation.node import Refused

FULL = 40_000


class World(Network):
    """Each public method that takes `Draws` is something that can happen; it does nothing where it cannot."""

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
        """What gives way may still be mined, or come back: others keep it."""
        self.unheard.pop(tx.txid, None)
        before = [entry.tx for entry in self.node.pool.values()]
        try:
            self.node.accept(tx)
        except Refused:
            self.unheard[tx.txid] = tx
        self.unheard |= {old.txid: old for old in before if old.txid not in self.node.pool}

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


def _from_payer(tx: Tx) -> bool:
    """Whether somebody else than the till made it: only its maker can spend its coins otherwise."""
    return any(out.script == PAYER for out in tx.outs)
