"""What a coin of the owner's wallet is spent with: its scripts, and where its keys come from (BIP32, BIP380).

`payments.descriptor` makes addresses and nothing else. Here embit reads the same descriptor a second
time, and both must arrive at the same address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from embit.descriptor import Descriptor

from node_watcher.signing.signer import SweepInput, SweepRefused
from payments.descriptor import RangedDescriptor


class KeyOrigin(NamedTuple):
    """One key of a coin, and how the owner's device finds its private half."""

    public_key: bytes
    """Compressed, 33 bytes."""
    fingerprint: bytes
    """Four bytes of the master key; of the extended key itself where the descriptor names no origin."""
    path: tuple[int, ...]
    """From there to this key, hardened steps with 2^31 added."""


@dataclass(frozen=True, slots=True)
class CoinScripts:
    """All that a signing device has to be told about one address."""

    script_pubkey: bytes
    redeem_script: bytes | None
    witness_script: bytes | None
    keys: tuple[KeyOrigin, ...]


class WalletScripts:
    """The scripts of a ranged descriptor, by the number of the address."""

    __slots__ = ("_descriptor", "_made", "_parsed")

    def __init__(self, descriptor: RangedDescriptor) -> None:
        self._descriptor: Final = descriptor
        self._parsed: Final[Any] = Descriptor.from_string(descriptor.text)
        self._made: Final[dict[int, CoinScripts]] = {}

    @property
    def kind(self) -> str:
        """As `RangedDescriptor.kind` says it."""
        return self._descriptor.kind

    @property
    def threshold(self) -> int:
        """How many signatures a coin needs."""
        multi = self._parsed.miniscript
        return 1 if multi is None else int(multi.args[0].num)

    def at(self, index: int) -> CoinScripts:
        """The scripts of address `index`. Raises `DescriptorError` where there is no such address."""
        if index not in self._made:
            self._made[index] = self._derived(index)
        return self._made[index]

    def of(self, coin: SweepInput) -> CoinScripts:
        """The scripts of a coin. Raises `SweepRefused` if its address is not the one of that number."""
        scripts = self.at(coin.key_index)
        if coin.script_pubkey is not None and coin.script_pubkey != scripts.script_pubkey:
            raise SweepRefused(
                f"output {coin.outpoint.txid}:{coin.outpoint.vout} was not paid to address {coin.key_index}"
                " of wallet.descriptor: it is the descriptor of another wallet than the one the address was made from"
            )
        return scripts

    def _derived(self, index: int) -> CoinScripts:
        expected = self._descriptor.script_pubkey(index)
        derived = self._parsed.derive(index)
        if derived.script_pubkey().data != expected:
            raise SweepRefused(
                f"two ways of deriving address {index} of wallet.descriptor disagree, so nothing is spent:"
                " report this with the descriptor's public text"
            )
        redeem, witness = derived.redeem_script(), derived.witness_script()
        return CoinScripts(
            script_pubkey=expected,
            redeem_script=None if redeem is None else redeem.data,
            witness_script=None if witness is None else witness.data,
            keys=tuple(
                KeyOrigin(key.sec(), key.origin.fingerprint, tuple(key.origin.derivation)) for key in derived.keys
            ),
        )
