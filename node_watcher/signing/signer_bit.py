"""The signer on top of `bit`: the one module that touches that package. Offline only.

Only bit's lower layer is used (TxIn, TxOut, TxObj, sign_tx). Its upper layer asks strangers on
the web when a fee or an unspent is missing, and logs through the root logger. The lower layer knows
P2WPKH nested in P2SH but not native; the signed hash is the same (BIP143 leaves the script
signature out), so we let it sign nested and then empty the script signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from bit import PrivateKey
from bit.network.meta import Unspent
from bit.transaction import TxIn, TxObj, TxOut, sign_tx

from node_watcher.signing.signer import (
    SEQUENCE_RBF,
    SignedTx,
    SigningFailed,
    SweepInput,
    SweepRefused,
    sweep_value,
)
from payments.keys import hash160
from payments.model import OutPoint

__all__ = ["BitSigner", "sign_native"]


class BitSigner:
    """Signs sweeps with keys that `key_at(index)` gives (32 bytes each)."""

    __slots__ = ("_key_at",)

    def __init__(self, key_at: Callable[[int], bytes]) -> None:
        self._key_at = key_at

    def __repr__(self) -> str:
        return "BitSigner()"

    def sign_sweep(
        self,
        inputs: Sequence[SweepInput],
        destination_script: bytes,
        fee_sat: int,
        locktime: int,
    ) -> SignedTx:
        """See `node_watcher.signing.signer.Signer`."""
        value = sweep_value(inputs, destination_script, fee_sat, locktime)
        tx = TxObj(
            _le(2, 4),
            [_unsigned(given) for given in inputs],
            [TxOut(_le(value, 8), destination_script)],
            _le(locktime, 4),
        )
        sign_native(tx, ((self._key_at(given.key_index), given) for given in inputs))
        raw, stripped = bytes(tx), tx.legacy_repr()
        signed = SignedTx(
            raw=raw,
            txid=hashlib.sha256(hashlib.sha256(stripped).digest()).digest()[::-1].hex(),
            vsize=-(-(3 * len(stripped) + len(raw)) // 4),
            fee_sat=fee_sat,
        )
        # Signing a large sum away as fee is the one mistake that cannot be undone: count again.
        arriving = sum(int.from_bytes(output.amount, "little") for output in tx.TxOut)
        if sum(given.value_sat for given in inputs) - arriving != fee_sat:
            raise SweepRefused("the signed transaction does not pay exactly the fee that was asked")
        return signed


def sign_native(tx: TxObj, keyed_inputs: Iterable[tuple[bytes, SweepInput]]) -> None:
    """Put the P2WPKH witness of each given input into the transaction, by its 32-byte key.

    Raises `SigningFailed` if a key does not fit or an input stays unsigned: bit says nothing then.
    """
    place_of = {OutPoint(entry.txid[::-1].hex(), int.from_bytes(entry.txindex, "little")): entry for entry in tx.TxIn}
    for secret, given in keyed_inputs:
        key = PrivateKey.from_bytes(secret)
        program = b"\x00\x14" + hash160(key.public_key)
        if given.script_pubkey is not None and given.script_pubkey != program:
            raise SigningFailed(
                f"key {given.key_index} does not fit output {given.outpoint.txid}:{given.outpoint.vout}"
                ": the seed file is not the one its address was made from"
            )
        nested = b"\xa9\x14" + hash160(program) + b"\x87"
        unspent = Unspent(given.value_sat, 0, nested.hex(), given.outpoint.txid, given.outpoint.vout, "p2wkh")
        sign_tx(key, tx, unspents=[unspent])
        entry = place_of.get(given.outpoint)
        if entry is None or not _is_signed(entry.witness, key.public_key):
            raise SigningFailed(f"output {given.outpoint.txid}:{given.outpoint.vout} was left without a signature")
        entry.script_sig, entry.script_sig_len = b"", b"\x00"


def _unsigned(given: SweepInput) -> TxIn:
    return TxIn(
        b"",
        bytes.fromhex(given.outpoint.txid)[::-1],
        _le(given.outpoint.vout, 4),
        amount=_le(given.value_sat, 8),
        sequence=_le(SEQUENCE_RBF, 4),
        segwit_input=True,
    )


def _is_signed(witness: bytes, public_key: bytes) -> bool:
    """Two items: a DER signature over everything (SIGHASH_ALL), and our compressed key."""
    if len(witness) < 3 or witness[0] != 2:
        return False
    signature, rest = witness[2 : 2 + witness[1]], witness[2 + witness[1] :]
    return 8 < len(signature) <= 72 and signature[0] == 0x30 and signature[-1] == 1 and rest == b"\x21" + public_key


def _le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")
