"""What forwarding needs of a signer: a sweep of our P2WPKH outputs to one script, fee to the satoshi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from payments.amount import MAX_MONEY_SAT
from payments.model import OutPoint

SEQUENCE_RBF: Final = 0xFFFFFFFD
"""Replaceable by a higher fee (BIP125), and locktime is in force."""

MAX_STANDARD_VSIZE: Final = 100_000
"""Nodes do not relay larger transactions (`MAX_STANDARD_TX_WEIGHT`)."""

_DUST_FEERATE: Final = 3  # sat/vB, `-dustrelayfee` of Bitcoin Core
_MAX_WITNESS_BYTES: Final = 1 + 1 + 72 + 1 + 33  # count, low-S signature with its hash type, key


class SignerError(Exception):
    """The sweep was not signed."""


class SignerDown(SignerError):
    """The signer's process does not answer just now; it is asked again with the next pass."""


class SweepRefused(SignerError):
    """The sweep makes no sense (nothing left after the fee, dust, an input twice, too large), or is beyond a cap."""


class SigningFailed(SignerError):
    """A key does not fit an input, or the library left an input without its signature."""


class SweepInput(NamedTuple):
    """One of our outputs to be spent."""

    outpoint: OutPoint
    value_sat: int
    key_index: int
    """The number of the receive address it was paid to."""
    script_pubkey: bytes | None = None
    """Where known, the key is checked against it before anything is signed."""


@dataclass(frozen=True, slots=True)
class SignedTx:
    """A transaction ready to be stored and broadcast."""

    raw: bytes
    txid: str
    vsize: int
    fee_sat: int

    @property
    def hex(self) -> str:
        """As `sendrawtransaction` takes it."""
        return self.raw.hex()


class Signer(Protocol):
    """Signs without asking anybody: all it needs comes in."""

    def sign_sweep(
        self,
        inputs: Sequence[SweepInput],
        destination_script: bytes,
        fee_sat: int,
        locktime: int,
    ) -> SignedTx:
        """Spend all inputs to one output of their sum less exactly `fee_sat`.

        `locktime` is a block height, usually that of the tip. Raises `SweepRefused` or `SigningFailed`.
        """
        ...


def estimate_vsize(n_inputs: int, destination_script: bytes) -> int:
    """Virtual bytes of a sweep, never too few: each signature is counted at its longest.

    A signature is mostly a byte shorter or not at all, a quarter of a virtual byte (BIP141).
    """
    output = 8 + _varint_size(len(destination_script)) + len(destination_script)
    base = 4 + _varint_size(n_inputs) + 41 * n_inputs + 1 + output + 4
    weight = 4 * base + 2 + _MAX_WITNESS_BYTES * n_inputs
    return -(-weight // 4)


def dust_limit(script: bytes) -> int:
    """The least satoshi an output to this script may carry, or nodes do not relay it."""
    output = 8 + _varint_size(len(script)) + len(script)
    witness_program = (
        4 <= len(script) <= 42 and script[1] == len(script) - 2 and (script[0] == 0 or 0x51 <= script[0] <= 0x60)
    )
    # What it would cost to spend it again, a quarter of that where the signature is witness.
    return _DUST_FEERATE * (output + (67 if witness_program else 148))


def sweep_value(inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int) -> int:
    """The satoshi that arrive. Raises `SweepRefused` where the sweep makes no sense."""
    if not inputs:
        raise SweepRefused("a sweep needs at least one input")
    if len({given.outpoint for given in inputs}) != len(inputs):
        raise SweepRefused("the same output is given twice as an input")
    if any(given.value_sat <= 0 for given in inputs):
        raise SweepRefused("an input has no positive value")
    if not destination_script:
        raise SweepRefused("the destination has an empty script")
    if not 0 <= locktime < 500_000_000:
        raise SweepRefused(f"{locktime} is not a block height, which locktime must be")
    vsize = estimate_vsize(len(inputs), destination_script)
    if vsize > MAX_STANDARD_VSIZE:
        raise SweepRefused(
            f"{len(inputs)} inputs make a transaction of {vsize} vB, which nodes do not relay"
            f" (more than {MAX_STANDARD_VSIZE}): sweep them in several transactions"
        )
    total = sum(given.value_sat for given in inputs)
    if total > MAX_MONEY_SAT:
        raise SweepRefused("the inputs are worth more than the 21 million bitcoin that can exist")
    if not 0 <= fee_sat < total:
        raise SweepRefused(f"a fee of {fee_sat} satoshi leaves nothing of {total} satoshi")
    value = total - fee_sat
    if value < dust_limit(destination_script):
        raise SweepRefused(
            f"{value} satoshi would arrive, and nodes refuse outputs below"
            f" {dust_limit(destination_script)}: wait until there is more to forward"
        )
    return value


def _varint_size(value: int) -> int:
    if value < 0xFD:
        return 1
    return 3 if value <= 0xFFFF else 5
