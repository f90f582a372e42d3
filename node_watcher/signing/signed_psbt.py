"""A sweep that its owner signed elsewhere: taken back only if it is, to the satoshi, the one that was handed out.

Nothing of what comes back is used but the signatures. The transaction is made again from what is known here,
and each signature is held against that one, so a changed field can only make a signature invalid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node_watcher.signing.handed_back import PsbtRefused, ReadPsbt, read_handed_back
from node_watcher.signing.input_signature import SweepSignatures
from node_watcher.signing.input_unlock import (
    InputUnsigned,
    InputWrong,
    Unlock,
    check_unlock,
    unlock_of_psbt,
    unlock_of_tx,
)
from node_watcher.signing.psbt import unsigned_sweep
from node_watcher.signing.signer import MAX_STANDARD_VSIZE, SignedTx, SweepInput, SweepRefused
from payments.model import OutPoint

__all__ = ["PsbtRefused", "take_signed"]

_AGAIN = "sign the PSBT that was handed out, without changing it"


def take_signed(
    given: str | bytes,
    expected: Sequence[SweepInput],
    destination_script: bytes,
    fee_sat: int,
    locktime: int,
) -> SignedTx:
    """The signed sweep out of a PSBT (base64, hex, binary; finalized or not) or a raw transaction (hex, binary).

    `expected` and what follows are as they were given to `build_psbt`, each coin with its script. Whether the
    coins still exist only the node can say: ask it (`testmempoolaccept`). Raises `PsbtRefused` with what is
    missing or different, `SweepRefused` where the expected sweep itself makes no sense.
    """
    if any(coin.script_pubkey is None for coin in expected):
        raise SweepRefused("the script of an input is not known, so no signature can be checked")
    tx = unsigned_sweep(expected, destination_script, fee_sat, locktime)
    read = read_handed_back(given)
    _compare(tx, read.unsigned if isinstance(read, ReadPsbt) else read)
    unlocks = _checked_unlocks(read, expected, SweepSignatures(tx, expected))
    for vin, unlock in zip(tx.vin, unlocks, strict=True):
        vin.script_sig.data = unlock.script_sig
        vin.witness.items = list(unlock.witness)
    signed = _measured(tx, fee_sat)
    if signed.vsize > MAX_STANDARD_VSIZE:
        raise PsbtRefused(
            f"signed it has {signed.vsize} vB, and nodes do not relay more than {MAX_STANDARD_VSIZE}:"
            " sweep in several transactions"
        )
    return signed


def _compare(ours: Any, theirs: Any) -> None:
    """Raise `PsbtRefused` with the first thing in which the transaction is not the one handed out."""
    expected, found = _outpoints(ours), _outpoints(theirs)
    for outpoint in set(found).difference(expected):
        raise PsbtRefused(f"it spends {_name(outpoint)}, which was not in the sweep that was handed out: {_AGAIN}")
    for outpoint in set(expected).difference(found):
        raise PsbtRefused(f"it does not spend {_name(outpoint)}, which was in the sweep: {_AGAIN}")
    if found != expected:
        raise PsbtRefused(f"its inputs are in another order or doubled: {_AGAIN}")
    if len(theirs.vout) != 1:
        raise PsbtRefused(
            f"it has {len(theirs.vout)} outputs instead of one: {_AGAIN}, and let the wallet add no change"
        )
    if theirs.vout[0].script_pubkey.data != ours.vout[0].script_pubkey.data:
        raise PsbtRefused(f"it pays another address than the one the sweep goes to: {_AGAIN}")
    value, wanted = theirs.vout[0].value, ours.vout[0].value
    if value != wanted:
        raise PsbtRefused(
            f"it pays {value} satoshi instead of {wanted}, so the fee was changed: {_AGAIN},"
            " or have it made again with another fee"
        )
    for theirs_is, ours_is, what in (
        (theirs.version, ours.version, "version"),
        (theirs.locktime, ours.locktime, "locktime"),
        *((b.sequence, a.sequence, "sequence number") for a, b in zip(ours.vin, theirs.vin, strict=True)),
    ):
        if theirs_is != ours_is:
            raise PsbtRefused(f"its {what} is {theirs_is} instead of {ours_is}: {_AGAIN}")


def _checked_unlocks(read: ReadPsbt | Any, expected: Sequence[SweepInput], signatures: SweepSignatures) -> list[Unlock]:
    """What unlocks each input, found valid. Of what is missing the first is told, and how much more there is."""
    unlocks: list[Unlock] = []
    missing: list[str] = []
    for place, coin in enumerate(expected):
        script = coin.script_pubkey or b""
        try:
            if isinstance(read, ReadPsbt):
                unlock = unlock_of_psbt(read.inputs[place], place, script, signatures)
            else:
                unlock = unlock_of_tx(read.vin[place])
            check_unlock(unlock, place, script, signatures)
            unlocks.append(unlock)
        except InputUnsigned as error:
            missing.append(f"input {place + 1} ({_name(coin.outpoint)}) {error}")
        except InputWrong as error:
            raise PsbtRefused(f"input {place + 1} ({_name(coin.outpoint)}) {error}") from None
    if missing:
        more = f" (and {len(missing) - 1} more inputs are not signed)" if len(missing) > 1 else ""
        raise PsbtRefused(f"it is not signed yet: {missing[0]}{more}")
    return unlocks


def _measured(tx: Any, fee_sat: int) -> SignedTx:
    raw: bytes = tx.serialize()
    # What the witness takes, with its two marks, counts a quarter (BIP141).
    witness = 2 + sum(len(vin.witness.serialize()) for vin in tx.vin) if tx.is_segwit else 0
    return SignedTx(raw=raw, txid=tx.txid().hex(), vsize=-(-(4 * (len(raw) - witness) + witness) // 4), fee_sat=fee_sat)


def _outpoints(tx: Any) -> list[OutPoint]:
    return [OutPoint(vin.txid.hex(), vin.vout) for vin in tx.vin]


def _name(outpoint: OutPoint) -> str:
    return f"{outpoint.txid}:{outpoint.vout}"
