"""Facts about transactions that pay us: seen, replaced, gone from the mempool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from payments.model import IncomingTx, OutPoint
from storage.dead_sweeps import with_neighbours
from storage.evaluation import Change, evaluate
from storage.sweeps import became_mined
from storage.tx import Tx


def record_seen(tx: Tx, seen: IncomingTx, paid_at: int, now: int) -> list[Change]:
    """The node has this transaction in its mempool. `paid_at` is the node's own time of entry.

    A transaction without outputs of ours is told of when it spends what one of ours spends too:
    it replaced that one.
    """
    touched = _replace_conflicts(tx, seen)
    if seen.outputs:
        touched |= _remember(tx, seen, paid_at=paid_at, now=now)
        if not _in_active_block(tx, seen.txid):
            tx.execute("UPDATE incoming_tx SET in_mempool = 1, replaced_by = NULL WHERE txid = :txid", txid=seen.txid)
    return evaluate(tx, with_neighbours(tx, touched), now)


def remember_mined(tx: Tx, mined: IncomingTx, block_hash: str, block_time: int, now: int) -> set[int]:
    """Part of connecting a block: link the transaction to it; numbers of the payments it touches."""
    touched = _replace_conflicts(tx, mined)
    if mined.outputs:
        touched |= _remember(tx, mined, paid_at=min(now, block_time), now=now)
        tx.execute(
            "UPDATE incoming_tx SET in_mempool = 0, mined = 1, replaced_by = NULL WHERE txid = :txid",
            txid=mined.txid,
        )
    spends_ours = 0
    for prevout in mined.prevouts:
        spends_ours += tx.execute(
            "UPDATE output SET spent_by = :spender WHERE txid = :txid AND vout = :vout",
            spender=mined.txid,
            txid=prevout.txid,
            vout=prevout.vout,
        )
    if mined.outputs or spends_ours:
        tx.execute(
            "INSERT INTO block_tx (block_hash, txid) VALUES (:block, :txid) ON CONFLICT DO NOTHING",
            block=block_hash,
            txid=mined.txid,
        )
    if spends_ours:
        touched |= became_mined(tx, mined.txid, now)
    return with_neighbours(tx, touched)


def record_missing(tx: Tx, gone: Sequence[tuple[str, str | None]], now: int) -> list[Change]:
    """These are no longer in the mempool nor in a block: `(txid, txid of what replaced it or None)`."""
    touched: set[int] = set()
    for txid, replaced_by in gone:
        changed = tx.execute(
            "UPDATE incoming_tx SET in_mempool = 0, replaced_by = :replaced_by WHERE txid = :txid AND in_mempool = 1",
            txid=txid,
            replaced_by=replaced_by,
        )
        if changed:
            touched |= payments_of(tx, txid)
    return evaluate(tx, with_neighbours(tx, touched), now)


def in_mempool(tx: Tx) -> list[str]:
    """Txids that we believe to be in the mempool."""
    return [row["txid"] for row in tx.all("SELECT txid FROM incoming_tx WHERE in_mempool = 1 ORDER BY txid")]


def gone(tx: Tx) -> list[str]:
    """Txids that paid us and are now neither in the mempool nor in the active chain."""
    return [
        row["txid"] for row in tx.all("SELECT txid FROM incoming_tx WHERE in_mempool = 0 AND mined = 0 ORDER BY txid")
    ]


def prevouts_of(tx: Tx, txid: str) -> list[OutPoint]:
    rows = tx.all(
        "SELECT prev_txid, prev_vout FROM incoming_prevout WHERE txid = :txid ORDER BY prev_txid, prev_vout", txid=txid
    )
    return [OutPoint(row["prev_txid"], row["prev_vout"]) for row in rows]


def payments_of(tx: Tx, txid: str) -> set[int]:
    """Numbers of the payments that a transaction pays."""
    rows = tx.all("SELECT DISTINCT payment_number FROM output WHERE txid = :txid", txid=txid)
    return {row["payment_number"] for row in rows}


def _in_active_block(tx: Tx, txid: str) -> bool:
    row = tx.one("SELECT mined FROM incoming_tx WHERE txid = :txid", txid=txid)
    return row is not None and bool(row["mined"])


def _remember(tx: Tx, seen: IncomingTx, *, paid_at: int, now: int) -> set[int]:
    fresh = tx.execute(
        "INSERT INTO incoming_tx (txid, coinbase, first_seen, in_mempool) VALUES (:txid, :coinbase, :now, 0)"
        " ON CONFLICT DO NOTHING",
        txid=seen.txid,
        coinbase=int(seen.coinbase),
        now=now,
    )
    if fresh:
        tx.many(
            "INSERT INTO incoming_prevout (txid, prev_txid, prev_vout) VALUES (:txid, :prev_txid, :prev_vout)"
            " ON CONFLICT DO NOTHING",
            ({"txid": seen.txid, "prev_txid": p.txid, "prev_vout": p.vout} for p in seen.prevouts),
        )
    touched: set[int] = set()
    for output in seen.outputs:
        owner = tx.one("SELECT number FROM payment WHERE script_pubkey = :script", script=output.script_pubkey)
        if owner is None:
            continue  # a script of a payment that was never committed: nobody was shown its address
        touched.add(owner["number"])
        tx.execute(
            "INSERT INTO output (txid, vout, payment_number, value_sat, first_seen, paid_at)"
            " VALUES (:txid, :vout, :number, :value, :now, :paid_at) ON CONFLICT DO NOTHING",
            txid=seen.txid,
            vout=output.vout,
            number=owner["number"],
            value=output.value_sat,
            now=now,
            paid_at=min(now, paid_at),
        )
    return touched


def _replace_conflicts(tx: Tx, newcomer: IncomingTx) -> set[int]:
    """Mark what spends the same coins as the newcomer and is not in a block as replaced by it.

    What was replaced before keeps its first replacer: of three transactions for one coin each hands
    its moment on to the next, and no two of them are counted together.
    """
    touched: set[int] = set()
    for txid in _rivals(tx, newcomer.txid, newcomer.prevouts):
        changed = tx.execute(
            "UPDATE incoming_tx SET in_mempool = 0, replaced_by = :by"
            " WHERE txid = :txid AND mined = 0 AND (in_mempool = 1 OR replaced_by IS NULL)",
            by=newcomer.txid,
            txid=txid,
        )
        if changed:
            touched |= payments_of(tx, txid)
    return touched


def _rivals(tx: Tx, txid: str, prevouts: Iterable[OutPoint]) -> set[str]:
    return {
        row["txid"]
        for prevout in prevouts
        for row in tx.all(
            "SELECT txid FROM incoming_prevout"
            " WHERE prev_txid = :prev_txid AND prev_vout = :prev_vout AND txid <> :txid",
            prev_txid=prevout.txid,
            prev_vout=prevout.vout,
            txid=txid,
        )
    }


def knows(tx: Tx, outpoint: OutPoint) -> bool:
    """Whether an output is recorded."""
    row = tx.one("SELECT 1 AS found FROM output WHERE txid = :txid AND vout = :vout", **outpoint._asdict())
    return row is not None


def record_missed(tx: Tx, mined: IncomingTx, block_hash: str, now: int) -> bool:
    """A payment in a block that we have connected without noticing it: a defect, made good here.

    False when that block is not connected (the chain loop will come to it).
    """
    block = tx.one("SELECT time FROM block WHERE hash = :hash AND active = 1", hash=block_hash)
    if block is None:
        return False
    evaluate(tx, remember_mined(tx, mined, block_hash, block["time"], now), now)
    return True
