"""What unlocks each input: taken from a transaction or put together from a PSBT, and checked in one place.

embit has a finalizer too, and warns of it itself: it knows neither taproot nor more than 16 keys, and takes the
first signatures that come, right or wrong.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, NamedTuple

from node_watcher.signing.handed_back import PsbtRefused
from node_watcher.signing.input_signature import (
    SIGHASH_ALL,
    SIGHASH_DEFAULT,
    SweepSignatures,
    hash_type_of,
    is_of_program,
    multisig_of,
)
from payments.keys import hash160

_TAP_KEY_SIG: Final = b"\x13"  # embit 0.8 does not know it and keeps it among the unknown fields
_FOREIGN: Final = (
    "is not unlocked by the keys its coin was paid to: sign with the wallet that wallet.descriptor was exported from"
)
_INVALID: Final = (
    "has a signature that is not valid for this sweep: the transaction, the amounts or the key differ from what was"
    " handed out, so sign the PSBT that was handed out again"
)
_HASH_TYPE: Final = (
    "is not signed over the whole transaction: set the wallet to sighash ALL (in taproot DEFAULT), and sign again"
)


class Unlock(NamedTuple):
    """The script signature and the witness of one input."""

    script_sig: bytes
    witness: tuple[bytes, ...]


class InputUnsigned(PsbtRefused):
    """The input lacks something; the words continue "input 3 …"."""


class InputWrong(PsbtRefused):
    """The input has something that does not belong there; the words continue "input 3 …"."""


def unlock_of_tx(vin: Any) -> Unlock:
    """As an input of embit's transaction carries it."""
    return Unlock(vin.script_sig.data, tuple(vin.witness.items))


def unlock_of_psbt(scope: Any, place: int, script: bytes, signatures: SweepSignatures) -> Unlock:
    """Of one input of a PSBT: as its wallet finished it, or from the signatures in it.

    Raises `InputUnsigned` where something is missing, `InputWrong` where it signs something else.
    """
    if scope.sighash_type not in (None, SIGHASH_DEFAULT, SIGHASH_ALL):
        raise InputWrong(_HASH_TYPE)
    if scope.final_scriptsig is not None or scope.final_scriptwitness is not None:
        return Unlock(
            scope.final_scriptsig.data if scope.final_scriptsig is not None else b"",
            tuple(scope.final_scriptwitness.items) if scope.final_scriptwitness is not None else (),
        )
    if script[:1] == b"\x51":
        signature = scope.unknown.get(_TAP_KEY_SIG)
        if signature is None:
            raise InputUnsigned("lacks a signature")
        return Unlock(b"", (signature,))
    given = {key.sec(): bytes(signature) for key, signature in scope.partial_sigs.items()}
    if script[:1] == b"\x76":
        key, signature = _single(given, script[3:23])
        return Unlock(_push(signature) + _push(key), ())
    if script[:1] == b"\xa9":
        program = _program(scope, script, given)
        return Unlock(_push(program), _witness(scope, place, program, given, signatures))
    return Unlock(b"", _witness(scope, place, script, given, signatures))


def check_unlock(unlock: Unlock, place: int, script: bytes, signatures: SweepSignatures) -> None:
    """Raise `InputUnsigned` or `InputWrong` unless this spends the coin with signatures over the whole sweep."""
    script_sig, witness = unlock
    if not script_sig and not any(witness):
        raise InputUnsigned("lacks a signature")
    if script[:1] == b"\x76":
        key, signature = _pushed_pair(script_sig)
        if witness or hash160(key) != script[3:23]:
            raise InputWrong(_FOREIGN)
        _demand(signatures.legacy(place, key, signature), signature)
        return
    program = script
    if script[:1] == b"\xa9":
        program = script_sig[1:]
        if _push(program) != script_sig or len(program) not in (22, 34) or hash160(program) != script[2:22]:
            raise InputWrong(_FOREIGN)
    elif script_sig:
        raise InputWrong(_FOREIGN)
    if program[:1] == b"\x51":
        if len(witness) != 1:
            raise InputWrong(_FOREIGN)
        _demand(signatures.taproot(place, witness[0]), witness[0], taproot=True)
    elif not is_of_program(program, witness[-1] if witness else b""):
        raise InputWrong(_FOREIGN)
    elif len(program) == 22:
        if len(witness) != 2:
            raise InputWrong(_FOREIGN)
        _demand(signatures.witness_key(place, program, witness[1], witness[0]), witness[0])
    else:
        _check_multisig(witness, place, signatures)


def _demand(valid: bool, signature: bytes, taproot: bool = False) -> None:
    if valid:
        return
    if hash_type_of(signature, taproot) not in (SIGHASH_ALL, SIGHASH_DEFAULT):
        raise InputWrong(_HASH_TYPE)
    raise InputWrong(_INVALID)


def _check_multisig(witness: tuple[bytes, ...], place: int, signatures: SweepSignatures) -> None:
    multisig = multisig_of(witness[-1])
    if multisig is None or witness[0]:
        raise InputWrong(_FOREIGN)
    given = [signature for signature in witness[1:-1] if signature]
    if len(given) < multisig.threshold:
        raise InputUnsigned(_too_few(len(given), multisig.threshold))
    if len(witness) != multisig.threshold + 2:
        raise InputWrong(_FOREIGN)
    keys = iter(multisig.keys)  # OP_CHECKMULTISIG: each key is passed once, in order
    for signature in given:
        _demand(any(signatures.witness(place, witness[-1], key, signature) for key in keys), signature)


def _program(scope: Any, script: bytes, given: dict[bytes, bytes]) -> bytes:
    """What is behind a P2SH address. Wallets that strip their PSBTs leave enough to make it again."""
    candidates = [] if scope.redeem_script is None else [scope.redeem_script.data]
    if scope.witness_script is not None:
        candidates.append(b"\x00\x20" + sha256(scope.witness_script.data).digest())
    candidates += [b"\x00\x14" + hash160(key) for key in given]
    for candidate in candidates:
        if hash160(candidate) == script[2:22]:
            return bytes(candidate)
    raise InputWrong(_FOREIGN) if given else InputUnsigned("lacks a signature")


def _witness(
    scope: Any, place: int, program: bytes, given: dict[bytes, bytes], signatures: SweepSignatures
) -> tuple[bytes, ...]:
    if len(program) == 22:
        key, signature = _single(given, program[2:])
        return signature, key
    if not given:
        raise InputUnsigned("lacks a signature")
    script = b"" if scope.witness_script is None else bytes(scope.witness_script.data)
    multisig = multisig_of(script)
    if not is_of_program(program, script) or multisig is None:
        raise InputUnsigned("lacks its witness script, which was removed: sign the PSBT that was handed out again")
    ours = [(key, given[key]) for key in multisig.keys if key in given]
    valid = [signature for key, signature in ours if signatures.witness(place, script, key, signature)]
    if len(valid) >= multisig.threshold:
        return b"", *valid[: multisig.threshold], script
    for key, signature in ours:
        _demand(signatures.witness(place, script, key, signature), signature)
    if not ours:
        raise InputWrong(_FOREIGN)
    raise InputUnsigned(_too_few(len(valid), multisig.threshold))


def _too_few(given: int, needed: int) -> str:
    return (
        f"has {given} of the {needed} signatures it needs: let the other keys sign too, and put the PSBTs together"
        " (bitcoin-cli combinepsbt)"
    )


def _single(given: dict[bytes, bytes], key_hash: bytes) -> tuple[bytes, bytes]:
    """The key of that hash and its signature."""
    if not given:
        raise InputUnsigned("lacks a signature")
    for key, signature in given.items():
        if hash160(key) == key_hash:
            return key, signature
    raise InputWrong(_FOREIGN)


def _push(data: bytes) -> bytes:
    """A push of up to 75 bytes as script; longer ones do not occur in sweeps."""
    return bytes((min(len(data), 255),)) + data


def _pushed_pair(script_sig: bytes) -> tuple[bytes, bytes]:
    """Key and signature out of a P2PKH script signature."""
    length = script_sig[0] if script_sig else 0
    signature, rest = script_sig[1 : 1 + length], script_sig[1 + length :]
    if not 1 <= length <= 75 or rest[:1] != b"\x21" or len(rest) != 34:
        raise InputWrong(_FOREIGN)
    return rest[1:], signature
