"""The properties that atheris tries for hours, tried a moment at each test run; and that reading takes linear time."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments.block import MalformedBlock, match_block
from payments.tx import MalformedTransaction, decode, match, scan
from tests.fuzz.parse_tx import SEEDS, one_input
from tests.fuzz.plain import NULL, merkle_root, read_block, size, twice, vector
from tests.fuzz.properties import check_block, check_transaction
from tests.fuzz.shapes import IN, LOCKTIME, OUT, VERSION, damaged, transactions

COINBASE = VERSION + b"\x01" + NULL + b"\x04miner"[:5] + b"\xff" * 4 + b"\x01" + OUT + LOCKTIME
often = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def block_of(*raws: bytes) -> bytes:
    """A block of these transactions, with their merkle root and without work."""
    raw = bytes(80) + size(len(raws)) + b"".join(raws)
    return raw[:36] + merkle_root([tx.txid for tx in read_block(raw)]) + raw[68:]


@often
@given(raw=transactions())
def test_any_shape(raw: bytes) -> None:
    check_transaction(raw)
    check_block(bytes(80) + b"\x02" + COINBASE + raw)


@often
@given(seed=st.integers(0, 2**32))
def test_any_damage(seed: int) -> None:
    random = Random(seed)
    for _ in range(5):
        check_transaction(damaged(SEEDS, random))
        check_block(damaged([block_of(COINBASE, *random.sample(SEEDS, 3))], random))


@often
@given(data=st.binary(max_size=300))
def test_any_bytes_as_atheris_gives_them(data: bytes) -> None:
    one_input(data)


def test_what_the_fuzzer_begins_with_is_read() -> None:
    assert all([check_transaction(raw) for raw in SEEDS])
    for raw in SEEDS:
        one_input(b"\x00" + raw)
        assert check_block(block_of(COINBASE, raw))
    assert check_block(block_of(COINBASE))
    assert check_block(block_of(COINBASE, *SEEDS))


def test_a_block_is_that_of_its_header() -> None:
    """Not one bit of what a txid covers can be another."""
    raw = block_of(COINBASE, *(VERSION + size(1) + IN + size(1) + OUT + bytes([n, 0, 0, 0]) for n in range(6)))
    assert match_block(raw, 1, {b"\x51": 1}, set())[1][0].coinbase
    for place in range(36, len(raw)):
        if not 68 <= place < 80:
            with pytest.raises(MalformedBlock):
                match_block(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :], 1, {}, set())


def test_transactions_given_twice_are_refused() -> None:
    """CVE-2012-2459: with the last ones once more the root is the same."""
    raws = [VERSION + size(1) + IN + size(1) + OUT + bytes([n, 0, 0, 0]) for n in range(5)]
    for honest, more in (((COINBASE, *raws[:2]), raws[1:2]), ((COINBASE, *raws), raws[3:5])):
        whole, longer = block_of(*honest), block_of(*honest, *more)
        assert whole[36:68] == longer[36:68]
        match_block(whole, 1, {}, set())
        with pytest.raises(MalformedBlock, match="twice"):
            match_block(longer, 1, {}, set())


def test_inner_hashes_are_no_transactions() -> None:
    """CVE-2017-12842: 64 bytes may be a transaction and two hashes of the tree at the same time.

    Here they are the two txids of a block: whoever leaves out its transactions and shows these bytes instead
    has the right root. That this one begins like a coinbase as well is what nobody can find."""
    inner = VERSION + b"\x01" + bytes(36) + b"\x04abcd" + bytes(4) + b"\x01" + bytes(8) + b"\x00" + LOCKTIME
    assert len(inner) == 64
    decode(inner)
    header = bytes(36) + twice(inner) + bytes(12)  # the root of two transactions with these txids
    with pytest.raises(MalformedBlock, match="makes no new coins"):
        match_block(header + b"\x01" + inner, 1, {}, set())


def test_an_equal_size_written_longer_is_another_block() -> None:
    raw = block_of(COINBASE, SEEDS[0])
    for width in (2, 4, 8):
        with pytest.raises(MalformedBlock, match="longer than needed"):
            match_block(raw[:80] + size(2, width) + raw[81:], 1, {}, set())


@pytest.mark.parametrize(("number", "wider"), [(252, 2), (253, 4), (65_535, 4), (65_536, 8)])
def test_where_sizes_grow(number: int, wider: int) -> None:
    for width in (0, wider):
        count = size(number, width)
        raws = [
            VERSION + size(1) + IN[:36] + count + b"\x51" * number + IN[37:] + size(1) + OUT + LOCKTIME,
            VERSION + size(1) + IN + size(1) + OUT[:8] + count + b"\x51" * number + LOCKTIME,
            VERSION + b"\x00\x01" + size(1) + IN + size(1) + OUT + count + b"\x01w" * number + LOCKTIME,
        ]
        if number < 1000:
            raws.append(VERSION + count + IN * number + size(1) + OUT + LOCKTIME)
            raws.append(VERSION + size(1) + IN + count + OUT * number + LOCKTIME)
        assert [check_transaction(raw) for raw in raws] == [not width] * len(raws)


# ------------------------------------------------------------------ time


def many_inputs(count: int) -> bytes:
    return VERSION + size(count) + IN * count + b"\x01" + OUT + LOCKTIME


def many_outputs(count: int) -> bytes:
    return VERSION + b"\x01" + IN + size(count) + OUT * count + LOCKTIME


def many_items(count: int) -> bytes:
    return VERSION + b"\x00\x01\x01" + IN + b"\x01" + OUT + size(count) + b"\x00" * count + LOCKTIME


def many_pushes(count: int) -> bytes:
    return VERSION + b"\x01" + IN + b"\x01" + bytes(8) + vector(b"\x51" * count) + LOCKTIME


def a_long_witness(count: int) -> bytes:
    return VERSION + b"\x00\x01\x01" + IN + b"\x01" + OUT + b"\x01" + vector(bytes(count)) + LOCKTIME


@pytest.mark.parametrize(
    ("made", "largest"),
    [
        (many_inputs, 96_000),
        (many_outputs, 400_000),
        (many_items, 4_000_000),
        (many_pushes, 4_000_000),
        (a_long_witness, 4_000_000),
    ],
)
def test_four_megabytes_take_linear_time(made: Callable[[int], bytes], largest: int) -> None:
    """As a hint of somebody's or of ours, and alone in a block."""

    def took(raw: bytes, times: int) -> float:
        txids: list[bytes] = []
        scan(raw, 0, 1, {}, set(), [], txids)
        block = bytes(36) + merkle_root([twice(COINBASE), *txids]) + bytes(12) + b"\x02" + COINBASE + raw
        best = float("inf")
        for _ in range(times):
            began = time.process_time()
            match(raw, {OUT[9:]: 1}, set())
            match_block(block, 1, {}, set())
            with pytest.raises(MalformedTransaction):
                match(raw[:-5], {}, set())
            best = min(best, time.process_time() - began)
        return best

    small, large = took(made(largest // 16), 3), took(raw := made(largest), 1)
    assert 3_900_000 < len(raw) < 4_200_000
    assert large < 16 * 4 * max(small, 0.002)


@pytest.mark.parametrize("count", [0x0200_0000, 2**32, 2**63, 2**64 - 1])
def test_a_promise_is_not_believed(count: int) -> None:
    """Counts beyond the bytes that came cost nothing."""
    began = time.process_time()
    for raw in (
        VERSION + size(count) + IN * 3,
        VERSION + b"\x01" + IN + size(count) + OUT * 3,
        VERSION + b"\x00\x01\x01" + IN + b"\x01" + OUT + size(count) + b"\x00" * 3,
        VERSION + b"\x01" + IN[:36] + size(count) + b"\x00" * 30,
    ):
        assert not check_transaction(raw)
        assert not check_block(bytes(80) + b"\x01" + raw)
    assert not check_block(bytes(80) + size(count) + COINBASE)
    assert time.process_time() - began < 1
