"""What a block header must prove before anything of its block is believed.

A node that follows other rules answers the same questions with the same names. What it cannot do is
make a header of 80 bytes that hashes below its target and stands on the block we had: that is work.
Sources: Bitcoin Core's `pow.cpp` (`DeriveTarget`, `CheckProofOfWork`), `arith_uint256.cpp`
(`SetCompact`), `primitives/block.h` (the order of the fields).
"""

from __future__ import annotations

from typing import Final

from payments.block import HEADER_SIZE, parse_header
from payments.model import BlockHeader, BlockId

NO_PARENT: Final = "00" * 32
"""What the first block of a chain names as its parent."""

_BITS: Final = slice(72, 76)
_MANTISSA: Final = 0x007FFFFF
_SIGN: Final = 0x00800000


class BadHeader(ValueError):
    """This header is not the one that was asked for, or no work stands behind it."""


def target_of(bits: int) -> int:
    """nBits, a floating number of 32 bits, as the target that a hash must not exceed.

    The top byte is the length in bytes, the other three are the first of them. Raises `BadHeader` for
    what Core refuses: zero, negative (the highest bit of the three) and more than 256 bits.
    """
    length, mantissa = bits >> 24, bits & _MANTISSA
    target = mantissa >> 8 * (3 - length) if length <= 3 else mantissa << 8 * (length - 3)
    if target == 0:
        raise BadHeader(f"nBits {bits:08x} is a target of zero")
    if bits & _SIGN:
        raise BadHeader(f"nBits {bits:08x} is a negative target")
    if target >= 1 << 256:
        raise BadHeader(f"nBits {bits:08x} is a target of more than 256 bits")
    return target


def check_header(raw: bytes, block: BlockId, *, easiest_bits: int, parent: str | None = None) -> BlockHeader:
    """The header of `block`, when these bytes are it and carry their work. Raises `BadHeader`.

    They must be exactly 80, their double SHA-256 the hash that was asked for and not above the target
    that they name, that target not above the one of `easiest_bits` (the network's floor), and their
    parent `parent`, unless that is not known.
    """
    if len(raw) != HEADER_SIZE:
        raise BadHeader(f"its header has {len(raw)} bytes, one of Bitcoin has {HEADER_SIZE}")
    header = parse_header(raw, block.height)
    if header.hash != block.hash:
        raise BadHeader("its header does not have that hash (double SHA-256)")
    target = target_of(bits := int.from_bytes(raw[_BITS], "little"))
    if target > target_of(easiest_bits):
        raise BadHeader(f"its difficulty is below the network's (nBits {bits:08x}, the easiest is {easiest_bits:08x})")
    if int(header.hash, 16) > target:
        raise BadHeader(f"its hash is above the target that it names (nBits {bits:08x})")
    if parent is not None and header.prev_hash != parent:
        raise BadHeader(f"it stands on {header.prev_hash}, not on {parent}")
    return header
