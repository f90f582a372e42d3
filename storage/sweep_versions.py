"""What is known of sweeps: families, and the versions of each.

Only reads: what changes a sweep is in `sweeps.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from payments.model import OutPoint
from storage.dead_sweeps import DEAD
from storage.tx import Row, Tx


@dataclass(frozen=True, slots=True)
class Sweep:
    """A signed transaction to the owner. Amounts in satoshi, `value_sat` before the fee.

    `stored_height` is our tip when it was signed, `family` the txid of the first version (its own, if empty),
    `replaces` the version before it.
    """

    txid: str
    raw: bytes
    state: str
    value_sat: int
    fee_sat: int
    created_at: int
    vsize: int = 0
    stored_height: int = 0
    family: str = ""
    replaces: str | None = None
    destination: str = ""


def sweeps_to_watch(tx: Tx) -> list[Sweep]:
    """Current sweeps that may still have to be broadcast (again): what is not deep enough yet, and not dead.

    One that never left waits while a reorganisation has a coin of it; one that left is everybody's, and is kept
    alive beside its coins.
    """
    rows = tx.all(
        f"SELECT * FROM sweep s WHERE s.is_current = 1 AND s.state <> 'confirmed' AND NOT {DEAD}"  # noqa: S608
        " AND (s.state <> 'stored' OR NOT EXISTS (SELECT 1 FROM sweep_spend x"
        " JOIN output o ON o.txid = x.prev_txid AND o.vout = x.prev_vout"
        " WHERE x.sweep_txid = s.txid AND o.booked = 0)) ORDER BY s.created_at, s.txid"
    )
    return [_sweep(row) for row in rows]


def dead_sweeps(tx: Tx) -> list[Sweep]:
    """Current sweeps that nobody can take, of families that are not final."""
    rows = tx.all(
        f"SELECT * FROM sweep s WHERE s.is_current = 1 AND s.state <> 'confirmed' AND {DEAD}"  # noqa: S608
        " ORDER BY s.created_at, s.txid"
    )
    return [_sweep(row) for row in rows]


def pending_replacements(tx: Tx) -> list[Sweep]:
    """Newest versions that were stored, and not seen to be broadcast yet, of families that no block has."""
    rows = tx.all(
        f"SELECT * FROM sweep s WHERE s.is_current = 0 AND s.state = 'stored' AND NOT {DEAD}"  # noqa: S608
        " AND NOT EXISTS (SELECT 1 FROM sweep n WHERE n.replaces = s.txid)"
        " AND NOT EXISTS (SELECT 1 FROM sweep c WHERE c.family = s.family AND c.state = 'confirmed')"
        " ORDER BY s.created_at, s.txid"
    )
    return [sweep for sweep in map(_sweep, rows) if mined_version(tx, sweep.family) is None]


def versions(tx: Tx, family: str) -> list[Sweep]:
    """All versions of a family, the first one first: each replaces the one before it."""
    rows = {row["replaces"]: row for row in tx.all("SELECT * FROM sweep WHERE family = :family", family=family)}
    found: list[Sweep] = []
    while (row := rows.get(found[-1].txid if found else None)) is not None:
        found.append(_sweep(row))
    return found


def spends_by_version(tx: Tx, family: str) -> dict[str, set[OutPoint]]:
    """Coins that each version of a family spends, by its txid."""
    found: dict[str, set[OutPoint]] = {}
    for row in tx.all(
        "SELECT x.* FROM sweep_spend x JOIN sweep s ON s.txid = x.sweep_txid WHERE s.family = :family", family=family
    ):
        found.setdefault(row["sweep_txid"], set()).add(OutPoint(row["prev_txid"], row["prev_vout"]))
    return found


def sweep_by_txid(tx: Tx, txid: str) -> Sweep | None:
    """The sweep with its bytes; None when it is none of ours."""
    row = tx.one("SELECT * FROM sweep WHERE txid = :txid", txid=txid)
    return None if row is None else _sweep(row)


def mined_version(tx: Tx, family: str) -> str | None:
    """Txid of the version that a block of the active chain holds, if one does."""
    row = tx.one(
        "SELECT s.txid FROM sweep s JOIN block_tx l ON l.txid = s.txid JOIN block b ON b.hash = l.block_hash"
        " WHERE s.family = :family AND b.active = 1",
        family=family,
    )
    return None if row is None else str(row["txid"])


def in_active_block(tx: Tx, txid: str) -> bool:
    """Whether a block of the active chain holds the transaction, as far as we have processed it."""
    row = tx.one(
        "SELECT 1 AS found FROM block_tx l JOIN block b ON b.hash = l.block_hash WHERE l.txid = :txid AND b.active = 1",
        txid=txid,
    )
    return row is not None


def _sweep(row: Row) -> Sweep:
    return Sweep(
        txid=row["txid"],
        raw=bytes(row["raw"]),
        state=row["state"],
        value_sat=row["value_sat"],
        fee_sat=row["fee_sat"],
        created_at=row["created_at"],
        vsize=row["vsize"],
        stored_height=row["stored_height"],
        family=row["family"],
        replaces=row["replaces"],
        destination=row["destination"],
    )
