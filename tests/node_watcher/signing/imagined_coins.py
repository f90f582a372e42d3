"""Coins of a wallet that no chain has: for tests that need signatures and no node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embit.psbt import PSBT
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from node_watcher.signing.psbt import build_psbt
from node_watcher.signing.signed_psbt import take_signed
from node_watcher.signing.signer import SignedTx, SweepInput
from payments.model import OutPoint
from tests.node_watcher.signing.offline_wallet import DESTINATIONS, OfflineWallet


@dataclass(frozen=True)
class ImaginedSweep:
    """A sweep of a wallet's coins, as it was handed out."""

    wallet: OfflineWallet
    coins: list[SweepInput]
    previous: dict[str, bytes]
    script: bytes = DESTINATIONS["p2wpkh"]
    fee_sat: int = 1_000
    locktime: int = 800

    @property
    def psbt(self) -> str:
        return build_psbt(
            self.coins, self.wallet.public, self.script, self.fee_sat, self.locktime, previous=self.previous
        )

    @property
    def parsed(self) -> Any:
        """embit's PSBT, to be changed and signed."""
        return PSBT.from_string(self.psbt)

    @property
    def signed(self) -> Any:
        """embit's PSBT with all signatures that are needed."""
        return PSBT.from_string(self.wallet.signed_by_embit(self.psbt))

    def take(self, given: str | bytes) -> SignedTx:
        return take_signed(given, self.coins, self.script, self.fee_sat, self.locktime)


def imagined_sweep(wallet: OfflineWallet, count: int = 3, **options: Any) -> ImaginedSweep:
    """Coins of 50 000 satoshi and some, all paid by one transaction."""
    scripts = [wallet.public.script_pubkey(number) for number in range(count)]
    paying = Transaction(
        2,
        [TransactionInput(bytes(31) + b"\x01", 0)],
        [TransactionOutput(50_000 + number, Script(script)) for number, script in enumerate(scripts)],
    )
    txid = paying.txid().hex()
    coins = [SweepInput(OutPoint(txid, n), 50_000 + n, n, script) for n, script in enumerate(scripts)]
    return ImaginedSweep(wallet, coins, {txid: paying.serialize()}, **options)
