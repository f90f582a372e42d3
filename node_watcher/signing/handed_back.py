"""What a person hands back: a PSBT in base64, hex or binary, or a raw transaction. Only read here, not believed.

embit does the reading. It trusts its input more than one may here, so a few fields never reach it: those
that announce any number of parts (it would make them until the memory is gone), and those of PSBT version 2.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, cast

from embit.base import EmbitError
from embit.psbt import PSBT, InputScope, OutputScope, PSBTError, read_string
from embit.transaction import Transaction

from node_watcher.signing.signer import SignerError

_MAGIC: Final[bytes] = PSBT.MAGIC
_IN_TAP_BIP32: Final = 0x16
_OUT_TAP_BIP32: Final = 0x07
# What embit lets out of its parsers: its own errors, and Python's wherever bytes are missing or too many.
EMBIT_TROUBLES: Final = (
    EmbitError,
    ValueError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    TypeError,
    AttributeError,
)


class PsbtRefused(SignerError):
    """What was handed back is not the sweep that was handed out, signed. Says what to do."""


class _Input(InputScope):  # type: ignore[misc]  # embit has no types
    def read_value(self, stream: Any, k: bytes) -> None:
        if k[:1] == bytes((_IN_TAP_BIP32,)):
            read_string(stream)
        else:
            super().read_value(stream, k)


class _Output(OutputScope):  # type: ignore[misc]  # embit has no types
    def read_value(self, stream: Any, k: bytes) -> None:
        if k[:1] == bytes((_OUT_TAP_BIP32,)):
            read_string(stream)
        else:
            super().read_value(stream, k)


class ReadPsbt(PSBT):  # type: ignore[misc]  # embit has no types
    """A PSBT whose unsigned transaction stays as it was read: embit's own `tx` replaces some zeros."""

    PSBTIN_CLS = _Input
    PSBTOUT_CLS = _Output

    def parse_tx(self, tx: Any) -> None:
        if not tx.vin or not tx.vout or any(vin.script_sig.data or vin.witness.items for vin in tx.vin):
            raise PSBTError("the transaction inside is empty or signed")
        self.unsigned: Any = tx
        super().parse_tx(tx)

    def parse_unknowns(self) -> None:
        if self.version not in (None, 0):
            raise PsbtRefused(
                f"it is a PSBT of version {self.version}: let the wallet export version 0 (BIP174),"
                " the one that was handed out"
            )
        if not self.inputs:
            raise PSBTError("there is no unsigned transaction inside")
        super().parse_unknowns()


def read_handed_back(given: str | bytes) -> ReadPsbt | Any:
    """A `ReadPsbt`, or embit's `Transaction` where it is a raw transaction. Raises `PsbtRefused`."""
    if isinstance(given, str):
        return _read_text(given)
    if given.startswith(_MAGIC):
        return _psbt(given)
    try:
        text = given.decode("ascii")
    except UnicodeDecodeError:
        return _transaction(given)
    return _read_text(text)


def _read_text(given: str) -> ReadPsbt | Any:
    text = "".join(given.split())
    if not text:
        raise PsbtRefused("nothing was handed over: give the signed PSBT, or the signed transaction in hex")
    if text.startswith("{"):
        raise PsbtRefused('this is JSON: give only the text behind "psbt" or "hex" in it')
    raw = _from_hex(text)
    if raw is None:
        return _psbt(_from_base64(text))
    if len(raw) == 32:
        raise PsbtRefused("this is a transaction id: give the signed PSBT or transaction itself")
    return _psbt(raw) if raw.startswith(_MAGIC) else _transaction(raw)


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _from_base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw.startswith(_MAGIC):
        raise PsbtRefused(
            "this is neither a PSBT (base64 that begins with cHNidP) nor a transaction in hex, or it was cut short:"
            " copy all of what the wallet gives after signing"
        )
    return raw


def _psbt(raw: bytes) -> ReadPsbt:
    try:
        return cast("ReadPsbt", ReadPsbt.parse(raw))
    except EMBIT_TROUBLES as error:
        raise PsbtRefused(
            "this begins like a PSBT, but is damaged or cut short: export it from the wallet again"
        ) from error


def _transaction(raw: bytes) -> Any:
    try:
        tx = Transaction.parse(raw)
        whole = tx.serialize() == raw  # embit does not notice all that is cut short
    except EMBIT_TROUBLES:
        whole = False
    if not whole:
        raise PsbtRefused(
            "this is neither a PSBT nor a whole transaction: copy all of what the wallet gives after signing"
        )
    return tx
