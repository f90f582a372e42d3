"""Sweeps that the owner signs on another device: which coins may go into one, and how it comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from payments.coin import Coin
from payments.model import OutPoint
from storage import looks
from storage.coins_due import coins_at, coins_due
from storage.errors import NotToBeSpent
from storage.records import tip_height
from storage.sweep_versions import Sweep, mined_version, sweep_by_txid
from storage.sweeps import store_replacement, store_sweep
from storage.tx import Tx
from storage.waiting_sweeps import in_mempool, to_rebuild

_EVERYTHING = 1_000_000


@dataclass(frozen=True, slots=True)
class Spendable:
    """Coins that may go together now. `replaces` is the version of a sweep that a transaction of them replaces;
    `lost` when that one can never be mined, because a coin of it is gone."""

    coins: tuple[Coin, ...]
    replaces: Sweep | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class CameOf:
    """`state` as in `Sweep`; `last_error` is what the node said, if it did not take it."""

    state: str
    last_error: str | None


def known_coins(tx: Tx, outpoints: Sequence[OutPoint]) -> list[Coin]:
    """The coins at these places, in that order. Raises `NotToBeSpent` when one is none of this till."""
    coins = coins_at(tx, outpoints)
    if len(coins) < len(outpoints):
        ours = {coin.outpoint for coin in coins}
        stranger = next(outpoint for outpoint in outpoints if outpoint not in ours)
        raise NotToBeSpent(
            f"it spends {_name(stranger)}, which is no coin of this till: take the one that `forward psbt` handed out"
        )
    return coins


def spendable(tx: Tx, keychain_id: int, outpoints: Sequence[OutPoint]) -> Spendable:
    """Whether a sweep of exactly these coins may be stored now. Raises `NotToBeSpent` with the reason."""
    coins = tuple(known_coins(tx, outpoints))
    families = {outpoint: family for outpoint in outpoints if (family := _claimed_by(tx, outpoint)) is not None}
    if not families:
        due = {coin.outpoint for coin in coins_due(tx, keychain_id, _EVERYTHING)}
        for coin in coins:
            if coin.outpoint not in due:
                raise NotToBeSpent(f"{_name(coin.outpoint)} {_why_not_due(tx, coin.outpoint)}")
        return Spendable(coins)
    family = next(iter(families.values()))
    for replaceable in replaceables(tx):
        if replaceable.replaces is not None and replaceable.replaces.family == family:
            if {coin.outpoint for coin in replaceable.coins} == set(outpoints):
                return Spendable(coins, replaceable.replaces, replaceable.lost)
            raise NotToBeSpent(
                f"{_name(next(iter(families)))} is in sweep {family} already, and another version of that must spend"
                f" just its coins: build it by `forward psbt --replace {family}`"
            )
    raise NotToBeSpent(f"{_name(next(iter(families)))} is in sweep {family} already: {_why_not_replaced(tx, family)}")


def replaceables(tx: Tx) -> list[Spendable]:
    """Sweeps under way of which another version may be signed now, each with the coins for that."""
    lost = [Spendable(tuple(coins), head, lost=True) for head, coins in to_rebuild(tx)]
    return lost + [Spendable(tuple(coins), head) for head, coins in in_mempool(tx, tip_height(tx))]


def replaceable(tx: Tx, txid: str) -> Spendable:
    """What may replace a sweep, or the newest version of it. Raises `NotToBeSpent` with the reason."""
    if (asked := sweep_by_txid(tx, txid)) is None:
        raise NotToBeSpent(f"{txid} is no sweep of this till")
    for found in replaceables(tx):
        if found.replaces is not None and found.replaces.family == asked.family:
            return found
    raise NotToBeSpent(f"sweep {txid} cannot be replaced: {_why_not_replaced(tx, asked.family)}")


def store_signed(tx: Tx, sweep: Sweep, keychain_id: int, outpoints: Sequence[OutPoint], now: int) -> None:
    """Keep a sweep that was signed elsewhere, if its coins are still to be spent so, and ask for a look at once.

    Raises `NotToBeSpent`, and `AlreadyThere` when another process has just stored it.
    """
    found = spendable(tx, keychain_id, outpoints)
    if (found.replaces.txid if found.replaces else None) != sweep.replaces:
        raise NotToBeSpent("its coins went into another sweep just now: see `forward plan`")
    if found.replaces is None:
        store_sweep(tx, sweep, found.coins, sweep.destination, now)
    else:
        store_replacement(tx, sweep, found.coins, now)
    looks.want(tx)


def came_of(tx: Tx, txid: str) -> CameOf:
    """How far a stored sweep is."""
    row = tx.one("SELECT state, last_error FROM sweep WHERE txid = :txid", txid=txid)
    assert row is not None  # noqa: S101 - a sweep is never deleted
    return CameOf(row["state"], row["last_error"])


def _claimed_by(tx: Tx, outpoint: OutPoint) -> str | None:
    row = tx.one(
        "SELECT sweep_txid FROM sweep_input WHERE prev_txid = :txid AND prev_vout = :vout", **outpoint._asdict()
    )
    return None if row is None else str(row["sweep_txid"])


def _why_not_due(tx: Tx, outpoint: OutPoint) -> str:
    row = tx.one("SELECT spent_by, booked FROM output WHERE txid = :txid AND vout = :vout", **outpoint._asdict())
    if row is not None and row["spent_by"] is not None:
        return f"is spent already, by {row['spent_by']}"
    if row is not None and not row["booked"]:
        return "is not final (any more): wait until it is, and build the PSBT again"
    return "does not wait to be forwarded by this wallet.descriptor: see `forward plan`, and build the PSBT again"


def _why_not_replaced(tx: Tx, family: str) -> str:
    if (mined := mined_version(tx, family)) is not None:
        return f"{mined} is in a block"
    return "no version of it waits in the mempool with coins that are final, so nothing is to be signed now"


def _name(outpoint: OutPoint) -> str:
    return f"{outpoint.txid}:{outpoint.vout}"
