"""The encrypted file of forwarding mode: a mnemonic behind a passphrase, readable by its owner only.

JSON with everything needed to open it but the passphrase: scrypt (RFC 7914) makes the key,
AES-256-GCM seals the mnemonic together with the parameters, so that neither can be altered unseen.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import unicodedata
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

FORMAT: Final = "nodetill-seed"
VERSION: Final = 1
SCRYPT_N: Final = 2**17
"""128 MiB and some tenths of a second a guess; stored in each file, so it can grow later."""

MIN_PASSPHRASE: Final = 8
_SCRYPT_R: Final = 8
_MAX_SCRYPT_N: Final = 2**20  # 1 GiB: above this somebody altered the file to exhaust our memory
_MAX_FILE_BYTES: Final = 65_536


class SeedError(Exception):
    """Something is wrong with the seed file; the message says how to mend it."""


class SeedFileExists(SeedError):
    """There is a file already, and a seed is never overwritten."""


class SeedFileExposed(SeedError):
    """Other users of the machine may read the file."""


class SeedFileBroken(SeedError):
    """The file is missing, cut short, or no seed file at all."""


class WeakPassphrase(SeedError):
    """The passphrase is too short to protect coins."""


class WrongPassphrase(SeedError):
    """The passphrase does not open the file."""


def write_sealed(path: Path, mnemonic: str, passphrase: str, scrypt_n: int = SCRYPT_N) -> None:
    """Seal a mnemonic into a new file of mode 0600, durably and all or nothing.

    Raises `SeedFileExists`, `WeakPassphrase`, or `SeedError` where the folder cannot be written.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise WeakPassphrase(
            f"the passphrase has {len(passphrase)} characters: take at least {MIN_PASSPHRASE},"
            " better several words, because it protects coins"
        )
    refuse_existing(path)
    _private_place(path)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "kdf": {"name": "scrypt", "n": scrypt_n, "r": _SCRYPT_R, "p": 1},
    }
    salt, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
    key = _stretched(passphrase, salt, scrypt_n, _SCRYPT_R, 1)
    sealed = AESGCM(key).encrypt(nonce, mnemonic.encode(), _sealed_along(header))
    body = {
        **header,
        "salt": salt.hex(),
        "cipher": {"name": "AES-256-GCM", "nonce": nonce.hex(), "ciphertext": sealed.hex()},
    }
    _write_new(path, (json.dumps(body, indent=2) + "\n").encode())


def read_sealed(path: Path, passphrase: str) -> str:
    """The mnemonic in the file. Raises `WrongPassphrase` or another `SeedError`."""
    body = _read_json(path)
    try:
        if body["format"] != FORMAT:
            raise SeedFileBroken(f"{path} is not a seed file of nodetill")
        if body["version"] != VERSION:
            raise SeedFileBroken(
                f"{path} is a seed file of version {body['version']}, and this nodetill reads"
                f" version {VERSION}: update nodetill"
            )
        header = {name: body[name] for name in ("format", "version", "kdf")}
        n, r, p = (int(body["kdf"][name]) for name in ("n", "r", "p"))
        salt = bytes.fromhex(body["salt"])
        nonce = bytes.fromhex(body["cipher"]["nonce"])
        sealed = bytes.fromhex(body["cipher"]["ciphertext"])
    except (KeyError, TypeError, ValueError) as error:
        raise SeedFileBroken(f"{path} is damaged: restore it from your backup") from error
    if not 2 <= n <= _MAX_SCRYPT_N or n & (n - 1) or not 1 <= r <= 16 or not 1 <= p <= 16:
        raise SeedFileBroken(f"{path} has impossible scrypt parameters: restore it from your backup")
    try:
        plain = AESGCM(_stretched(passphrase, salt, n, r, p)).decrypt(nonce, sealed, _sealed_along(header))
    except InvalidTag:
        raise WrongPassphrase(
            f"the passphrase does not open {path}: check wallet.seed_passphrase"
            " (if you are sure of it, the file was altered: restore it from your backup)"
        ) from None
    except ValueError as error:
        raise SeedFileBroken(f"{path} is damaged: restore it from your backup") from error
    return plain.decode()


def refuse_existing(path: Path) -> None:
    """Raise `SeedFileExists` if anything is at the path, be it a broken link."""
    if os.path.lexists(path):
        raise SeedFileExists(
            f"{path} exists, and a seed is never overwritten: choose another name, or move the old"
            " file away after making sure that no coins depend on it"
        )


def _stretched(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # NFKD as in BIP39: the same passphrase typed on two machines may differ in its bytes.
    text = unicodedata.normalize("NFKD", passphrase).encode()
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(text)


def _sealed_along(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _private_place(path: Path) -> None:
    """Make the file's folder, mode 0700, where only that is missing; refuse one that others may write to."""
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SeedError(
            f"cannot make the folder {folder}: {error.strerror}; choose a folder that this user can write to"
        ) from error
    _refuse_exposed_place(path)


def _refuse_exposed_place(path: Path) -> None:
    """Raise `SeedFileExposed` if others could put another file in this one's place."""
    mode = path.absolute().parent.stat().st_mode
    if mode & 0o002 and not mode & stat.S_ISVTX:
        raise SeedFileExposed(
            f"every user of this machine may write to {path.absolute().parent} and put another seed in the place of "
            f"{path.name}: run chmod go-w {path.absolute().parent}, or take a folder of mode 0700"
        )


def _write_new(path: Path, content: bytes) -> None:
    """Write beside the target and link it into place: a link never replaces a file."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), 0o600)  # whatever the umask says
                os.fsync(file.fileno())
            os.link(beside, path)
        finally:
            beside.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError as error:
        raise SeedError(
            f"cannot write {path}: {error.strerror}; choose a folder that this user can write to"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make the new name durable: without this a power cut may forget it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        _refuse_exposed_place(path)
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode) or state.st_size > _MAX_FILE_BYTES:
                raise SeedFileBroken(f"{path} is not a seed file of nodetill")
            if state.st_mode & 0o077:
                raise SeedFileExposed(f"{path} can be read by other users of this machine: run chmod 600 {path}")
            body = json.load(file)
    except FileNotFoundError:
        raise SeedFileBroken(
            f"there is no file {path}: check wallet.seed_file, or make one with `./nodetill seed create --out {path}`"
        ) from None
    except OSError as error:
        raise SeedFileBroken(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise SeedFileBroken(f"{path} is damaged: restore it from your backup") from error
    if not isinstance(body, dict):
        raise SeedFileBroken(f"{path} is not a seed file of nodetill")
    return body
