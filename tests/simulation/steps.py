"""The rules that hold after every step, held against what the simulated node really had during that step.

I1 to I12 are `tests.storage.invariants`; here are those that need the world: I4 evidence, I14 sweeps,
I15 nothing while frozen, I16 nothing disappears without a reversal, and that forged hints leave no trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from node_watcher.look import Looked
from payments.facts import COINBASE_MATURITY, Resolution
from payments.model import ExcessPolicy, OutPoint, Terms
from storage.tx import Tx as StorageTx
from tests.simulation.coins import Block, Unspent, read_tx
from tests.simulation.till import OWNER, RULES
from tests.simulation.world import World
from tests.storage import invariants

_PAID = ("confirmed", "forwarded")


class Promise(NamedTuple):
    """What the shop promised when a payment was created."""

    user_id: str
    terms: Terms


def worth(terms: Terms, sat: int) -> int:
    """Credits for satoshi, as the README promises them."""
    if sat < max(1, terms.amount_sat - terms.tolerance_sat):
        return 0
    more = sat > terms.amount_sat and terms.excess is ExcessPolicy.CREDIT
    return sat * terms.credits // terms.amount_sat if more else terms.credits


class StepCheck:
    """Call `begin` before the till does something, and `check` in one snapshot after every step."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.promises: dict[int, Promise] = {}
        self.decided: dict[OutPoint, Resolution] = {}
        self.forged: set[str] = set()
        self.looked: Looked | None = None
        self._transfer = self._event = 0
        self.absent: set[str] = set()
        """Transactions that were nowhere at some moment of this step."""
        self._gone: set[str] = set()
        self._paid: set[int] = set()
        self._posted: dict[int, int] = {}
        self._changes: int | None = None
        self._cursor: str | None = None
        """The till's last block before this step."""
        self._sweeps = 0

    def promise(self, number: int, user_id: str, terms: Terms) -> None:
        self.promises[number] = Promise(user_id, terms)

    def decide(self, action: Resolution, coins: Iterable[OutPoint]) -> None:
        """The operator's word. What he set aside once he never decides about again."""
        for coin in coins:
            assert self.decided.get(coin) in (None, Resolution.CREDIT), f"{coin} was set aside before"
            assert self.decided.get(coin) is not action
            self.decided[coin] = action

    def begin(self) -> None:
        self.looked = None
        self.world.node.seen_tips = [self.world.node.tip]
        self.absent = self.world.absent()

    def check(self, tx: StorageTx) -> None:
        newest = tx.one(
            "SELECT (SELECT max(id) FROM transfer) AS transfer, (SELECT max(id) FROM event) AS event,"
            " cursor_hash, (SELECT count(*) FROM incoming_tx) AS txs,"
            " (SELECT group_concat(txid) FROM incoming_tx WHERE in_mempool = 1) AS pool,"
            " (SELECT sum(unsettled) FROM payment) AS unsettled, (SELECT count(*) FROM sweep) AS sweeps FROM till"
        )
        assert newest is not None
        if (state := hash(tuple(newest))) == self._changes:
            return
        self._changes = state
        invariants.check(tx)
        self._transfers(tx)
        self._nothing_disappears(tx)
        self._no_forged(tx)
        self._gone_was_gone(tx)
        self._cursor = newest["cursor_hash"]
        if newest["sweeps"] != self._sweeps:
            self._sweeps = newest["sweeps"]
            self._sweeps_are_sound(tx)

    # ------------------------------------------------------------------ I4, I15

    def _transfers(self, tx: StorageTx) -> None:
        rows = tx.all(
            "SELECT * FROM transfer WHERE id > :id AND kind IN ('deposit', 'reversal', 'adjustment') ORDER BY id",
            id=self._transfer,
        )
        if rows and self.looked is not None:
            assert self.looked.complete, f"I15: booked although {self.looked.reasons}"
            assert not self.world.node.told_frozen, "I15: booked although the node said that it is behind"
        for row in rows:
            self._transfer = row["id"]
            outpoint = OutPoint(row["txid"], row["vout"])
            number = row["payment_number"]
            before, self._posted[number] = self._posted.get(number, 0), self._posted.get(number, 0) + row["credits"]
            if row["credits"] > 0:
                allowed = max(self._vouched(number, tip) for tip in self._tips())
                assert self._posted[number] <= max(before, allowed), f"I4: {row['credits']} credits before their tier"
            if row["kind"] == "deposit":
                self._deposit_was_due(row["payment_number"], outpoint, json.loads(row["evidence"]))
            elif row["kind"] == "reversal":
                assert self._was_undone(outpoint.txid), f"{outpoint} was never undone"

    def _vouched(self, number: int, tip: Block) -> int:
        """Credits that the depths at this tip vouch for: above each tier only what is that deep."""
        terms = self.promises[number].terms
        script = next(p.script for p in self.world.payables if p.number == number)
        depths = [
            (there.out.value_sat, tip.height - there.height + 1)
            for there in self._ever_unspent(tip)
            if there.out.script == script
        ]
        total = sum(value for value, _ in depths)
        sat = min(total, terms.tiers[0][0]) if terms.tiers else total
        bounds = [*(above_sat for above_sat, _ in terms.tiers[1:]), total]
        for (_, confirmations), bound in zip(terms.tiers, bounds, strict=False):
            sat = max(sat, min(bound, sum(value for value, depth in depths if depth >= confirmations)))
        return worth(terms, sat)

    def _ever_unspent(self, tip: Block) -> list[Unspent]:
        """Every output of the chain below a tip; what the till forwarded since counts as well."""
        block: Block | None = tip
        found = []
        while block is not None and block.parent is not None:
            found += [Unspent(out, block.height, tx.coinbase) for tx in block.txs for out in tx.outs]
            block = block.parent
        return found

    def _was_undone(self, txid: str) -> bool:
        """The node was on a branch without it. One that merely went back, and has it before itself, was not: in
        a block that the till knew, or could see in this step."""
        could_see = [block for block in self.world.blocks if block.hash == self._cursor] + self._tips()
        with_it = [
            block
            for block in self.world.blocks
            if any(tx.txid == txid for tx in block.txs) and any(tip.descends_from(block) for tip in could_see)
        ]
        return any(
            txid not in tip.where and not any(block.descends_from(tip) for block in with_it) for tip in self._tips()
        )

    def _tips(self) -> list[Block]:
        return self.world.node.seen_tips

    def _deposit_was_due(self, number: int, outpoint: OutPoint, evidence: dict[str, Any]) -> None:
        """The block of the evidence was in the node's active chain during this step, and deep enough."""
        block = next(b for b in self.world.blocks if b.hash == evidence["block_hash"])
        mined = next((tx for tx in block.txs if tx.txid == outpoint.txid), None)
        assert mined is not None, f"I4: {outpoint} is not in block {block.hash}"
        out = mined.outs[outpoint.vout]
        payable = next(p for p in self.world.payables if p.number == number)
        assert (out.value_sat, out.script) == (evidence["value_sat"], payable.script), "I4: value or script"
        needed = self.promises[number].terms.confirmations_required
        needed = max(needed, COINBASE_MATURITY) if mined.coinbase else needed
        depths = [tip.height - block.height + 1 for tip in self._tips() if tip.descends_from(block)]
        assert max(depths, default=0) >= needed, f"I4: {outpoint} is {depths} deep, {needed} needed"

    # ------------------------------------------------------------------ I16

    def _nothing_disappears(self, tx: StorageTx) -> None:
        """Who was shown a paid payment is shown it until a reversal is told."""
        paid = {row["number"] for row in tx.all("SELECT number, status FROM payment") if row["status"] in _PAID}
        for number in self._paid - paid:
            told = tx.one(
                "SELECT id FROM event WHERE payment_number = :n AND id > :id AND type = 'credits.reversed'",
                n=number,
                id=self._event,
            )
            assert told is not None, f"I16: payment {number} was paid, and no reversal is told"
        newest = tx.one("SELECT max(id) AS id FROM event")
        self._paid, self._event = paid, (newest["id"] or 0) if newest else 0

    def _no_forged(self, tx: StorageTx) -> None:
        known = {row["txid"] for row in tx.all("SELECT txid FROM incoming_tx")}
        assert not known & self.forged, "a forged hint was recorded"
        real = self.world.txs.keys() | {tx.txid for block in self.world.blocks for tx in block.txs[:1]}
        assert known <= real, "a transaction that never was"

    def _gone_was_gone(self, tx: StorageTx) -> None:
        """Nothing is said to be dropped or replaced that was in the mempool or in a block all the time."""
        rows = tx.all("SELECT txid FROM incoming_tx WHERE in_mempool = 0 AND mined = 0 AND coinbase = 0")
        gone = {row["txid"] for row in rows}
        assert gone - self._gone <= self.absent, f"told to be gone: {gone - self._gone - self.absent}"
        self._gone = gone

    # ------------------------------------------------------------------ I14

    def _sweeps_are_sound(self, tx: StorageTx) -> None:
        """Each sweep pays the owner alone, from coins that the till booked, at no more than the allowed fee."""
        for row in tx.all("SELECT * FROM sweep"):
            made = read_tx(bytes(row["raw"]))
            assert made.txid == row["txid"]
            assert [out.script for out in made.outs] == [OWNER], "I14: somebody else than the owner"
            claimed = tx.all("SELECT prev_txid, prev_vout FROM sweep_spend WHERE sweep_txid = :txid", txid=made.txid)
            assert {OutPoint(c["prev_txid"], c["prev_vout"]) for c in claimed} == set(made.ins), (
                "I14: inputs that are not claimed"
            )
            worth = sum(self.world.value_of(coin) for coin in made.ins)
            assert worth == row["value_sat"]
            assert made.outs[0].value_sat == worth - row["fee_sat"], "I14: fee"
            assert row["fee_sat"] <= RULES.max_feerate * len(made.raw), "I14: fee"
