"""A sweep that its owner signed elsewhere comes back: checked against what is known here, stored, and then sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node_watcher.forwarding.desk import Desk, inputs_of
from node_watcher.forwarding.drafts import acceptable
from node_watcher.signing.handed_back import PsbtRefused, ReadPsbt, read_handed_back
from node_watcher.signing.signed_psbt import take_signed
from node_watcher.signing.signer import SignedTx
from payments.coin import Coin
from payments.forward import DUST_SAT
from payments.model import BlockId, OutPoint
from storage import signed_elsewhere, sweep_versions
from storage.signed_elsewhere import Spendable
from storage.sweep_versions import Sweep


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A good sweep. `known` when it was handed in before, and is stored as it stands here."""

    sweep: Sweep
    outpoints: tuple[OutPoint, ...]
    known: bool


async def hand_in(desk: Desk, given: bytes, tip: BlockId) -> HandedIn:
    """The signed sweep in a PSBT or raw transaction, found good in every respect; nothing is stored yet.

    What it should be follows from its inputs: coins of ours, all that they hold less the fee to the owner's address.
    Raises `SignerError` or `NotToBeSpent`, which say what to do.
    """
    read = read_handed_back(given)
    tx = read.unsigned if isinstance(read, ReadPsbt) else read
    outpoints = tuple(OutPoint(vin.txid.hex(), vin.vout) for vin in tx.vin)
    if len(set(outpoints)) != len(outpoints):
        raise PsbtRefused("the same coin is twice in it: sign the PSBT that was handed out, without changing it")
    coins = await desk.database.read(signed_elsewhere.known_coins, outpoints)
    fee = _fee_of(desk, tx, coins)
    signed = take_signed(given, inputs_of(coins), desk.destination.script_pubkey, fee, tx.locktime)
    if (known := await desk.database.read(sweep_versions.sweep_by_txid, signed.txid)) is not None:
        return HandedIn(known, outpoints, True)
    found = await desk.database.read(signed_elsewhere.spendable, desk.keychain_id, outpoints)
    _check_fee(desk, signed, found)
    await acceptable(desk, signed)
    head = found.replaces
    made = Sweep(
        signed.txid,
        signed.raw,
        "stored",
        sum(coin.value_sat for coin in coins),
        signed.fee_sat,
        desk.clock(),
        vsize=signed.vsize,
        stored_height=tip.height,
        family=head.family if head else signed.txid,
        replaces=head.txid if head else None,
        destination=desk.destination.address,
    )
    return HandedIn(made, outpoints, False)


def _fee_of(desk: Desk, tx: Any, coins: list[Coin]) -> int:
    """What the coins hold more than arrives. That it goes nowhere else is seen by whoever compares it all."""
    arriving = [out.value for out in tx.vout if out.script_pubkey.data == desk.destination.script_pubkey]
    if not arriving:
        raise PsbtRefused(
            f"it pays nothing to wallet.forward_to = {desk.destination.address}: sign the PSBT that was handed out,"
            " without changing it; if you changed the setting since, build it again"
        )
    total = sum(coin.value_sat for coin in coins)
    if arriving[0] > total:
        raise PsbtRefused(f"it pays {arriving[0]} satoshi, and its coins hold {total}: build the PSBT again")
    return total - int(arriving[0])


def _check_fee(desk: Desk, signed: SignedTx, found: Spendable) -> None:
    cap, size = desk.rules.max_feerate, desk.vsize_of(len(found.coins))
    # By the size for which fees are chosen: signed it is some bytes less, and nobody can choose a fee for that.
    if signed.fee_sat > cap * size:
        raise PsbtRefused(
            f"a fee of {signed.fee_sat} sat for {signed.vsize} vB is above forwarding.max_feerate = {cap}:"
            " build it again, or raise the cap"
        )
    value = sum(coin.value_sat for coin in found.coins)
    if value - signed.fee_sat < DUST_SAT:
        raise PsbtRefused(f"a fee of {signed.fee_sat} sat would leave dust of {value} sat")
    head = found.replaces
    if head is None:
        return
    if head.destination != desk.destination.address:
        raise PsbtRefused(
            f"sweep {head.txid}, which it replaces, goes to {head.destination}, and wallet.forward_to is"
            f" {desk.destination.address}: set that until a block has it"
        )
    if not found.lost and signed.fee_sat <= head.fee_sat:
        raise PsbtRefused(
            f"it pays a fee of {signed.fee_sat} sat, and {head.txid} with the same coins pays {head.fee_sat}:"
            f" build one that pays more by `forward psbt --replace {head.txid}`"
        )
