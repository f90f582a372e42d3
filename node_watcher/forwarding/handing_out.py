"""A sweep that is not signed yet, for an owner whose keys are on another device. Nothing is stored or sent here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node_watcher.forwarding.desk import Desk, inputs_of
from node_watcher.forwarding.drafts import unspent
from node_watcher.forwarding.feerate import Feerates
from node_watcher.rpc import Call, RpcError
from node_watcher.signing.psbt import build_psbt
from node_watcher.signing.signer import SweepRefused
from payments.coin import Coin
from payments.descriptor import RangedDescriptor
from payments.fee_bump import Bump, Waiting, bump_of
from payments.forward import fee_for, feerate_refusal, refusal
from payments.model import BlockId
from payments.sweep_plan import Plan, is_late
from storage import chain
from storage.signed_elsewhere import Spendable


@dataclass(frozen=True, slots=True)
class HandedOut:
    """`psbt` in base64, amounts in satoshi. `gone` are coins that were left out because the node has them not;
    `bare` are transactions that the node could not show, so that the PSBT does not hold them."""

    psbt: str
    coins: tuple[Coin, ...]
    fee_sat: int
    vsize: int
    destination: str
    replaces: str | None
    gone: tuple[Coin, ...] = ()
    bare: tuple[str, ...] = ()

    @property
    def value_sat(self) -> int:
        return sum(coin.value_sat for coin in self.coins)


class HandingOut:
    """Builds PSBTs for one descriptor. All of it raises `SweepRefused` where there is nothing to be signed now."""

    def __init__(self, desk: Desk, descriptor: RangedDescriptor) -> None:
        self._desk = desk
        self._descriptor = descriptor

    async def batch(self, plan: Plan, number: int, rates: Feerates, tip: BlockId) -> HandedOut:
        """The batch of that number, from 1, of what goes now, without the coins that the node has not."""
        desk = self._desk
        if not plan.batches:
            reasons = sorted({entry.reason for entry in plan.held})
            raise SweepRefused(f"no coin goes now: {'; '.join(reasons[:3]) or 'none waits to be forwarded'}")
        if number > len(plan.batches):
            raise SweepRefused(f"there is no batch {number}: what goes now makes {len(plan.batches)}")
        there, gone = await unspent(desk, plan.batches[number - 1].coins)
        if not there:
            raise SweepRefused("the node says that all coins of it are spent already, by whom nodetill does not know")
        assert rates.now is not None  # noqa: S101 - without one nothing is planned
        fee = fee_for(desk.vsize_of(len(there)), rates.now)
        late = any(is_late(coin, desk.rules, desk.clock()) for coin in there)
        if (reason := refusal(sum(coin.value_sat for coin in there), fee, desk.rules, late=late)) is not None:
            raise SweepRefused(reason)
        return await self._made(there, fee, tip, gone=gone)

    async def replacement(self, found: Spendable, rates: Feerates, tip: BlockId) -> HandedOut:
        """The next version of a sweep: for more, or without a coin that is gone. Asked for, so only the cap counts."""
        desk, head = self._desk, found.replaces
        assert head is not None  # noqa: S101 - what is asked for here
        if head.destination != desk.destination.address:
            raise SweepRefused(
                f"sweep {head.txid} goes to {head.destination}, and wallet.forward_to is {desk.destination.address}:"
                " its other versions must go there too, so set that until a block has it"
            )
        vsize = desk.vsize_of(len(found.coins))
        if found.lost:
            if (reason := feerate_refusal(rates.now, desk.rules)) is not None:
                raise SweepRefused(reason)
            assert rates.now is not None  # noqa: S101 - refused above
            fee = fee_for(vsize, rates.now)
            if (reason := refusal(sum(c.value_sat for c in found.coins), fee, desk.rules, late=True)) is not None:
                raise SweepRefused(reason)
            return await self._made(found.coins, fee, tip, replaces=head.txid)
        facts = Waiting(head.value_sat, head.fee_sat, vsize, tip.height - head.stored_height, late=True)
        verdict = bump_of(facts, rates.now, rates.increment, desk.rules, asked=True)
        if not isinstance(verdict, Bump):
            raise SweepRefused(verdict.reason or "it is not replaced")
        return await self._made(found.coins, verdict.fee_sat, tip, replaces=head.txid)

    async def _made(
        self,
        coins: Sequence[Coin],
        fee_sat: int,
        tip: BlockId,
        *,
        gone: Sequence[Coin] = (),
        replaces: str | None = None,
    ) -> HandedOut:
        desk = self._desk
        previous, bare = await self._previous(coins) if self._descriptor.kind != "tr" else ({}, [])
        script = desk.destination.script_pubkey
        psbt = build_psbt(inputs_of(coins), self._descriptor, script, fee_sat, tip.height, previous)
        to, vsize = desk.destination.address, desk.vsize_of(len(coins))
        return HandedOut(psbt, tuple(coins), fee_sat, vsize, to, replaces, tuple(gone), tuple(bare))

    async def _previous(self, coins: Sequence[Coin]) -> tuple[dict[str, bytes], list[str]]:
        """The transactions that paid the coins, by txid, and those that the node does not show (it is pruned)."""
        txids = list(dict.fromkeys(coin.outpoint.txid for coin in coins))
        blocks = await self._desk.database.read(lambda tx: [chain.paid_in(tx, txid) for txid in txids])
        calls: list[Call] = [
            ("getrawtransaction", txid, False, block) if block else ("getrawtransaction", txid, False)
            for txid, block in zip(txids, blocks, strict=True)
        ]
        answers = await self._desk.rpc.batch(calls)
        shown = {t: bytes.fromhex(a) for t, a in zip(txids, answers, strict=True) if not isinstance(a, RpcError)}
        return shown, [txid for txid in txids if txid not in shown]
