"""What every part of forwarding works with."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from node_watcher.clock import Clock, now_ms
from node_watcher.meter import Meter
from node_watcher.rpc import Rpc
from node_watcher.signing.signer import (
    SignedTx,
    Signer,
    SigningFailed,
    SweepInput,
    SweepRefused,
    estimate_vsize,
)
from payments.coin import Coin
from payments.forward import ForwardRules, fee_for
from payments.model import BlockId
from payments.sweep_plan import VsizeOf
from storage.database import Database

_TRIES = 16
_FIGURE = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the owner wants the coins. `address` is `wallet.forward_to`."""

    address: str
    script_pubkey: bytes


@dataclass(slots=True)
class Desk:
    """The node, the database, the signer and the owner's rules, for one keychain.

    Without a `signer` somebody signs elsewhere, in his own time; `size` is then what his signatures need.
    """

    rpc: Rpc
    database: Database
    signer: Signer | None
    destination: Destination
    rules: ForwardRules
    keychain_id: int
    network: str
    meter: Meter = field(default_factory=Meter)
    clock: Clock = now_ms
    size: VsizeOf | None = None
    _said: dict[str, str] = field(default_factory=dict)

    def vsize_of(self, inputs: int) -> int:
        """Virtual bytes of a sweep of so many coins, never too few."""
        if self.size is not None:
            return self.size(inputs)
        return estimate_vsize(inputs, self.destination.script_pubkey)

    async def sign(self, coins: Sequence[Coin], fee_sat: int, feerate: Decimal | None, tip: BlockId) -> SignedTx:
        """Sign a sweep of these coins. With a `feerate` the fee is set again by the size that was measured.

        Raises `SignerError`.
        """
        signed = await asyncio.to_thread(self._sign, coins, fee_sat, tip.height)
        if feerate is not None and (exact := fee_for(signed.vsize, feerate)) < fee_sat:
            # Other bytes have other signatures, some a byte longer: what would pay too little by that stays as it was.
            again = await asyncio.to_thread(self._sign, coins, exact, tip.height)
            signed = again if exact >= fee_for(again.vsize, feerate) else signed
        for earlier in range(1, _TRIES):
            if feerate is None or self._fits(signed, feerate):
                break
            # Where the feerate is the cap itself only one fee fits a size: another locktime makes other signatures.
            fee = fee_for(signed.vsize, feerate)
            signed = await asyncio.to_thread(self._sign, coins, fee, max(0, tip.height - earlier))
        if signed.fee_sat > self.rules.max_feerate * signed.vsize:
            raise SweepRefused(
                f"a fee of {signed.fee_sat} sat for {signed.vsize} vB is above forwarding.max_feerate ="
                f" {self.rules.max_feerate}"
            )
        return signed

    def is_news(self, about: str, sentence: str) -> bool:
        """Whether this was not said of it before. Figures move with every pass; what they mean is news once."""
        if self._said.get(about) == (meaning := _FIGURE.sub("", sentence)):
            return False
        self._said[about] = meaning
        return True

    def forget(self, about: str) -> None:
        """It is over: should it come again, it is news again."""
        self._said.pop(about, None)

    def forget_others(self, kind: str, still: set[str]) -> None:
        """Of everything that begins with `kind` only these are still so."""
        for about in [a for a in self._said if a.startswith(kind) and a not in still]:
            del self._said[about]

    def _fits(self, signed: SignedTx, feerate: Decimal) -> bool:
        return fee_for(signed.vsize, feerate) <= signed.fee_sat <= self.rules.max_feerate * signed.vsize

    def _sign(self, coins: Sequence[Coin], fee_sat: int, locktime: int) -> SignedTx:
        if self.signer is None:
            raise SigningFailed("nobody signs here")
        return self.signer.sign_sweep(inputs_of(coins), self.destination.script_pubkey, fee_sat, locktime)


def inputs_of(coins: Sequence[Coin]) -> list[SweepInput]:
    """The coins as whoever signs is told of them."""
    return [SweepInput(c.outpoint, c.value_sat, c.address_index, c.script_pubkey) for c in coins]
