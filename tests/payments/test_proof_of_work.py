"""Headers of the real networks, and everything that can be wrong with one."""

from __future__ import annotations

import contextlib
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_watcher.chain_rules import rules_of
from payments.model import BlockId
from payments.proof_of_work import NO_PARENT, BadHeader, check_header, target_of
from regtest.node import RegtestNode

_COINBASE = "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
_COINBASE_4 = "4e7b2b9128fe0291db0693af2ae418b767e657cd407e80cb1434221eaea7a07a"

# As `getblockheader <hash> false` of a node of each network gives them.
GENESIS = {
    "main": (
        f"01000000{NO_PARENT}{_COINBASE}29ab5f49ffff001d1dac2b7c",
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
        0x1D00FFFF,
    ),
    "testnet4": (
        f"01000000{NO_PARENT}{_COINBASE_4}046f3566ffff001dbb0c7817",
        "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
        0x1D00FFFF,
    ),
    "signet": (
        f"01000000{NO_PARENT}{_COINBASE}008f4d5fae77031e8ad22203",
        "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
        0x1E0377AE,
    ),
    "regtest": (
        f"01000000{NO_PARENT}{_COINBASE}dae5494dffff7f2002000000",
        "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
        0x207FFFFF,
    ),
}
MAIN = bytes.fromhex(GENESIS["main"][0])
MAIN_ID = BlockId(0, GENESIS["main"][1])
EASY = 0x207FFFFF


def named(raw: bytes, height: int = 1) -> BlockId:
    """The block that these bytes are the header of, work or not."""
    return BlockId(height, sha256(sha256(raw).digest()).digest()[::-1].hex())


def with_bits(bits: int, raw: bytes = MAIN) -> bytes:
    return raw[:72] + bits.to_bytes(4, "little") + raw[76:]


# ------------------------------------------------------------------ headers


@pytest.mark.parametrize("network", GENESIS)
def test_the_first_block_of_each_network(network: str) -> None:
    raw, block_hash, limit = GENESIS[network]
    header = check_header(bytes.fromhex(raw), BlockId(0, block_hash), easiest_bits=limit, parent=NO_PARENT)
    assert (header.hash, header.height, header.prev_hash) == (block_hash, 0, NO_PARENT)


def test_the_second_block_of_main_stands_on_the_first() -> None:
    raw = bytes.fromhex(
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee14677ba1"
        "a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299"
    )
    block = BlockId(1, "00000000839a8e6886ab5951d76f411475428afc90947ee320161bbf18eb6048")
    assert check_header(raw, block, easiest_bits=0x1D00FFFF, parent=MAIN_ID.hash).id == block
    with pytest.raises(BadHeader, match="difficulty"):
        check_header(raw, block, easiest_bits=rules_of("main").easiest_bits)


def test_blocks_of_a_real_node_stand_on_one_another(node: RegtestNode) -> None:
    parent = NO_PARENT
    for height in range(12):
        block = BlockId(height, node.rpc("getblockhash", height))
        raw = bytes.fromhex(node.rpc("getblockheader", block.hash, False))
        header = check_header(raw, block, easiest_bits=EASY, parent=parent)
        assert header.time == node.rpc("getblockheader", block.hash)["time"] * 1000
        with pytest.raises(BadHeader, match="stands on"):
            check_header(raw, block, easiest_bits=EASY, parent="ab" * 32)
        parent = header.hash


@given(st.integers(0, 8 * 80 - 1))
def test_one_wrong_bit_is_noticed(position: int) -> None:
    changed = bytearray(MAIN)
    changed[position // 8] ^= 1 << position % 8
    with pytest.raises(BadHeader, match="does not have that hash"):
        check_header(bytes(changed), MAIN_ID, easiest_bits=EASY)


@given(st.integers(0, 8 * 80 - 1).filter(lambda position: not 72 * 8 <= position < 76 * 8))
def test_a_header_that_is_changed_has_lost_its_work(position: int) -> None:
    """Also for somebody who asks for the hash that it has now."""
    changed = bytearray(MAIN)
    changed[position // 8] ^= 1 << position % 8
    with pytest.raises(BadHeader, match="above the target"):
        check_header(bytes(changed), named(bytes(changed)), easiest_bits=EASY)


@pytest.mark.parametrize("size", [0, 79, 81, 164])
def test_eighty_bytes_and_no_others(size: int) -> None:
    with pytest.raises(BadHeader, match=f"has {size} bytes"):
        check_header((MAIN + bytes(84))[:size], MAIN_ID, easiest_bits=EASY)


def test_a_floor_below_which_work_does_not_count() -> None:
    assert check_header(MAIN, MAIN_ID, easiest_bits=0x1D00FFFF)
    with pytest.raises(BadHeader, match="difficulty is below"):
        check_header(MAIN, MAIN_ID, easiest_bits=0x1D00FFFE)


@given(st.integers(0, 2**32 - 1))
def test_work_that_is_only_claimed(bits: int) -> None:
    """Whatever a header of no work says of its target: too easy, impossible, or missed."""
    raw = with_bits(bits)
    with pytest.raises(BadHeader):
        check_header(raw, named(raw), easiest_bits=0x1D00FFFF if bits != 0x1D00FFFF else 0x1C7FFFFF)


# ------------------------------------------------------------------ nBits


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x01123456, 0x12),
        (0x02123456, 0x1234),
        (0x03123456, 0x123456),
        (0x04123456, 0x12345600),
        (0x05009234, 0x92340000),
        (0x1D00FFFF, 0xFFFF << 208),
        (0x17034219, 0x034219 << 160),  # block 840,000 of main
        (0x20123456, 0x123456 << 232),
        (0x2100FFFF, 0xFFFF << 240),
        (0x220000FF, 0xFF << 248),
    ],
)
def test_targets(bits: int, target: int) -> None:
    assert target_of(bits) == target


@pytest.mark.parametrize(
    ("bits", "why"),
    [
        (0x00000000, "zero"),
        (0x00123456, "zero"),
        (0x01003456, "zero"),
        (0x02000056, "zero"),
        (0x03000000, "zero"),
        (0x04000000, "zero"),
        (0xFF000000, "zero"),
        (0x00923456, "zero"),  # its sign does not matter
        (0x01FEDCBA, "negative"),
        (0x04923456, "negative"),
        (0x1D80FFFF, "negative"),
        (0x21010000, "256 bits"),
        (0x22000100, "256 bits"),
        (0x23000001, "256 bits"),
        (0xFF123456, "256 bits"),
    ],
)
def test_targets_that_core_refuses(bits: int, why: str) -> None:
    with pytest.raises(BadHeader, match=why):
        target_of(bits)


@given(st.integers(1, 2**256 - 1))
def test_any_target_is_read_back_as_near_as_nbits_can_say_it(target: int) -> None:
    """Compact form as Core's GetCompact writes it: three bytes, the highest bit of them left free."""
    length = (target.bit_length() + 7) // 8
    mantissa = target >> 8 * (length - 3) if length >= 3 else target << 8 * (3 - length)
    if mantissa & 0x800000:
        mantissa, length = mantissa >> 8, length + 1
    seen = target_of(length << 24 | mantissa)
    lost = max(0, 8 * (length - 3))
    assert seen == target >> lost << lost


@given(st.integers(0, 2**32 - 1))
def test_a_target_is_a_positive_number_of_256_bits_or_refused(bits: int) -> None:
    with contextlib.suppress(BadHeader):
        assert 0 < target_of(bits) < 2**256
