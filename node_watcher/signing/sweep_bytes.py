"""A sweep's bytes, written and checked by hand: whoever gets a signed one holds it against these.

Neither signing library is used here, so that a mistake of theirs, or a signer that lies, is noticed before the
transaction is stored: every byte but the signatures is known beforehand, and each signature is verified (BIP143).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node_watcher.signing.signer import SEQUENCE_RBF, SignedTx, SigningFailed, SweepInput, sweep_value
from payments.keys import hash160, signature_fits
from payments.tx import MalformedTransaction, outpoint_key, read_size, sha256d

_SIGHASH_ALL: Final = 1
_VERSION: Final = (2).to_bytes(4, "little")
_SEQUENCE: Final = SEQUENCE_RBF.to_bytes(4, "little")


def unsigned_sweep(inputs: Sequence[SweepInput], destination_script: bytes, value_sat: int, locktime: int) -> bytes:
    """The transaction without witnesses, which is what its txid is made of."""
    spent = b"".join(outpoint_key(one.outpoint) + b"\x00" + _SEQUENCE for one in inputs)
    return (
        _VERSION
        + _size(len(inputs))
        + spent
        + b"\x01"
        + _output(value_sat, destination_script)
        + locktime.to_bytes(4, "little")
    )


def check_signed(
    raw: bytes, inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int
) -> SignedTx:
    """The signed sweep, when it is exactly what was asked for and every signature is good. Raises `SigningFailed`."""
    value = sweep_value(inputs, destination_script, fee_sat, locktime)
    body = unsigned_sweep(inputs, destination_script, value, locktime)
    begin = body[:4] + b"\x00\x01" + body[4:-4]
    if not raw.startswith(begin) or not raw.endswith(body[-4:]):
        raise SigningFailed(
            "what came back is not the sweep that was asked for: other inputs, another destination, or another fee"
        )
    digests = Sighashes(inputs, destination_script, value, locktime)
    try:
        position = len(begin)
        for place, given in enumerate(inputs):
            (signature, public_key), position = _two_items(raw, position)
            program = b"\x00\x14" + hash160(public_key)
            if given.script_pubkey not in (None, program):
                raise SigningFailed(
                    f"key {given.key_index} does not fit output {given.outpoint.txid}:{given.outpoint.vout}"
                    ": the signer's seed is not the one its address was made from"
                )
            if signature[-1:] != bytes([_SIGHASH_ALL]) or not signature_fits(
                public_key, signature[:-1], digests.of(place, program[2:])
            ):
                raise SigningFailed(f"the signature for {given.outpoint.txid}:{given.outpoint.vout} is not good")
    except MalformedTransaction as error:
        raise SigningFailed(f"what came back is no whole transaction: {error}") from error
    if position != len(raw) - 4:
        raise SigningFailed("what came back has more in it than a sweep")
    return SignedTx(raw, sha256d(body)[::-1].hex(), -(-(3 * len(body) + len(raw)) // 4), fee_sat)


class Sighashes:
    """What the key of each input signs (BIP143, SIGHASH_ALL). The hashes over all inputs are made once."""

    def __init__(self, inputs: Sequence[SweepInput], destination_script: bytes, value_sat: int, locktime: int) -> None:
        self._inputs = inputs
        prevouts = sha256d(b"".join(outpoint_key(one.outpoint) for one in inputs))
        self._before = _VERSION + prevouts + sha256d(_SEQUENCE * len(inputs))
        outputs = sha256d(_output(value_sat, destination_script))
        self._after = outputs + locktime.to_bytes(4, "little") + _SIGHASH_ALL.to_bytes(4, "little")

    def of(self, place: int, public_key_hash: bytes) -> bytes:
        """The 32 bytes for input `place`."""
        given = self._inputs[place]
        script_code = b"\x19\x76\xa9\x14" + public_key_hash + b"\x88\xac"
        spent = outpoint_key(given.outpoint) + script_code + given.value_sat.to_bytes(8, "little") + _SEQUENCE
        return sha256d(self._before + spent + self._after)


def _two_items(raw: bytes, position: int) -> tuple[tuple[bytes, bytes], int]:
    """A witness of signature and compressed key, and where it ends."""
    count, position = read_size(raw, position)
    items: list[bytes] = []
    for _ in range(min(count, 3)):
        length, position = read_size(raw, position)
        items.append(raw[position : position + length])
        position += length
    if count != 2 or len(items[1]) != 33 or position > len(raw):
        raise MalformedTransaction("a witness is not a signature and a key")
    return (items[0], items[1]), position


def _output(value_sat: int, script: bytes) -> bytes:
    return value_sat.to_bytes(8, "little") + _size(len(script)) + script


def _size(value: int) -> bytes:
    """Bitcoin's compact size; a standard sweep needs no longer form."""
    return bytes([value]) if value < 0xFD else b"\xfd" + value.to_bytes(2, "little")
