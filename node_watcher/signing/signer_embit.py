"""The signer on top of `embit`, for a Python on which `bit` cannot be imported. Offline only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from embit.ec import PrivateKey
from embit.script import Script, Witness, p2pkh_from_p2wpkh
from embit.transaction import SIGHASH, Transaction, TransactionInput, TransactionOutput

from node_watcher.signing.signer import (
    SEQUENCE_RBF,
    SignedTx,
    SigningFailed,
    SweepInput,
    sweep_value,
)
from node_watcher.signing.sweep_bytes import check_signed
from payments.keys import hash160
from payments.model import OutPoint

__all__ = ["EmbitSigner", "sign_native"]


class EmbitSigner:
    """Signs sweeps with keys that `key_at(index)` gives (32 bytes each)."""

    __slots__ = ("_key_at",)

    def __init__(self, key_at: Callable[[int], bytes]) -> None:
        self._key_at = key_at

    def __repr__(self) -> str:
        return "EmbitSigner()"

    def sign_sweep(
        self,
        inputs: Sequence[SweepInput],
        destination_script: bytes,
        fee_sat: int,
        locktime: int,
    ) -> SignedTx:
        """See `node_watcher.signing.signer.Signer`."""
        value = sweep_value(inputs, destination_script, fee_sat, locktime)
        tx = Transaction(
            2,
            [
                TransactionInput(bytes.fromhex(one.outpoint.txid), one.outpoint.vout, sequence=SEQUENCE_RBF)
                for one in inputs
            ],
            [TransactionOutput(value, Script(destination_script))],
            locktime,
        )
        sign_native(tx, ((self._key_at(one.key_index), one) for one in inputs))
        # Signing a large sum away as fee is the one mistake that cannot be undone: all is counted again.
        return check_signed(tx.serialize(), inputs, destination_script, fee_sat, locktime)


def sign_native(tx: Transaction, keyed_inputs: Iterable[tuple[bytes, SweepInput]]) -> None:
    """Put the P2WPKH witness of each given input into the transaction, by its 32-byte key.

    Raises `SigningFailed` if a key does not fit, or an input is not in the transaction.
    """
    place_of = {OutPoint(entry.txid.hex(), entry.vout): place for place, entry in enumerate(tx.vin)}
    for secret, given in keyed_inputs:
        key = PrivateKey(secret)
        public_key = key.sec()
        program = b"\x00\x14" + hash160(public_key)
        if given.script_pubkey is not None and given.script_pubkey != program:
            raise SigningFailed(
                f"key {given.key_index} does not fit output {given.outpoint.txid}:{given.outpoint.vout}"
                ": the seed file is not the one its address was made from"
            )
        place = place_of.get(given.outpoint)
        if place is None:
            raise SigningFailed(f"output {given.outpoint.txid}:{given.outpoint.vout} was left without a signature")
        digest = tx.sighash_segwit(place, p2pkh_from_p2wpkh(Script(program)), given.value_sat)
        # Without grinding for a short signature, as bit does it: then both sign the same bytes (RFC 6979, low S).
        signature = key.sign(digest, grind=False).serialize() + bytes([SIGHASH.ALL])
        tx.vin[place].witness = Witness([signature, public_key])
