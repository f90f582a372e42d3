"""The hand-written parser says what the node says, for whole transactions and for damaged ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.model import OutPoint
from payments.tx import (
    MAX_MONEY,
    MalformedTransaction,
    decode,
    match,
    outpoint_key,
    outpoint_of,
    sha256d,
    wire_hash,
)
from regtest.node import NodeError, RegtestNode, to_sat
from regtest.real_transactions import real_transactions

IN = bytes.fromhex("aa" * 32) + (7).to_bytes(4, "little") + b"\x00" + b"\xff" * 4
OUT = (1000).to_bytes(8, "little") + b"\x01\x51"
VERSION, LOCKTIME = b"\x02\x00\x00\x00", b"\x00\x00\x00\x00"
LEGACY = VERSION + b"\x01" + IN + b"\x01" + OUT + LOCKTIME
SEGWIT = VERSION + b"\x00\x01\x01" + IN + b"\x01" + OUT + b"\x01\x02\xbe\xef" + LOCKTIME
NOTHING_AT_ALL = VERSION + b"\x00\x00" + LOCKTIME


@pytest.fixture(scope="module")
def real(node: RegtestNode) -> list[bytes]:
    return [*real_transactions(node), LEGACY, SEGWIT, NOTHING_AT_ALL]


def node_says(node: RegtestNode, raw: bytes) -> tuple[str, list[tuple[int, int, str]], list[Any]] | None:
    """(txid, outputs, prevouts) of the node, or None where it refuses."""
    try:
        seen = node.rpc("decoderawtransaction", raw.hex(), True)
    except NodeError as error:
        if error.code != -22:
            raise
        return None
    outputs = [(out["n"], to_sat(out["value"]), out["scriptPubKey"]["hex"]) for out in seen["vout"]]
    if any(not 0 <= value <= MAX_MONEY for _, value, _ in outputs):
        return None  # it prints them, and refuses them as soon as they matter
    prevouts = [None if "coinbase" in coin else OutPoint(coin["txid"], coin["vout"]) for coin in seen["vin"]]
    return seen["txid"], outputs, prevouts


def assert_same(node: RegtestNode, raw: bytes) -> bool:
    expected = node_says(node, raw)
    if expected is None:
        with pytest.raises(MalformedTransaction):
            decode(raw)
        return False
    txid, outputs, prevouts = expected
    tx = decode(raw)
    assert tx.txid == txid
    assert [(out.vout, out.value_sat, out.script_pubkey.hex()) for out in tx.outputs] == outputs
    assert tx.coinbase == (prevouts == [None])
    if None not in prevouts:
        assert list(tx.prevouts) == prevouts
    # The quick way and the careful way must agree, hit or miss.
    assert match(raw, {}, set()) is None
    scripts = {out.script_pubkey: 1 for out in tx.outputs}
    assert match(raw, scripts, set()) == (tx if tx.outputs else None)
    keys = {outpoint_key(prevout) for prevout in tx.prevouts}
    assert match(raw, {}, keys) == (tx._replace(outputs=()) if keys else None)
    return True


def test_real_transactions_are_read_as_the_node_reads_them(node: RegtestNode, real: list[bytes]) -> None:
    assert all([assert_same(node, raw) for raw in real])
    assert sum(decode(raw).coinbase for raw in real) == 1


def test_every_truncation_is_refused(real: list[bytes]) -> None:
    for raw in real:
        every_script = {out.script_pubkey: 1 for out in decode(raw).outputs}
        for size in range(len(raw)):
            for scripts in ({}, every_script):
                with pytest.raises(MalformedTransaction, match="cut short"):
                    match(raw[:size], scripts, set())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        LEGACY + b"\x00",
        NOTHING_AT_ALL + b"\x00",
        VERSION + b"\x00\x01\x01" + IN + b"\x01" + OUT + b"\x00" + LOCKTIME,  # empty witness
        VERSION + b"\x00\x02\x01" + IN + b"\x01" + OUT + LOCKTIME,  # unknown flag
        VERSION + b"\x00\x03\x01" + IN + b"\x01" + OUT + b"\x01\x01\x00" + LOCKTIME,
        VERSION + b"\x00\x01\x00\x00" + LOCKTIME,  # the marker, and then no inputs either
        VERSION + b"\xfd\x01\x00" + IN + b"\x01" + OUT + LOCKTIME,  # 1 written with three bytes
        VERSION + b"\x01" + IN + b"\xfe\x01\x00\x00\x00" + OUT + LOCKTIME,
        VERSION + b"\xff" + b"\xff" * 8 + IN,
        VERSION + b"\x01" + IN + b"\xff" + b"\xff" * 8 + OUT + LOCKTIME,
    ],
)
def test_what_is_not_one_transaction_is_refused(node: RegtestNode, raw: bytes) -> None:
    if raw:
        assert not assert_same(node, raw)
    for scripts in ({}, {b"\x51": 1}):
        with pytest.raises(MalformedTransaction):
            match(raw, scripts, set())


def test_long_sizes_are_read(node: RegtestNode) -> None:
    long_in = IN[:36] + b"\xfd\x2c\x01" + b"\x00" * 300 + b"\xff" * 4
    long_out = (5).to_bytes(8, "little") + b"\xfd\xfd\x00" + b"\x6a" * 253
    raw = VERSION + b"\x00\x01\xfd\xfd\x00" + long_in * 253 + b"\xfd\x2c\x01" + long_out * 300
    raw += b"\xfd\x00\x01" + b"\x00" * 255 + b"\xfd\x00\x01" + b"\xee" * 256 + b"\x00" * 252 + LOCKTIME
    assert assert_same(node, raw)
    tx = decode(raw)
    assert (len(tx.prevouts), len(tx.outputs)) == (253, 300)


def test_only_our_outputs_come_back_with_their_places() -> None:
    outs = b"".join((sat).to_bytes(8, "little") + b"\x01" + script for sat, script in [(1, b"a"), (2, b"b"), (3, b"a")])
    raw = VERSION + b"\x01" + IN + b"\x03" + outs + LOCKTIME
    tx = match(raw, {b"a": 9}, set())
    assert tx is not None
    assert [(out.vout, out.value_sat) for out in tx.outputs] == [(0, 1), (2, 3)]
    assert tx.prevouts == (OutPoint("aa" * 32, 7),)
    assert tx.txid == sha256d(raw)[::-1].hex()


def test_more_than_all_bitcoin_is_refused_when_it_would_be_ours() -> None:
    for value in (MAX_MONEY + 1, 2**64 - 1):
        raw = VERSION + b"\x01" + IN + b"\x01" + value.to_bytes(8, "little") + b"\x01\x51" + LOCKTIME
        with pytest.raises(MalformedTransaction, match="more than all bitcoin"):
            match(raw, {b"\x51": 1}, set())


@given(txid=st.binary(min_size=32, max_size=32).map(bytes.hex), vout=st.integers(0, 2**32 - 1))
def test_outpoints_go_there_and_back(txid: str, vout: int) -> None:
    outpoint = OutPoint(txid, vout)
    key = outpoint_key(outpoint)
    assert len(key) == 36
    assert key[:32] == bytes.fromhex(txid)[::-1]
    assert outpoint_of(key) == outpoint


def test_short_hashes_and_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        wire_hash("ab")
    with pytest.raises(ValueError, match="36 bytes"):
        outpoint_of(b"ab")
