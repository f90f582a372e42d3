"""A guarded signer over well-known words, with a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_watcher.signing.caps import Caps
from node_watcher.signing.guarded import GuardedSigner
from node_watcher.signing.journal import Journal
from node_watcher.signing.seed import Seed
from node_watcher.signing.signer import Signer, SweepInput
from node_watcher.signing.signers import open_signer
from payments.address import address_of
from payments.descriptor import RangedDescriptor
from payments.keys import seed_of
from payments.model import OutPoint

WORDS = "zoo " * 11 + "wrong"
SEED = Seed(seed_of(WORDS))
ACCOUNT = RangedDescriptor.parse(SEED.account_descriptor("regtest"), "regtest")
DESTINATION = b"\x51\x20" + bytes(31) + b"\x01"
CAPS = Caps(address_of(DESTINATION, "regtest"), DESTINATION, Decimal(10), 5_000, 1_000_000)
START = 1_800_000_000_000


def coin(number: int, value_sat: int = 100_000, key_index: int | None = None) -> SweepInput:
    index = number if key_index is None else key_index
    return SweepInput(OutPoint(f"{number:064x}", 0), value_sat, index, ACCOUNT.script_pubkey(index))


class Guard:
    """`Guard(path).sign(coin(1))`; `now` is its time, `close()` and a new one are a restart."""

    def __init__(self, path: Path, *, now: int = START, signer: Signer | None = None, **caps: Any) -> None:
        self.now, self._closed = now, False
        self.journal = Journal(path)
        ours = open_signer(lambda index: SEED.private_key("regtest", index))
        self.signer = GuardedSigner(signer or ours, ACCOUNT, replace(CAPS, **caps), self.journal, lambda: self.now)

    def sign(self, *coins: SweepInput, fee: int = 500, to: bytes = DESTINATION, locktime: int = 100) -> bytes:
        return self.signer.sign_sweep(coins, to, fee, locktime).raw

    def close(self) -> None:
        """Once, however often it is called."""
        if not self._closed:
            self._closed = True
            self.journal.close()
