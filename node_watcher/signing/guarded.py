"""The signer behind its caps and its journal: whatever it is asked, this decides."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node_watcher.signing.caps import Caps
from node_watcher.signing.journal import Entry, Journal, JournalError
from node_watcher.signing.signer import SignedTx, Signer, SignerError, SweepInput, SweepRefused
from node_watcher.signing.sweep_bytes import check_signed
from payments.descriptor import DescriptorError, RangedDescriptor

log = logging.getLogger("nodetill")


@dataclass(frozen=True, slots=True)
class Description:
    """What is public of a signer: its account, its seed's fingerprint, and where it sends."""

    network: str
    descriptor: str
    fingerprint: str
    destination: str


class GuardedSigner:
    """`node_watcher.signing.signer.Signer` that trusts nobody who asks."""

    def __init__(
        self,
        signer: Signer,
        account: RangedDescriptor,
        caps: Caps,
        journal: Journal,
        clock: Callable[[], int],
    ) -> None:
        self._signer, self._account, self._caps = signer, account, caps
        self._journal, self._clock = journal, clock

    def sign_sweep(
        self, inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int
    ) -> SignedTx:
        """See `Signer`; and it raises `SweepRefused` for everything beyond the caps."""
        ours = [self._ours(given) for given in inputs]
        self._caps.refuse_beyond(ours, destination_script, fee_sat, locktime)
        request, now = _hash(ours, destination_script, fee_sat, locktime), self._clock()
        if (known := self._journal.signed(request, now)) is not None:
            return check_signed(known, ours, destination_script, fee_sat, locktime)
        self._refuse_beyond_the_day(ours, now)
        made = self._signer.sign_sweep(ours, destination_script, fee_sat, locktime)
        signed = check_signed(made.raw, ours, destination_script, fee_sat, locktime)
        coins = {given.outpoint: given.value_sat for given in ours}
        try:
            self._journal.append(Entry(now, request, coins, signed.raw))
        except JournalError as error:
            raise SignerError(str(error)) from error
        value = sum(coins.values())
        log.info("Signed sweep %s of %d sat from %d coins, fee %d sat", signed.txid, value, len(coins), fee_sat)
        return signed

    def _ours(self, given: SweepInput) -> SweepInput:
        """With the script of the key that it names: what is signed is that script, and its value (BIP143)."""
        try:
            script = self._account.script_pubkey(given.key_index)
        except DescriptorError as error:
            raise SweepRefused(str(error)) from error
        if given.script_pubkey not in (None, script):
            raise SweepRefused(
                f"output {given.outpoint.txid}:{given.outpoint.vout} is not of this signer's seed (address number "
                f"{given.key_index}): wallet.descriptor must be what `seed show-xpub` shows"
            )
        return given._replace(script_pubkey=script)

    def _refuse_beyond_the_day(self, inputs: Sequence[SweepInput], now: int) -> None:
        counted = self._journal.counted(now)
        before = sum(counted.values())
        more = sum(max(0, one.value_sat - counted.get(one.outpoint, 0)) for one in inputs)
        if before + more > self._caps.daily_cap_sat:
            raise SweepRefused(
                f"{more} sat more would make {before + more} sat within 24 hours, above the signer's daily_cap_sat "
                f"of {self._caps.daily_cap_sat}: it waits, or raise the cap and restart the signer"
            )


def _hash(inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int) -> str:
    spent = [[one.outpoint.txid, one.outpoint.vout, one.value_sat, one.key_index] for one in inputs]
    text = json.dumps([spent, destination_script.hex(), fee_sat, locktime], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
