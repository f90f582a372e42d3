"""Sweeps: signed transactions to the owner, stored with their inputs before they are broadcast.

The primary key on the claimed outpoint is what makes "forwarded once" true. A sweep that no block takes may be
replaced by a version of itself: all versions are one family, two of them never can be mined together, because
each spends a coin of every other one. A state moves forward: stored, broadcast, confirmed; only a block that is
undone takes back that it was confirmed.

Of each family one version is the current one: the first, until another one was broadcast or mined.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from payments.coin import Coin
from payments.model import OutPoint
from storage.errors import AlreadyThere
from storage.evaluation import Change, evaluate
from storage.forwards import forwards_due
from storage.ledger import post
from storage.records import tip_height
from storage.sweep_versions import Sweep, mined_version, spends_by_version, versions
from storage.tx import Row, Tx

FINAL_DEPTH = 6
"""A sweep this deep is not watched any more."""


def store_sweep(tx: Tx, sweep: Sweep, coins: Sequence[Coin], destination: str, now: int) -> None:
    """Keep the signed bytes and claim their inputs. Raises `AlreadyThere` when one is claimed already."""
    _insert(tx, sweep, sweep.txid, coins, destination, is_current=True, now=now)
    _claim(tx, sweep.txid, coins)
    _level(tx, sweep.txid, now)


def store_replacement(tx: Tx, sweep: Sweep, coins: Sequence[Coin], now: int) -> None:
    """Keep the signed bytes of another version of the family of `sweep.replaces`.

    Nothing else changes until it was broadcast. Raises `AlreadyThere` when that version has been replaced already,
    or is final; a version that could be mined beside an earlier one is a bug.
    """
    parent = tx.one("SELECT * FROM sweep WHERE txid = :txid", txid=sweep.replaces)
    if parent is None:
        raise ValueError(f"sweep {sweep.txid} replaces {sweep.replaces}, which is not stored")
    family = parent["family"]
    if tx.one("SELECT 1 AS done FROM sweep WHERE family = :family AND state = 'confirmed'", family=family) is not None:
        raise AlreadyThere(f"sweep {family} is final already")
    claimed = {OutPoint(r["prev_txid"], r["prev_vout"]) for r in _claims(tx, family)}
    spends = {coin.outpoint for coin in coins}
    if not spends <= claimed:
        raise ValueError(f"sweep {sweep.txid} spends coins that {family} does not claim")
    for version, others in spends_by_version(tx, family).items():
        if not spends & others:
            raise ValueError(f"sweep {sweep.txid} spends no coin of {version}: both could be mined")
    to = sweep.destination or parent["destination"]  # the owner may have another address by now
    _insert(tx, sweep, family, coins, to, is_current=False, now=now)


def adopt_sweep(tx: Tx, sweep: Sweep, coins: Sequence[Coin], *, mined: bool, now: int) -> bool:
    """Keep a sweep that was broadcast and is not known here; False when its coins are claimed by others.

    Coins that one family claims make it a version of that family, which counts when it was `mined`.
    """
    claims = {_family_of(tx, coin.outpoint) for coin in coins}
    family, *others = claims
    if others:
        return False
    head = None if family is None else versions(tx, family)[-1].txid
    kept = replace(sweep, replaces=head)
    _insert(tx, kept, family or sweep.txid, coins, sweep.destination, is_current=family is None, now=now)
    tx.execute("UPDATE sweep SET state = 'broadcast', broadcast_at = :now WHERE txid = :txid", txid=sweep.txid, now=now)
    if family is None:
        _claim(tx, sweep.txid, coins)
        _level(tx, sweep.txid, now)
    elif mined:
        _make_current(tx, sweep.txid, family, now)
    return True


def record_broadcast(tx: Tx, txid: str, now: int) -> list[Change]:
    """The node has the sweep (in its mempool or a block): it is the current one of its family, and the payments
    it empties are forwarded."""
    tx.execute(
        "UPDATE sweep SET state = 'broadcast', broadcast_at = :now, last_error = NULL"
        " WHERE txid = :txid AND state = 'stored'",
        txid=txid,
        now=now,
    )
    row = tx.one("SELECT family, is_current FROM sweep WHERE txid = :txid", txid=txid)
    assert row is not None  # noqa: S101 - only stored sweeps are broadcast
    if not row["is_current"] and mined_version(tx, row["family"]) in (None, txid):
        _make_current(tx, txid, row["family"], now)
    return evaluate(tx, _payments_of(tx, row["family"]), now)


def became_mined(tx: Tx, txid: str, now: int) -> set[int]:
    """Part of connecting a block: what spends coins of ours was mined; the payments for which that is news."""
    row = tx.one("SELECT family, is_current FROM sweep WHERE txid = :txid", txid=txid)
    if row is None:  # somebody else has the keys, too
        spent = tx.all("SELECT DISTINCT payment_number FROM output WHERE spent_by = :txid", txid=txid)
        return {coin["payment_number"] for coin in spent}
    if row["is_current"]:
        return set()
    tx.execute(
        "UPDATE sweep SET state = 'broadcast', broadcast_at = :now WHERE txid = :txid AND state = 'stored'",
        txid=txid,
        now=now,
    )
    _make_current(tx, txid, row["family"], now)
    return _payments_of(tx, row["family"])


def record_refused(tx: Tx, txid: str, reason: str) -> None:
    """The node did not take it this time. Nothing else changes: the same bytes are offered again."""
    tx.execute("UPDATE sweep SET last_error = :reason WHERE txid = :txid", txid=txid, reason=reason)


def close_deep_sweeps(tx: Tx) -> int:
    """Stop watching sweeps that are `FINAL_DEPTH` deep; how many. Coins that the final version does not spend
    are free again."""
    deep = tx.all(
        "SELECT s.txid, s.family FROM sweep s WHERE s.is_current = 1 AND s.state = 'broadcast' AND EXISTS ("
        "SELECT 1 FROM block_tx l JOIN block b ON b.hash = l.block_hash"
        " WHERE l.txid = s.txid AND b.active = 1 AND b.height <= :height)",
        height=tip_height(tx) - FINAL_DEPTH + 1,
    )
    for row in deep:
        tx.execute("UPDATE sweep SET state = 'confirmed' WHERE txid = :txid", txid=row["txid"])
        tx.execute(
            "DELETE FROM sweep_input WHERE sweep_txid = :family AND NOT EXISTS (SELECT 1 FROM sweep_spend x"
            " WHERE x.sweep_txid = :txid AND x.prev_txid = sweep_input.prev_txid"
            " AND x.prev_vout = sweep_input.prev_vout)",
            family=row["family"],
            txid=row["txid"],
        )
    return len(deep)


def _insert(
    tx: Tx, sweep: Sweep, family: str, coins: Sequence[Coin], destination: str, *, is_current: bool, now: int
) -> None:
    if (value := sum(coin.value_sat for coin in coins)) != sweep.value_sat:
        raise ValueError(f"sweep {sweep.txid} says {sweep.value_sat} sat, its coins hold {value} sat")
    tx.execute(
        "INSERT INTO sweep (txid, raw, state, destination, value_sat, fee_sat, created_at, family, replaces,"
        " is_current, vsize, stored_height) VALUES (:txid, :raw, 'stored', :destination, :value, :fee, :now, :family,"
        " :replaces, :is_current, :vsize, :height)",
        txid=sweep.txid,
        raw=sweep.raw,
        destination=destination,
        value=sweep.value_sat,
        fee=sweep.fee_sat,
        now=now,
        family=family,
        replaces=sweep.replaces,
        is_current=int(is_current),
        vsize=sweep.vsize,
        height=sweep.stored_height,
    )
    tx.many(
        "INSERT INTO sweep_spend (sweep_txid, prev_txid, prev_vout) VALUES (:sweep, :txid, :vout)",
        [{"txid": c.outpoint.txid, "vout": c.outpoint.vout, "sweep": sweep.txid} for c in coins],
    )


def _make_current(tx: Tx, txid: str, family: str, now: int) -> None:
    tx.execute("UPDATE sweep SET is_current = 0 WHERE family = :family AND is_current = 1", family=family)
    tx.execute("UPDATE sweep SET is_current = 1 WHERE txid = :txid", txid=txid)
    _level(tx, family, now)


def _level(tx: Tx, family: str, now: int) -> None:
    """Bring the ledger level with the family's current version."""
    for sweep, transfer in forwards_due(tx, [family]):
        post(tx, transfer, {"sweep": sweep}, now)


def _claim(tx: Tx, family: str, coins: Sequence[Coin]) -> None:
    tx.many(
        "INSERT INTO sweep_input (prev_txid, prev_vout, sweep_txid) VALUES (:txid, :vout, :sweep)",
        [{"txid": c.outpoint.txid, "vout": c.outpoint.vout, "sweep": family} for c in coins],
    )


def _family_of(tx: Tx, outpoint: OutPoint) -> str | None:
    row = tx.one(
        "SELECT sweep_txid FROM sweep_input WHERE prev_txid = :txid AND prev_vout = :vout", **outpoint._asdict()
    )
    return None if row is None else str(row["sweep_txid"])


def _claims(tx: Tx, family: str) -> Collection[Row]:
    return tx.all("SELECT prev_txid, prev_vout FROM sweep_input WHERE sweep_txid = :family", family=family)


def _payments_of(tx: Tx, family: str) -> set[int]:
    rows = tx.all(
        "SELECT DISTINCT o.payment_number FROM sweep_input i"
        " JOIN output o ON o.txid = i.prev_txid AND o.vout = i.prev_vout WHERE i.sweep_txid = :family",
        family=family,
    )
    return {row["payment_number"] for row in rows}
