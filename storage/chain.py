"""The chain as far as we have processed it: a cursor and the blocks behind it."""

from __future__ import annotations

from collections.abc import Sequence

from payments.model import BlockHeader, BlockId, IncomingTx
from storage.errors import CursorMoved
from storage.evaluation import Change, evaluate
from storage.incoming import remember_mined
from storage.tx import Tx


def cursor(tx: Tx) -> BlockId | None:
    """The last block that was processed, or None before the first start."""
    row = tx.one("SELECT cursor_height, cursor_hash FROM till WHERE only_row = 1")
    if row is None or row["cursor_hash"] is None:
        return None
    return BlockId(row["cursor_height"], row["cursor_hash"])


def begin_at(tx: Tx, block: BlockId) -> None:
    """Set the first cursor: nothing up to it can concern us, because no address existed yet."""
    tx.execute(
        "UPDATE till SET cursor_height = :height, cursor_hash = :hash, birth_height = :height"
        " WHERE only_row = 1 AND cursor_hash IS NULL",
        height=block.height,
        hash=block.hash,
    )


def connect(tx: Tx, header: BlockHeader, mined: Sequence[IncomingTx], now: int) -> list[Change]:
    """Connect the block above the cursor: its transactions of ours, the cursor and every threshold
    of confirmations that it crosses, in one transaction. Raises `CursorMoved` when it does not follow."""
    _expect(tx, BlockId(header.height - 1, header.prev_hash))
    tx.execute(
        "INSERT INTO block (hash, height, prev_hash, time, active) VALUES (:hash, :height, :prev, :time, 1)"
        " ON CONFLICT (hash) DO UPDATE SET active = 1",
        hash=header.hash,
        height=header.height,
        prev=header.prev_hash,
        time=header.time,
    )
    _move(tx, header.id)
    touched: set[int] = set()
    for transaction in mined:
        touched |= remember_mined(tx, transaction, header.hash, header.time, now)
    rows = tx.all("SELECT number FROM payment WHERE wake_height <= :height", height=header.height)
    return evaluate(tx, touched | {row["number"] for row in rows}, now)


def disconnect(tx: Tx, block: BlockId, parent_hash: str) -> None:
    """Step back from a stale block: flip its row, move the cursor to its parent.

    Its payments are judged only when the tip is reached again (`ledger.settle`): in most
    reorganisations the same transactions are in the new branch. They are taken to be back in the
    mempool until the mempool pass says otherwise.
    """
    _expect(tx, block)
    tx.execute("UPDATE block SET active = 0 WHERE hash = :hash", hash=block.hash)
    tx.execute(
        "UPDATE incoming_tx SET mined = 0, in_mempool = 1 - coinbase"
        " WHERE txid IN (SELECT txid FROM block_tx WHERE block_hash = :hash)",
        hash=block.hash,
    )
    tx.execute(
        "UPDATE payment SET unsettled = 1 WHERE number IN (SELECT o.payment_number FROM output o"
        " JOIN block_tx l ON l.txid = o.spent_by WHERE l.block_hash = :hash"
        " AND NOT EXISTS (SELECT 1 FROM sweep s WHERE s.txid = o.spent_by)) AND watch_only = 0",
        hash=block.hash,
    )
    tx.execute(
        "UPDATE output SET spent_by = NULL WHERE spent_by IN (SELECT txid FROM block_tx WHERE block_hash = :hash)",
        hash=block.hash,
    )
    tx.execute(
        "UPDATE sweep SET state = 'broadcast' WHERE state = 'confirmed'"
        " AND txid IN (SELECT txid FROM block_tx WHERE block_hash = :hash)",
        hash=block.hash,
    )
    tx.execute(
        "UPDATE payment SET unsettled = 1 WHERE number IN (SELECT o.payment_number FROM output o"
        " JOIN block_tx l ON l.txid = o.txid WHERE l.block_hash = :hash)",
        hash=block.hash,
    )
    _move(tx, BlockId(block.height - 1, parent_hash))
    # Below where we began, what lies above the new cursor has not been looked at.
    tx.execute("UPDATE till SET birth_height = :height WHERE birth_height > :height", height=block.height - 1)


def _expect(tx: Tx, wanted: BlockId) -> None:
    if (there := cursor(tx)) != wanted:
        raise CursorMoved(f"the cursor is at {there}, not at {wanted}")


def _move(tx: Tx, block: BlockId) -> None:
    tx.execute(
        "UPDATE till SET cursor_height = :height, cursor_hash = :hash WHERE only_row = 1",
        height=block.height,
        hash=block.hash,
    )


def paid_in(tx: Tx, txid: str) -> str | None:
    """Hash of the block of the active chain that holds a transaction which paid us."""
    row = tx.one(
        "SELECT b.hash FROM block_tx l JOIN block b ON b.hash = l.block_hash WHERE l.txid = :txid AND b.active = 1",
        txid=txid,
    )
    return None if row is None else str(row["hash"])


def first_payment_at(tx: Tx) -> int | None:
    """When the oldest payment was created, in milliseconds; None while there is none."""
    row = tx.one("SELECT min(created_at) AS first FROM payment")
    return None if row is None else row["first"]


def parent_hash(tx: Tx, block_hash: str) -> str | None:
    """Hash of the block below one that we connected; None for one that we never did."""
    row = tx.one("SELECT prev_hash FROM block WHERE hash = :hash", hash=block_hash)
    return None if row is None else str(row["prev_hash"])


def active_hash(tx: Tx, height: int) -> str | None:
    """Hash of the block that we hold to be active at a height."""
    row = tx.one("SELECT hash FROM block WHERE height = :height AND active = 1", height=height)
    return None if row is None else str(row["hash"])
