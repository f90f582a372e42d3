"""Raw blocks: the header we keep, and the transactions of ours inside.

A full block of 4,700 transactions is looked through in some 7 ms, so blocks are fetched raw (REST
`.bin` or `getblock <hash> 0`) and never as the node's JSON, which costs twenty times that. They are
held against the header's merkle root, which costs some 15 ms more: so the work in the header stands
for every output that is read, and neither a damaged disk nor a lying node can slip one in.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from hashlib import sha256
from operator import eq
from typing import Final

from payments.model import BlockHeader, IncomingTx
from payments.tx import MalformedTransaction, display_hash, is_coinbase, read_size, scan, sha256d

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
    one paid us. One that only spends has `outputs == ()`. Raises `MalformedBlock`, also when these
    are not the transactions of that header. Witnesses are read over: nothing of ours depends on them.
    """
    header = parse_header(raw[:HEADER_SIZE], height)
    found: list[IncomingTx] = []
    txids: list[bytes] = []
    try:
        count, first = read_size(raw, HEADER_SIZE)
        end = scan(raw, first, count, scripts, prevouts, found, txids)
    except MalformedTransaction as error:
        raise MalformedBlock(f"block {header.hash}: {error}") from error
    if not txids:
        raise MalformedBlock(f"block {header.hash} has no transactions: only a header came")
    if end != len(raw):
        raise MalformedBlock(f"block {header.hash}: bytes are left over after the last transaction")
    # Inner hashes of the tree can be given out for transactions of 64 bytes (CVE-2017-12842). A first one
    # that is a coinbase as well would take 2^224 attempts, so this check is enough (Core's IsBlockMutated).
    if not is_coinbase(raw, first):
        raise MalformedBlock(f"block {header.hash}: its first transaction makes no new coins")
    if merkle_root(txids) != raw[36:68]:
        raise MalformedBlock(f"block {header.hash}: its transactions are not those that its header commits to")
    return header, found


def merkle_root(txids: list[bytes]) -> bytes:
    """What a header commits to, from at least one txid in the order of the wire.

    Raises `MalformedBlock` when two neighbours are equal: then a shorter list has the same root
    (CVE-2012-2459), and nobody can tell which one was mined.
    """
    row = txids
    while len(row) > 1:
        left, right = row[::2], row[1::2]
        if any(map(eq, left, right)):
            raise MalformedBlock("transactions are there twice")
        if len(left) > len(right):
            right.append(left[-1])
        row = [sha256(sha256(a + b).digest()).digest() for a, b in zip(left, right, strict=True)]
    return row[0]
