"""Whether an input of a sweep is signed, and by the keys its coin was paid to.

Only what the wallets of `payments.descriptor` can have is known: one key (`pkh`, `wpkh`, `sh(wpkh)`, `tr` by
its key path) and m-of-n multisig (`wsh`, `sh(wsh)`). Only signatures over the whole transaction count
(SIGHASH_ALL, in taproot DEFAULT too), in the form that nodes relay: strict DER and low S (BIP66, BIP146).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from embit.ec import PublicKey, SchnorrSig, Signature
from embit.script import Script, p2pkh_from_p2wpkh

from node_watcher.signing.handed_back import EMBIT_TROUBLES
from node_watcher.signing.signer import SweepInput
from payments.keys import hash160

SIGHASH_DEFAULT: Final = 0
SIGHASH_ALL: Final = 1


class Multisig(NamedTuple):
    """An m-of-n witness script, taken apart."""

    threshold: int
    keys: tuple[bytes, ...]


class SweepSignatures:
    """What the signatures of one sweep must sign, and whether they do."""

    __slots__ = ("_scripts", "_tx", "_values")

    def __init__(self, tx: Any, coins: Sequence[SweepInput]) -> None:
        """`tx` is embit's, without signatures; each coin knows its script."""
        self._tx: Final = tx
        self._values: Final = [coin.value_sat for coin in coins]
        self._scripts: Final = [Script(coin.script_pubkey) for coin in coins]

    def legacy(self, place: int, public_key: bytes, signature: bytes) -> bool:
        """Whether this is a signature of input `place` in a `pkh` coin."""
        return _ecdsa(public_key, signature, self._tx.sighash_legacy(place, self._scripts[place], SIGHASH_ALL))

    def witness_key(self, place: int, program: bytes, public_key: bytes, signature: bytes) -> bool:
        """The same of a coin whose program is the hash of one key (BIP143)."""
        return self.witness(place, p2pkh_from_p2wpkh(Script(program)).data, public_key, signature)

    def witness(self, place: int, script_code: bytes, public_key: bytes, signature: bytes) -> bool:
        """The same of a coin of segwit version 0 with this script (BIP143)."""
        digest = self._tx.sighash_segwit(place, Script(script_code), self._values[place], SIGHASH_ALL)
        return _ecdsa(public_key, signature, digest)

    def taproot(self, place: int, signature: bytes) -> bool:
        """The same of a taproot coin, by its output key (BIP341)."""
        hash_type = SIGHASH_DEFAULT if len(signature) == 64 else SIGHASH_ALL
        if len(signature) != 64 and (len(signature) != 65 or signature[64] != SIGHASH_ALL):
            return False
        digest = self._tx.sighash_taproot(place, self._scripts, self._values, hash_type)
        try:
            key = PublicKey.from_xonly(self._scripts[place].data[2:])
            return bool(key.schnorr_verify(SchnorrSig(signature[:64]), digest))
        except EMBIT_TROUBLES:
            return False


def multisig_of(script: bytes) -> Multisig | None:
    """The m-of-n script of `multi` and `sortedmulti`, or None where it is another one."""
    threshold, rest = _number(script)
    keys = []
    while rest[:1] == b"\x21" and len(rest) >= 34:
        keys.append(rest[1:34])
        rest = rest[34:]
    count, rest = _number(rest)
    if rest != b"\xae" or count != len(keys) or not 1 <= threshold <= count:
        return None
    return Multisig(threshold, tuple(keys))


def is_of_program(program: bytes, key_or_script: bytes) -> bool:
    """Whether a program of segwit version 0 stands for this key (20 bytes) or this script (32 bytes)."""
    digest = hash160(key_or_script) if len(program) == 22 else hashlib.sha256(key_or_script).digest()
    return program == bytes((0, len(digest))) + digest


def hash_type_of(signature: bytes, taproot: bool) -> int:
    """The last byte of a signature, which says what it covers (BIP341 lets taproot leave it out)."""
    if taproot and len(signature) == 64:
        return SIGHASH_DEFAULT
    return signature[-1] if signature else SIGHASH_DEFAULT


def _number(script: bytes) -> tuple[int, bytes]:
    """The small number in front of a script, 0 where there is none, and the rest."""
    if script and 0x51 <= script[0] <= 0x60:
        return script[0] - 0x50, script[1:]
    if len(script) >= 2 and script[0] == 1 and script[1] > 16:
        return script[1], script[2:]
    return 0, script


def _ecdsa(public_key: bytes, signature: bytes, digest: bytes) -> bool:
    if len(public_key) != 33 or signature[-1:] != bytes((SIGHASH_ALL,)):
        return False
    try:
        # libsecp256k1 reads strict DER only, and refuses a high S.
        return bool(PublicKey.parse(public_key).verify(Signature.parse(signature[:-1]), digest))
    except EMBIT_TROUBLES:
        return False
