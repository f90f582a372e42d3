"""Raw blocks: the header we keep, and the transactions of ours inside.

A full block of 4,700 transactions is looked through in some 7 ms, so blocks are fetched raw (REST
`.bin` or `getblock <hash> 0`) and never as the node's JSON, which costs twenty times that.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

from payments.model import BlockHeader, IncomingTx
from payments.tx import MalformedTransaction, display_hash, scan, sha256d

HEADER_SIZE: Final = 80
"""Bytes of a Bitcoin block header (version, parent, merkle root, time, bits, nonce)."""


class MalformedBlock(ValueError):
    """These bytes are not one whole Bitcoin block."""


def parse_header(raw: bytes, height: int) -> BlockHeader:
    """The 80 bytes of a header. The hash is computed from them, not believed.

    Compare it with the hash that was asked for: a node that follows another coin's rules
    serves headers whose hash is not their double SHA-256. Raises `MalformedBlock`.
    """
    if len(raw) != HEADER_SIZE:
        raise MalformedBlock(f"a block header has {HEADER_SIZE} bytes, this has {len(raw)}")
    return BlockHeader(
        height=height,
        hash=display_hash(sha256d(raw)),
        prev_hash=display_hash(raw[4:36]),
        time=int.from_bytes(raw[68:72], "little") * 1000,
    )


def match_block(
    raw: bytes, height: int, scripts: Mapping[bytes, int], prevouts: Container[bytes]
) -> tuple[BlockHeader, list[IncomingTx]]:
    """Header and our transactions of one raw block, in block order.

    Ours are those that pay a script of `scripts` or spend a key of `prevouts` (36 bytes, see
    `payments.tx.outpoint_key`), as well as those that spend, in this same block, what another
    one paid us. One that only spends has `outputs == ()`. Raises `MalformedBlock`.
    """
    header = parse_header(raw[:HEADER_SIZE], height)
    count, pos = _count(raw)
    found: list[IncomingTx] = []
    try:
        end = scan(raw, pos, count, scripts, prevouts, found)
    except MalformedTransaction as error:
        raise MalformedBlock(f"block {header.hash}: {error}") from error
    if end != len(raw):
        raise MalformedBlock(f"block {header.hash}: bytes are left over after the last transaction")
    return header, found


def _count(raw: bytes) -> tuple[int, int]:
    """Number of transactions, and where the first begins."""
    first = raw[HEADER_SIZE : HEADER_SIZE + 1]
    if not first or first == b"\x00":
        raise MalformedBlock("a block without transactions: only a header came")
    if first[0] < 253:
        return first[0], HEADER_SIZE + 1
    width = {253: 2, 254: 4, 255: 8}[first[0]]
    start = HEADER_SIZE + 1
    return int.from_bytes(raw[start : start + width], "little"), start + width
