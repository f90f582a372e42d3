"""What holds for any bytes at all. Hypothesis runs it with every test run, atheris for as long as you like."""

from __future__ import annotations

from payments.block import MalformedBlock, match_block
from payments.model import IncomingTx
from payments.tx import MalformedTransaction, decode, display_hash, match, outpoint_key
from tests.fuzz import plain


def check_transaction(data: bytes) -> bool:
    """The parser reads what the plain way reads, and refuses the rest in its own words. Returns whether it was read."""
    try:
        expected = plain.read_tx(data)
    except plain.Unreadable:
        for scripts in ({}, {b"": 1}):
            _refused(data, scripts)
        return False
    assert expected.write() == data
    everything = {out.script: 1 for out in expected.outs}
    assert match(data, {}, set()) is None
    if not expected.sane:
        _refused(data, everything)
        return False
    tx = decode(data)
    _same(tx, expected)
    assert match(data, everything, set()) == (tx if tx.outputs else None)
    for script in list(everything)[:3]:
        some = match(data, {script: 1}, set())
        assert some is not None
        assert some.outputs == tuple(out for out in tx.outputs if out.script_pubkey == script)
    keys = {outpoint_key(prevout) for prevout in tx.prevouts}
    assert match(data, {}, keys) == (tx._replace(outputs=()) if keys else None)
    return True


def check_block(data: bytes) -> bool:
    """The same for a block. Where only the merkle root is wrong, with the right one, too."""
    try:
        expected = plain.read_block(data)
    except plain.Unreadable:
        expected = []
    txids = [tx.txid for tx in expected]
    if not expected or not expected[0].coinbase:
        _no_block(data)
        return False
    if len(set(txids)) != len(txids):
        return False  # refused where a shorter list has the same root, which is a matter of the list alone
    root = plain.merkle_root(txids)
    if data[36:68] != root:
        _no_block(data)
        data = data[:36] + root + data[68:]
    everything = {out.script: 1 for tx in expected for out in tx.outs}
    if not all(tx.sane for tx in expected):
        _no_block(data, everything)
        return False
    header, found = match_block(data, 1, everything, set())
    assert header.hash == display_hash(plain.twice(data[:80]))
    assert match_block(data, 1, {}, set()) == (header, [])
    by_txid = {tx.txid: tx for tx in found}
    for one in expected:
        if one.outs:
            _same(by_txid.pop(display_hash(one.txid)), one)
    assert not any(tx.outputs for tx in by_txid.values())
    return True


def _same(tx: IncomingTx, expected: plain.PlainTx) -> None:
    assert tx.txid == display_hash(expected.txid)
    assert [(out.vout, out.value_sat, out.script_pubkey) for out in tx.outputs] == [
        (vout, out.value, out.script) for vout, out in enumerate(expected.outs)
    ]
    assert tx.coinbase == expected.coinbase
    spent = [] if expected.coinbase else [one.prevout for one in expected.ins]
    assert [outpoint_key(prevout) for prevout in tx.prevouts] == spent


def _refused(data: bytes, scripts: dict[bytes, int]) -> None:
    try:
        found = match(data, scripts, set())
    except MalformedTransaction:
        return
    raise AssertionError(f"read as {found}, and it is none: {data.hex()}")


def _no_block(data: bytes, scripts: dict[bytes, int] | None = None) -> None:
    try:
        found = match_block(data, 1, scripts or {}, set())
    except MalformedBlock:
        return
    raise AssertionError(f"read as {found}, and it is none: {data.hex()}")
