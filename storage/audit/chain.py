"""The blocks and coins that are recorded, against the chain as it was read from the node."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain as joined

from payments.difference import Check, Difference
from payments.model import BlockId, OutPoint
from payments.scanned import ScannedChain, ScannedOutput
from storage.tx import Row, Tx

_REPORT = "nodetill should have recorded it by itself: please report it, with the log around that block."
_BY_HAND = "The database was changed by hand, or this is a defect of nodetill: compare with a backup."

_CONFIRMED = (
    "SELECT o.txid, o.vout, o.value_sat, p.id, p.script_pubkey, b.height, b.hash FROM output o"
    " JOIN block_tx l ON l.txid = o.txid JOIN block b ON b.hash = l.block_hash"
    " JOIN payment p ON p.number = o.payment_number WHERE b.active = 1 AND b.height >= :from"
)


def chain_differences(tx: Tx, scanned: ScannedChain, cursor: BlockId) -> list[Difference]:
    """`scanned` ends at the cursor, or lower where there is nothing to compare above."""
    if not scanned.blocks:
        return []
    return list(joined(_blocks(tx, scanned, cursor), _outputs(tx, scanned), _spent(tx, scanned)))


def _blocks(tx: Tx, scanned: ScannedChain, cursor: BlockId) -> Iterator[Difference]:
    rows = tx.all(
        "SELECT height, hash FROM block WHERE active = 1 AND height >= :from",
        **{"from": scanned.blocks[0].header.height},
    )
    held = {row["height"]: row["hash"] for row in rows}
    for block in scanned.blocks:
        height, there = block.header.height, held.pop(block.header.height, None)
        if there is None:
            text = f"Block {block.header.hash} at height {height} of the node's chain was never processed. {_REPORT}"
            yield Difference(Check.BLOCK, f"block {height}", text)
        elif there != block.header.hash:
            text = f"At height {height} we hold block {there}, the node has {block.header.hash}. {_BY_HAND}"
            yield Difference(Check.BLOCK, f"block {height}", text)
    for height, there in sorted(held.items()):
        text = (
            f"We hold block {there} at height {height}, above the last that was processed ({cursor.height}). {_BY_HAND}"
        )
        yield Difference(Check.BLOCK, f"block {height}", text)


def _outputs(tx: Tx, scanned: ScannedChain) -> Iterator[Difference]:
    recorded: dict[OutPoint, Row] = {}
    for row in tx.all(_CONFIRMED, **{"from": scanned.blocks[0].header.height}):
        recorded[OutPoint(row["txid"], row["vout"])] = row
    for output in scanned.outputs():
        if output.outpoint in recorded:
            yield from _as_recorded(output, recorded.pop(output.outpoint))
        else:
            yield from _missed(tx, output)
    for outpoint, row in sorted(recorded.items()):
        text = (
            f"Output {_name(outpoint)} ({row['value_sat']} sat for payment {row['id']}) is recorded in block "
            f"{row['height']}, and the node's block holds no such output. {_BY_HAND}"
        )
        yield Difference(Check.UNFOUNDED, _name(outpoint), text, row["value_sat"])


def _missed(tx: Tx, output: ScannedOutput) -> Iterator[Difference]:
    """An output of the chain that is not recorded there: not at all, or elsewhere."""
    owner = tx.one("SELECT id FROM payment WHERE script_pubkey = :script", script=output.paid.script_pubkey)
    where = tx.one(
        "SELECT b.height FROM output o JOIN block_tx l ON l.txid = o.txid JOIN block b ON b.hash = l.block_hash"
        " WHERE o.txid = :txid AND o.vout = :vout AND b.active = 1",
        **output.outpoint._asdict(),
    )
    known = tx.one("SELECT 1 AS yes FROM output WHERE txid = :txid AND vout = :vout", **output.outpoint._asdict())
    said = "not recorded" if known is None else "not recorded as confirmed"
    if where is not None:
        said = f"recorded in block {where['height']}"
    whom = f"payment {owner['id']}" if owner else "an address that no payment has any more"
    text = (
        f"Output {_name(output.outpoint)} pays {output.paid.value_sat} sat to {whom} in block {output.block.height} "
        f"and is {said}. {_REPORT}"
    )
    yield Difference(Check.MISSED, _name(output.outpoint), text, output.paid.value_sat)


def _as_recorded(output: ScannedOutput, row: Row) -> Iterator[Difference]:
    name = _name(output.outpoint)
    if row["value_sat"] != output.paid.value_sat:
        text = (
            f"Output {name} is recorded with {row['value_sat']} sat, in the chain it has {output.paid.value_sat} sat. "
            f"{_BY_HAND}"
        )
        yield Difference(Check.OUTPUT, name, text, row["value_sat"] - output.paid.value_sat)
    if row["hash"] != output.block.hash:
        text = (
            f"Output {name} is recorded in block {row['height']}, the chain has it in {output.block.height}. {_BY_HAND}"
        )
        yield Difference(Check.OUTPUT, name, text, output.paid.value_sat)
    if bytes(row["script_pubkey"]) != output.paid.script_pubkey:
        text = f"Output {name} is recorded for payment {row['id']}, and pays another address in the chain. {_BY_HAND}"
        yield Difference(Check.OUTPUT, name, text, output.paid.value_sat)


def _spent(tx: Tx, scanned: ScannedChain) -> Iterator[Difference]:
    """Forwarding mode: our coins are spent by our sweeps, and where the chain says so."""
    spenders = scanned.spenders()
    said = {
        OutPoint(row["txid"], row["vout"]): row
        for row in tx.all(
            "SELECT o.txid, o.vout, o.value_sat, o.spent_by FROM output o JOIN payment p ON p.number = o.payment_number"
            " JOIN block_tx l ON l.txid = o.spent_by JOIN block b ON b.hash = l.block_hash"
            " WHERE p.watch_only = 0 AND b.active = 1 AND b.height >= :from",
            **{"from": scanned.blocks[0].header.height},
        )
    }
    for coin, spender in spenders.items():
        row = tx.one(
            "SELECT o.value_sat, o.spent_by, (SELECT x.sweep_txid FROM sweep_spend x"
            " WHERE x.prev_txid = o.txid AND x.prev_vout = o.vout AND x.sweep_txid = o.spent_by) AS sweep"
            " FROM output o JOIN payment p ON p.number = o.payment_number"
            " WHERE p.watch_only = 0 AND o.txid = :txid AND o.vout = :vout",
            **coin._asdict(),
        )
        if row is None:
            continue  # a payer's coin, or the owner's own business (watch-only)
        if row["spent_by"] != spender:
            said_so = f"spent by {row['spent_by']}" if row["spent_by"] else "unspent"
            text = f"Coin {_name(coin)} was spent by {spender}, and is recorded as {said_so}. {_REPORT}"
            yield Difference(Check.SPENT, _name(coin), text, row["value_sat"])
        elif row["sweep"] != spender:
            text = (
                f"Coin {_name(coin)} ({row['value_sat']} sat) was spent by {spender}, which is no sweep of nodetill. "
                "If that was not you with the words of the seed, somebody else has them: make a new seed now."
            )
            yield Difference(Check.SPENT, _name(coin), text, row["value_sat"])
    for coin, row in said.items():
        if coin not in spenders:
            text = (
                f"Coin {_name(coin)} is recorded as spent by {row['spent_by']}; the chain does not say so. {_BY_HAND}"
            )
            yield Difference(Check.SPENT, _name(coin), text, row["value_sat"])


def _name(outpoint: OutPoint) -> str:
    return f"{outpoint.txid}:{outpoint.vout}"
