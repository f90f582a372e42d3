"""Keys and the curve: the one module that touches embit, which has no types of its own.

Public derivation follows BIP32, taproot output keys BIP341, mnemonics BIP39. embit's own
`HDKey.child` computes a fingerprint that nobody asks for; `PublicNode.child` leaves that out,
which makes an address in a third of the time.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NamedTuple

from embit import base58, bip32, bip39, hashes
from embit.util import secp256k1
from embit.wordlists.bip39 import WORDLIST

HARDENED: Final = 0x80000000
_TAP_TWEAK_TAG: Final = hashlib.sha256(b"TapTweak").digest() * 2


class KeyFormatError(ValueError):
    """The text or the bytes are not a key of the expected kind. Never repeats the key."""


class SlowBackend(RuntimeError):
    """embit found no libsecp256k1 for this machine and fell back to pure Python."""


def assert_fast_backend() -> None:
    """Raise `SlowBackend` unless the curve runs in libsecp256k1.

    embit falls back silently to Python, which is some hundred times slower and not constant in time.
    """
    module = str(secp256k1.ec_pubkey_create.__module__)
    if not module.endswith("ctypes_secp256k1"):
        raise SlowBackend(
            "embit has no libsecp256k1 for this machine and would compute keys in slow Python:"
            " install it (Debian: apt-get install libsecp256k1-1, or libsecp256k1-2) and start again"
        )


class PublicNode:
    """A public extended key that can make its unhardened children (BIP32, CKDpub)."""

    __slots__ = ("_chain_code", "_point", "sec")

    def __init__(self, point: bytes, chain_code: bytes) -> None:
        self._point = point
        self._chain_code = chain_code
        self.sec: Final[bytes] = secp256k1.ec_pubkey_serialize(point)
        """The compressed public key, 33 bytes."""

    def _derive(self, index: int) -> tuple[bytes, bytes]:
        if not 0 <= index < HARDENED:
            raise KeyFormatError(f"{index} is not an unhardened index (0 to {HARDENED - 1})")
        digest = hmac.digest(self._chain_code, self.sec + index.to_bytes(4, "big"), "sha512")
        return secp256k1.ec_pubkey_add(self._point, digest[:32]), digest[32:]

    def child(self, index: int) -> PublicNode:
        """The child at an unhardened index, as a node of its own."""
        return PublicNode(*self._derive(index))

    def child_sec(self, index: int) -> bytes:
        """The compressed public key (33 bytes) of a child: the fast way to a leaf."""
        point: bytes = self._derive(index)[0]
        sec: bytes = secp256k1.ec_pubkey_serialize(point)
        return sec


class ExtendedKey(NamedTuple):
    """A parsed public extended key: its four version bytes and its node."""

    version: bytes
    node: PublicNode


def parse_extended_public_key(text: str) -> ExtendedKey:
    """Read xpub, tpub or a SLIP-132 cousin. Raises `KeyFormatError`, also for private keys."""
    payload = base58check_decode(text)
    # 4 version, 1 depth, 4 parent fingerprint, 4 child number, 32 chain code, 33 key (BIP32).
    if len(payload) != 78:
        raise KeyFormatError("the extended key is too short or too long")
    if payload[45] == 0:
        raise KeyFormatError("the extended key is private where a public one is expected")
    if payload[4] == 0 and any(payload[5:13]):
        raise KeyFormatError("the extended key calls itself a master key and yet names a parent")
    try:
        point: bytes = secp256k1.ec_pubkey_parse(payload[45:])
    except ValueError as error:
        raise KeyFormatError("the extended key holds no point of the curve") from error
    return ExtendedKey(payload[:4], PublicNode(point, payload[13:45]))


def with_version(extended_key: str, version: bytes) -> str:
    """The same extended key under other version bytes, e.g. zpub as xpub (SLIP-132)."""
    return base58check_encode(version + base58check_decode(extended_key)[4:])


def taproot_output_key(sec: bytes) -> bytes:
    """The 32-byte output key of an internal key without scripts (BIP341, BIP86)."""
    xonly = sec[1:]
    tweak = hashlib.sha256(_TAP_TWEAK_TAG + xonly).digest()
    even = secp256k1.ec_pubkey_parse(b"\x02" + xonly)
    tweaked: bytes = secp256k1.ec_pubkey_serialize(secp256k1.ec_pubkey_add(even, tweak))
    return tweaked[1:]


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256, 20 bytes."""
    digest: bytes = hashes.hash160(data)
    return digest


def base58check_encode(payload: bytes) -> str:
    """Base58 text with its four-byte checksum."""
    text: str = base58.encode_check(payload)
    return text


def base58check_decode(text: str) -> bytes:
    """The payload without its checksum. Raises `KeyFormatError`."""
    # An extended key has 111 characters; decoding is quadratic, so nothing much longer is tried.
    if len(text) > 130:
        raise KeyFormatError("the text is too long for base58")
    try:
        payload: bytes = base58.decode_check(text)
    except ValueError as error:
        raise KeyFormatError("a character is missing or mistyped (its checksum is wrong)") from error
    return payload


class PrivateNode:
    """A private extended key of the forwarding seed. Its repr shows nothing secret."""

    __slots__ = ("_key",)

    def __init__(self, key: bip32.HDKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "PrivateNode(…)"

    @classmethod
    def from_seed(cls, seed: bytes) -> PrivateNode:
        """The master key of a BIP39 seed (64 bytes)."""
        return cls(bip32.HDKey.from_seed(seed))

    def derive(self, *steps: int) -> PrivateNode:
        """Walk down a path of indexes, hardened ones with `HARDENED` added."""
        return PrivateNode(self._key.derive(list(steps)))

    def fingerprint(self) -> bytes:
        """First four bytes of the public key's hash160, as in a descriptor's key origin."""
        return bytes(self._key.my_fingerprint)

    def secret(self) -> bytes:
        """The private key, 32 bytes. Keep it no longer than needed."""
        return bytes(self._key.secret)

    def public_text(self, version: bytes) -> str:
        """The public extended key under these version bytes."""
        text: str = self._key.to_public(version=version).to_string()
        return text


def mnemonic_of(entropy: bytes) -> str:
    """The English BIP39 words of 16 bytes (12 words) or 32 bytes (24 words) of entropy."""
    words: str = bip39.mnemonic_from_bytes(entropy)
    return words


def check_mnemonic(mnemonic: str) -> None:
    """Raise `KeyFormatError` unless these are BIP39 words with a right checksum.

    The message counts the wrong word and does not repeat it: it may be part of a secret.
    """
    words = mnemonic.split(" ")
    if len(words) not in (12, 15, 18, 21, 24):
        raise KeyFormatError(f"a mnemonic has 12, 15, 18, 21 or 24 words, this one {len(words)}")
    for place, word in enumerate(words, start=1):
        if word not in WORDLIST:
            raise KeyFormatError(f"word {place} of the mnemonic is not in the English BIP39 list")
    if not bip39.mnemonic_is_valid(mnemonic):
        raise KeyFormatError("the checksum of the mnemonic is wrong: two words are swapped or one is mistyped")


def seed_of(mnemonic: str, passphrase: str = "") -> bytes:
    """The 64-byte BIP39 seed. `passphrase` is BIP39's own (the '25th word')."""
    seed: bytes = bip39.mnemonic_to_seed(mnemonic, passphrase)
    return seed


def signature_fits(sec: bytes, der: bytes, digest: bytes) -> bool:
    """Whether a DER signature with low S is that of this compressed public key over the 32 bytes."""
    try:
        return bool(
            secp256k1.ecdsa_verify(secp256k1.ecdsa_signature_parse_der(der), digest, secp256k1.ec_pubkey_parse(sec))
        )
    except ValueError:
        return False
