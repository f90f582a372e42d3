"""The seed of forwarding mode: BIP39 words on disk, BIP84 keys in memory."""

from __future__ import annotations

import secrets
import unicodedata
from pathlib import Path
from typing import Final, Literal, NoReturn

from node_watcher.signing.seed_file import (
    SCRYPT_N,
    SeedError,
    SeedFileBroken,
    SeedFileExists,
    SeedFileExposed,
    WeakPassphrase,
    WrongPassphrase,
    read_sealed,
    write_sealed,
)
from payments.keys import (
    HARDENED,
    KeyFormatError,
    PrivateNode,
    check_mnemonic,
    mnemonic_of,
    seed_of,
)
from payments.network import network_of

__all__ = [
    "BadMnemonic",
    "MnemonicMismatch",
    "Seed",
    "SeedError",
    "SeedFileBroken",
    "SeedFileExists",
    "SeedFileExposed",
    "WeakPassphrase",
    "WrongPassphrase",
    "create",
    "import_mnemonic",
    "open_seed",
    "verify",
]

_ENTROPY_BYTES: Final = {12: 16, 24: 32}


class BadMnemonic(SeedError):
    """The words are not a BIP39 mnemonic."""


class MnemonicMismatch(SeedError):
    """The words written down are not those in the file."""


class Seed:
    """The keys of forwarding mode. Neither `repr` nor `pickle` gives anything secret away."""

    __slots__ = ("_master", "_receive")

    def __init__(self, seed: bytes) -> None:
        """`seed` is the BIP39 seed, 64 bytes."""
        self._master = PrivateNode.from_seed(seed)
        self._receive: dict[int, PrivateNode] = {}

    def __repr__(self) -> str:
        return f"Seed({self.fingerprint})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Seed is not copied or stored: open its file instead")

    @property
    def fingerprint(self) -> str:
        """Master key fingerprint, 8 hex digits, as in the descriptor's key origin. Not secret."""
        return self._master.fingerprint().hex()

    def account_descriptor(self, network: str) -> str:
        """`wpkh([fingerprint/84h/<coin>h/0h]xpub…/0/*)`: the first BIP84 account, public part only."""
        chosen = network_of(network)
        account = self._account(chosen.coin_type)
        origin = f"{self.fingerprint}/84h/{chosen.coin_type}h/0h"
        return f"wpkh([{origin}]{account.public_text(chosen.xpub_version)}/0/*)"

    def private_key(self, network: str, index: int) -> bytes:
        """The 32-byte key of receive address `index` (m/84h/<coin>h/0h/0/index)."""
        if not 0 <= index < HARDENED:
            raise ValueError(f"address number {index} does not exist (0 to {HARDENED - 1})")
        coin = network_of(network).coin_type
        if coin not in self._receive:
            self._receive[coin] = self._account(coin).derive(0)
        return self._receive[coin].derive(index).secret()

    def _account(self, coin_type: int) -> PrivateNode:
        return self._master.derive(HARDENED + 84, HARDENED + coin_type, HARDENED)


def create(path: Path, passphrase: str, words: Literal[12, 24] = 12, *, scrypt_n: int = SCRYPT_N) -> str:
    """Make a new seed file and return its mnemonic, which the owner writes down.

    Raises `SeedFileExists`, `WeakPassphrase` or `SeedError`.
    """
    if words not in _ENTROPY_BYTES:
        raise BadMnemonic(f"a new mnemonic has 12 or 24 words, not {words}")
    mnemonic = mnemonic_of(secrets.token_bytes(_ENTROPY_BYTES[words]))
    write_sealed(path, mnemonic, passphrase, scrypt_n)
    return mnemonic


def import_mnemonic(path: Path, mnemonic: str, passphrase: str, *, scrypt_n: int = SCRYPT_N) -> None:
    """Make a seed file of words that exist already. Raises `BadMnemonic` and as `create` does."""
    write_sealed(path, _checked(mnemonic), passphrase, scrypt_n)


def open_seed(path: Path, passphrase: str) -> Seed:
    """The seed in the file. Raises `WrongPassphrase`, `SeedFileExposed` or `SeedFileBroken`."""
    return Seed(seed_of(read_sealed(path, passphrase)))


def verify(path: Path, passphrase: str, mnemonic: str | None = None) -> Seed:
    """Open the file and, where words are given, check that the owner's paper says the same.

    Raises `MnemonicMismatch`, `BadMnemonic`, and as `open_seed` does.
    """
    stored = read_sealed(path, passphrase)
    if mnemonic is not None and not secrets.compare_digest(stored.encode(), _checked(mnemonic).encode()):
        raise MnemonicMismatch(
            f"the words are a sound mnemonic, but not the one in {path}: look for the right paper,"
            " because these words cannot restore this till"
        )
    return Seed(seed_of(stored))


def _checked(mnemonic: str) -> str:
    """The words in lower case with single spaces. Raises `BadMnemonic`."""
    words = " ".join(unicodedata.normalize("NFKD", mnemonic).lower().split())
    try:
        check_mnemonic(words)
    except KeyFormatError as error:
        raise BadMnemonic(str(error)) from error
    return words
