"""What the till must say once all is well: worked out from the simulated chain, and from the promises alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from payments.facts import COINBASE_MATURITY, Resolution
from payments.model import LatePolicy, OutPoint, Terms
from payments.record import PaymentRecord
from storage.tx import Row
from storage.tx import Tx as StorageTx
from tests.simulation.steps import Promise, worth
from tests.simulation.till import OWNER
from tests.simulation.world import World
from tests.storage.invariants import check_quiet

__all__ = ["Oracle", "blocks_until_final", "check_quiet", "snapshot"]

_SET_ASIDE = (Resolution.IGNORE, Resolution.REFUNDED)
_TABLES = (
    *("payment", "output", "incoming_tx", "block", "transfer", "transfer_line", "account", "event", "sweep"),
    *("resolution", "resolution_output"),
)


def snapshot(tx: StorageTx) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the outside can see, to be compared.

    `told_depth` is not among it: it is written down again whenever a payment is looked at.
    """
    return {table: [_shown(row) for row in tx.all(f"SELECT * FROM {table}")] for table in _TABLES}


def _shown(row: Row) -> tuple[Any, ...]:
    return tuple(value for name, value in zip(row.keys(), tuple(row), strict=True) if name != "told_depth")


def blocks_until_final(world: World, promises: Mapping[int, Promise]) -> int:
    """How many blocks make everything final, the largest tier and a coinbase too."""
    scripts = {payable.script for payable in world.payables}
    if any(out.script in scripts for block in world.blocks for out in block.txs[0].outs):
        return COINBASE_MATURITY
    return max((max(p.terms.confirmations_required, _deepest(p.terms)) for p in promises.values()), default=1)


class Found(NamedTuple):
    """An output that pays us, in the active chain (`depth` 1 in the tip) or in the mempool (0)."""

    outpoint: OutPoint
    value_sat: int
    depth: int
    needed: int


class Oracle:
    """Reads the node's active chain and mempool; knows nothing of the till but the promises, and what the operator
    said about which coins."""

    def __init__(
        self, world: World, promises: Mapping[int, Promise], decided: Mapping[OutPoint, Resolution] | None = None
    ) -> None:
        self.world, self.promises, self.decided = world, promises, decided or {}
        self.found: dict[int, list[Found]] = {p.number: [] for p in world.payables}
        number_of = {p.script: p.number for p in world.payables}
        self.spender: dict[OutPoint, str] = {}
        tip = world.node.tip.height
        there = [(tx, tip - block.height + 1) for block in world.node.active for tx in block.txs]
        for tx, depth in [*there, *((entry.tx, 0) for entry in world.node.pool.values())]:
            self.spender |= dict.fromkeys(tx.ins, tx.txid)
            for vout, out in enumerate(tx.outs):
                if (number := number_of.get(out.script)) is not None:
                    needed = promises[number].terms.confirmations_required
                    needed = max(needed, COINBASE_MATURITY) if tx.coinbase else needed
                    self.found[number].append(Found(tx.outpoint(vout), out.value_sat, depth, needed))

    def compare(self, records: Sequence[PaymentRecord], forwarding: bool) -> None:
        for record in records:
            found, terms = self.found[record.number], self.promises[record.number].terms
            facts = {o.outpoint: o for o in record.facts.outputs}
            live = {o.outpoint: (o.value_sat, o.depth(record.tip_height)) for o in facts.values() if o.live}
            assert live == {f.outpoint: (f.value_sat, f.depth) for f in found}, "I5: other outputs than the chain has"
            for one in found:
                booked = facts[one.outpoint].booked
                assert booked or one.depth < one.needed, f"I5: a lost payment: {one}"
                assert not booked or one.depth > 0, f"I5: credited out of nothing: {one}"
                self._paid_at_is_true(one.outpoint, facts[one.outpoint].paid_at)
            for fact in facts.values():
                assert fact.live or not fact.booked, "booked and gone"
                rivals = {self.spender.get(coin) for coin in self._ins(fact.outpoint.txid)} - {None}
                assert fact.live or not rivals or fact.replaced_by is not None, f"replaced by {rivals}, and not told"
            assert record.state.received_sat == sum(f.value_sat for f in found)
            if all(f.depth >= max(f.needed, _deepest(terms)) or f.depth == 0 for f in found):
                self._compare_final(record, found, terms, forwarding)

    def _compare_final(self, record: PaymentRecord, found: list[Found], terms: Terms, forwarding: bool) -> None:
        """Nothing of it is half deep: credits and status follow from the sums."""
        final = [f for f in found if f.depth]
        confirmed, received = sum(f.value_sat for f in final), sum(f.value_sat for f in found)
        assert record.state.confirmed_sat == confirmed
        sums = {0}
        for f in final:
            sums = {before + f.value_sat * counts for before in sums for counts in self._may_count(f.outpoint, terms)}
        due = {worth(terms, counted) for counted in sums}
        assert record.facts.credits_posted in due, f"{record.facts.credits_posted} credits, {due} due"
        least = max(1, terms.amount_sat - terms.tolerance_sat)
        kept = [f for f in found if self.decided.get(f.outpoint) not in _SET_ASIDE]
        assert record.state.remaining_sat == max(0, terms.amount_sat - sum(f.value_sat for f in kept)) or (
            record.state.remaining_sat == 0 and sum(f.value_sat for f in kept) >= least
        )
        confirmed, received = sum(f.value_sat for f in kept if f.depth), sum(f.value_sat for f in kept)
        if record.facts.credits_posted > 0:
            expected = {"confirmed", "forwarded"} if forwarding else {"forwarded"}
        elif confirmed >= least or record.facts.ever_credited:
            expected = {"failed"}
        elif received >= least:
            expected = {"confirming"}
        else:
            expected = {"expired"} if terms.expires_at <= self.world.now else {"pending"}
        assert record.state.status in expected, f"{record.state.status}, {expected} expected"

    def _ins(self, txid: str) -> tuple[OutPoint, ...]:
        return self.world.txs[txid].ins if txid in self.world.txs else ()

    def _moments(self, txid: str) -> list[int]:
        """Every moment (ms) at which somebody could prove that this was on its way.

        A header may be ahead of the time; the till then believes its own clock, which is not before the block's.
        """
        moments = [second * 1000 for second in self.world.node.entered.get(txid, ())]
        for block in self.world.blocks:
            if any(tx.txid == txid for tx in block.txs):
                moments += [block.time * 1000, min(block.time * 1000, self.world.found_at[block.hash])]
        return moments

    def _paid_at_is_true(self, outpoint: OutPoint, paid_at: int) -> None:
        moments = self._moments(outpoint.txid)
        assert paid_at in moments or paid_at < max(moments), f"paid at {paid_at}, and it came at {moments}"

    def _may_count(self, outpoint: OutPoint, terms: Terms) -> tuple[bool, ...]:
        """Whether an output may and may not give credits: both, where it depends on who saw what when. The
        operator's word about it settles that."""
        if (word := self.decided.get(outpoint)) is not None:
            return (word is Resolution.CREDIT,)
        if terms.late is not LatePolicy.HOLD:
            return (True,)
        moments = self._moments(outpoint.txid)
        if max(moments) <= terms.expires_at:
            return (True,)
        rivals = self._family({outpoint.txid})
        earliest = min([*moments, *(moment for txid in rivals for moment in self._moments(txid))])
        return (False,) if earliest > terms.expires_at else (True, False)

    def _family(self, txids: set[str]) -> set[str]:
        """All transactions that spend the same coins as these, or as those do: a chain of replacements."""
        while True:
            coins = {coin for txid in txids if txid in self.world.txs for coin in self.world.txs[txid].ins}
            more = {txid for txid, tx in self.world.txs.items() if coins & set(tx.ins)}
            if more <= txids:
                return txids
            txids = txids | more

    def compare_ledger(self, tx: StorageTx, balances: Mapping[str, int]) -> None:
        """I7: what came in is what was booked, and what left the till went to the owner and to miners."""
        rows = tx.all("SELECT kind, unit, owner, balance FROM account")
        account = {(row["kind"], row["unit"], row["owner"]): row["balance"] for row in rows}
        booked = tx.one("SELECT coalesce(sum(value_sat), 0) AS sat FROM output WHERE booked = 1")
        assert booked is not None
        assert -account.get(("chain", "sat", ""), 0) == booked["sat"]
        for user, balance in balances.items():
            spent = tx.one(
                "SELECT coalesce(sum(credits), 0) AS n FROM transfer WHERE kind = 'spend' AND user_id = :u", u=user
            )
            posted = sum(
                row["credits_posted"] for row in tx.all("SELECT credits_posted FROM payment WHERE user_id = :u", u=user)
            )
            assert spent is not None
            assert balance == posted + spent["n"]
        mined = [mined for block in self.world.node.active for mined in block.txs]
        swept = sum(out.value_sat for spender in mined for out in spender.outs if out.script == OWNER)
        stored = {row["txid"] for row in tx.all("SELECT txid FROM sweep")}
        ours = {f.outpoint for found in self.found.values() for f in found}
        for spender in mined:
            assert spender.txid in stored or not ours & set(spender.ins), "I14: spent by no sweep of ours"
        assert swept <= sum(f.value_sat for found in self.found.values() for f in found)


def _deepest(terms: Terms) -> int:
    return max((confirmations for _, confirmations in terms.tiers), default=0)
