"""Forwarding mode: sweeps what was credited to the owner's address.

Sign, store, broadcast, in that order and never otherwise. After any doubt the same bytes are
broadcast again; a payment's coins can be spent by one transaction only, so that cannot pay twice.
Forwarding never touches a credit.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from node_watcher.clock import Clock, now_ms
from node_watcher.forwarding.feerate import current_feerate
from node_watcher.meter import Meter
from node_watcher.rpc import Rpc, RpcError
from node_watcher.signing.signer import SignedTx, Signer, SignerError, SweepInput, estimate_vsize
from payments.amount import btc_text
from payments.forward import Affordable, ForwardRules, Held, judge
from payments.model import BlockId
from storage import sweeps
from storage.database import Database
from storage.errors import AlreadyThere

log = logging.getLogger("nodetill")
_ALREADY_IN_CHAIN = -27
_AT_ONCE = 200
_INPUTS = 500
_EVERYTHING = 1_000_000
_FIGURE = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the owner wants the coins. `address` is `wallet.forward_to`."""

    address: str
    script_pubkey: bytes


class Forwarder:
    """Moves booked coins of one keychain to the owner."""

    def __init__(
        self,
        rpc: Rpc,
        database: Database,
        signer: Signer,
        destination: Destination,
        rules: ForwardRules,
        *,
        keychain_id: int,
        network: str,
        meter: Meter | None = None,
        clock: Clock = now_ms,
    ) -> None:
        self._rpc = rpc
        self._database = database
        self._signer = signer
        self._destination = destination
        self._rules = rules
        self._keychain_id = keychain_id
        self._network = network
        self._meter = meter or Meter()
        self._clock = clock
        self._said: dict[int, str] = {}
        self._refused: dict[str, str] = {}

    async def forward_due(self, tip: BlockId) -> int:
        """One round at the tip: offer again what is stored, then sign what is due. How many were broadcast."""
        sent = 0
        if watched := await self._database.read(sweeps.sweeps_to_watch):
            await self._database.write(sweeps.close_deep_sweeps)
            sent += await self._offer_again(watched)
        # All of it, because what is held (dust of long ago) must not stand before what can go.
        due = await self._database.read(sweeps.coins_due, self._keychain_id, _EVERYTHING)
        self._said = {number: self._said[number] for number, _ in due if number in self._said}
        if not due:
            return sent
        feerate = await current_feerate(self._rpc, self._rules.target_blocks, self._network)
        signed = 0
        for number, coins in due:
            stored = await self._sign_and_store(number, coins[:_INPUTS], feerate, tip)
            if stored is not None:
                sent += await self._offer(stored)
                signed += 1
            if signed >= _AT_ONCE:
                break  # blocks and credits come first; the rest goes with the next pass
        return sent

    async def _offer_again(self, watched: Sequence[sweeps.Sweep]) -> int:
        """Offer what the node may not have: what was never seen to arrive, and what it has lost since."""
        waiting = [s for s in watched if not await self._database.read(sweeps.in_active_block, s.txid)]
        sent = 0
        for sweep in watched:
            if sweep.state == "stored" and sweep not in waiting:
                sent += await self._sent(sweep)  # it was mined before its broadcast could be written down
        known = [sweep for sweep in waiting if sweep.state != "stored"]
        entries = await self._rpc.batch([("getmempoolentry", sweep.txid) for sweep in known])
        there = {s.txid for s, entry in zip(known, entries, strict=True) if not isinstance(entry, RpcError)}
        for sweep in waiting:
            if sweep.txid not in there:
                sent += await self._offer(sweep)
        return sent

    async def _sign_and_store(
        self, number: int, coins: Sequence[sweeps.Coin], feerate: Decimal | None, tip: BlockId
    ) -> sweeps.Sweep | None:
        value = sum(coin.value_sat for coin in coins)
        vsize = estimate_vsize(len(coins), self._destination.script_pubkey)
        verdict = judge(value, vsize, feerate, self._rules)
        if isinstance(verdict, Held):
            self._say_once(number, coins[0].payment_id, verdict.reason)
            return None
        try:
            signed = await asyncio.to_thread(self._sign, coins, verdict, tip)
        except SignerError as error:
            self._say_once(number, coins[0].payment_id, str(error))
            return None
        now = self._clock()
        sweep = sweeps.Sweep(signed.txid, signed.raw, "stored", value, signed.fee_sat, now)
        try:
            await self._database.write(sweeps.store_sweep, sweep, coins, self._destination.address, now)
        except AlreadyThere as error:
            # Another worker was faster, and its bytes are the ones that count; or the ledger refuses.
            self._say_once(number, coins[0].payment_id, f"its sweep was not stored: {error}")
            return None
        return sweep

    def _sign(self, coins: Sequence[sweeps.Coin], verdict: Affordable, tip: BlockId) -> SignedTx:
        inputs = [SweepInput(c.outpoint, c.value_sat, c.address_index, c.script_pubkey) for c in coins]
        return self._signer.sign_sweep(inputs, self._destination.script_pubkey, verdict.fee_sat, tip.height)

    async def _offer(self, sweep: sweeps.Sweep) -> int:
        """Give the node the stored bytes. Its refusals are ambiguous and change nothing but the log."""
        try:
            await self._rpc.call("sendrawtransaction", sweep.raw.hex())
        except RpcError as error:
            if error.code != _ALREADY_IN_CHAIN:
                if self._refused.get(sweep.txid) != str(error):  # it is offered at every pass: say it once
                    self._refused[sweep.txid] = str(error)
                    await self._database.write(sweeps.record_refused, sweep.txid, str(error))
                    self._meter.forward("refused")
                    log.error("The node does not take sweep %s: %s; it is offered again", sweep.txid, error)
                return 0
        self._refused.pop(sweep.txid, None)
        return await self._sent(sweep) if sweep.state == "stored" else 0

    async def _sent(self, sweep: sweeps.Sweep) -> int:
        await self._database.write(sweeps.record_broadcast, sweep.txid, self._clock())
        self._meter.forward("broadcast")
        log.info("Successfully forwarded %s BTC. TX: %s", btc_text(sweep.value_sat - sweep.fee_sat), sweep.txid)
        return 1

    def _say_once(self, number: int, payment_id: str, reason: str) -> None:
        # Figures move with every pass; what they mean is news once.
        if self._said.get(number) != (meaning := _FIGURE.sub("", reason)):
            self._said[number] = meaning
            self._meter.forward("held")
            log.warning("Payment %s is not forwarded yet: %s", payment_id, reason)
