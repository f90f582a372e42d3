"""Transactions and blocks read in the plainest way, one object a field: what the house's parser is held against.

It follows Bitcoin Core's `UnserializeTransaction` (primitives/transaction.h) and shares nothing with `payments`.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

MAX_MONEY = 21_000_000 * 100_000_000
NULL = bytes(32) + b"\xff" * 4
HEADER = 80


class Unreadable(Exception):
    """Core would refuse these bytes."""


class In(NamedTuple):
    prevout: bytes
    script: bytes
    sequence: bytes


class Out(NamedTuple):
    value: int
    script: bytes


@dataclass(frozen=True, slots=True)
class PlainTx:
    version: bytes
    ins: list[In]
    outs: list[Out]
    witness: list[list[bytes]]
    locktime: bytes

    def write(self, *, witness: bool = True) -> bytes:
        """As it travels, or as its txid covers it."""
        body = size(len(self.ins)) + b"".join(i.prevout + vector(i.script) + i.sequence for i in self.ins)
        body += size(len(self.outs)) + b"".join(o.value.to_bytes(8, "little") + vector(o.script) for o in self.outs)
        if witness and self.witness:
            body = b"\x00\x01" + body
            body += b"".join(size(len(stack)) + b"".join(map(vector, stack)) for stack in self.witness)
        return self.version + body + self.locktime

    @property
    def txid(self) -> bytes:
        return twice(self.write(witness=False))

    @property
    def coinbase(self) -> bool:
        return [i.prevout for i in self.ins] == [NULL]

    @property
    def sane(self) -> bool:
        """Whether no output is worth more than all bitcoin: a rule of consensus, not of the format."""
        return all(out.value <= MAX_MONEY for out in self.outs)


class Bytes:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.pos = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.pos:
            raise Unreadable("the end")
        self.pos += count
        return self.data[self.pos - count : self.pos]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def size(self) -> int:
        first = self.number(1)
        if first < 253:
            return first
        width = 1 << (first - 252)
        if (value := self.number(width)) < {2: 253, 4: 1 << 16, 8: 1 << 32}[width]:
            raise Unreadable("too wide")
        return value

    def vector(self) -> bytes:
        return self.take(self.size())

    def ins(self) -> list[In]:
        return [In(self.take(36), self.vector(), self.take(4)) for _ in range(self.size())]

    def outs(self) -> list[Out]:
        return [Out(self.number(8), self.vector()) for _ in range(self.size())]

    def transaction(self) -> PlainTx:
        version, ins, outs, witness = self.take(4), self.ins(), list[Out](), list[list[bytes]]()
        if ins:
            outs = self.outs()
        elif (flag := self.number(1)) != 0:
            ins, outs = self.ins(), self.outs()
            if flag & 1:
                witness = [[self.vector() for _ in range(self.size())] for _ in ins]
                if not any(witness):
                    raise Unreadable("a witness of nothing")
            if flag != 1:
                raise Unreadable("an unknown flag")
        return PlainTx(version, ins, outs, witness, self.take(4))


def read_tx(data: bytes) -> PlainTx:
    """All of `data` as one transaction. Raises `Unreadable`."""
    source = Bytes(data)
    found = source.transaction()
    if source.pos != len(data):
        raise Unreadable("left over")
    return found


def read_block(data: bytes) -> list[PlainTx]:
    """The transactions of a block, which are all of `data` after its header. Raises `Unreadable`."""
    source = Bytes(data)
    source.take(HEADER)
    found = [source.transaction() for _ in range(source.size())]
    if source.pos != len(data):
        raise Unreadable("left over")
    return found


def merkle_root(txids: list[bytes]) -> bytes:
    """From above: the root of the left half and that of the right, which is filled up with its last one."""
    if len(txids) == 1:
        return txids[0]
    half = 1 << ((len(txids) - 1).bit_length() - 1)
    left, right = txids[:half], txids[half:]
    return twice(merkle_root(left) + _padded_root(right, half))


def _padded_root(txids: list[bytes], wanted: int) -> bytes:
    if wanted == 1:
        return txids[0]
    half = wanted // 2
    left = _padded_root(txids[:half], half)
    return twice(left + (_padded_root(txids[half:], half) if len(txids) > half else left))


def twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def size(number: int, width: int = 0) -> bytes:
    """Bitcoin's CompactSize, or in a `width` (2, 4, 8) that is larger than needed."""
    if number < 253 and not width:
        return bytes([number])
    for first, enough in ((253, 2), (254, 4), (255, 8)):
        if number < 1 << (8 * enough) and width <= enough:
            return bytes([first]) + number.to_bytes(enough, "little")
    raise ValueError(f"{number} is no size")


def vector(data: bytes) -> bytes:
    return size(len(data)) + data
