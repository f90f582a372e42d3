"""Transactions and blocks of the simulated chain, written and read as bytes without the house's own parsers."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from payments.model import OutPoint

REGTEST_BITS = 0x207FFFFF
_NULL = OutPoint("00" * 32, 0xFFFFFFFF)


class Out(NamedTuple):
    """An output: satoshi and script."""

    value_sat: int
    script: bytes


class Unspent(NamedTuple):
    """An output that the chain has and nobody spent. `height` is that of its block."""

    out: Out
    height: int
    coinbase: bool


@dataclass(frozen=True, slots=True)
class Tx:
    """A transaction as it travels. `fee_sat` is what its maker meant it to leave to the miner."""

    txid: str
    ins: tuple[OutPoint, ...]
    outs: tuple[Out, ...]
    raw: bytes
    fee_sat: int = 0

    @property
    def coinbase(self) -> bool:
        return self.ins == (_NULL,)

    def outpoint(self, vout: int) -> OutPoint:
        return OutPoint(self.txid, vout)


@dataclass(slots=True, eq=False)
class Block:
    """A block of the tree, with the unspent outputs after it and where each transaction below it stands."""

    height: int
    hash: str
    parent: Block | None
    time: int
    """Seconds, as in the header."""
    txs: tuple[Tx, ...]
    raw: bytes
    unspent: dict[OutPoint, Unspent] = field(repr=False)
    where: dict[str, int] = field(repr=False)
    """Height by txid, of this block and all below it."""

    def below(self, height: int) -> Block:
        """The ancestor at a height, or the block itself."""
        found = self
        while found.height > height:
            assert found.parent is not None
            found = found.parent
        return found

    def descends_from(self, other: Block) -> bool:
        return self.height >= other.height and self.below(other.height) is other


def twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def make_tx(ins: tuple[OutPoint, ...], outs: tuple[Out, ...], *, fee_sat: int, salt: int, segwit: bool = True) -> Tx:
    """Sign nothing: the simulated node believes every signature. `salt` makes equal payments differ."""
    script = b"" if segwit else b"\x03sig"
    body = _size(len(ins)) + b"".join(_key(i) + _size(len(script)) + script + b"\xfd\xff\xff\xff" for i in ins)
    body += _size(len(outs)) + b"".join(_out(out) for out in outs)
    version, locktime = b"\x02\0\0\0", salt.to_bytes(4, "little")
    txid = twice(version + body + locktime)[::-1].hex()
    witness = b"\x01\x02\x30\x01" * len(ins)
    raw = version + b"\0\x01" + body + witness + locktime if segwit else version + body + locktime
    return Tx(txid, ins, outs, raw, fee_sat)


def make_coinbase(height: int, extra: int, outs: tuple[Out, ...]) -> Tx:
    script = b"\x04" + height.to_bytes(4, "little") + b"\x04" + extra.to_bytes(4, "little")
    body = b"\x01" + _key(_NULL) + _size(len(script)) + script + b"\xff\xff\xff\xff"
    body += _size(len(outs)) + b"".join(_out(out) for out in outs)
    raw = b"\x02\0\0\0" + body + bytes(4)
    return Tx(twice(raw)[::-1].hex(), (_NULL,), outs, raw)


def make_block(parent: Block | None, txs: tuple[Tx, ...], time: int, extra: int, reward: tuple[Out, ...]) -> Block:
    """Mine on top of `parent`: real merkle root, real proof of work (regtest's, some two hashes)."""
    height = 0 if parent is None else parent.height + 1
    txs = (make_coinbase(height, extra, reward), *txs)
    prefix = b"\0\0\0\x20" + (bytes(32) if parent is None else bytes.fromhex(parent.hash)[::-1])
    prefix += _merkle([bytes.fromhex(tx.txid)[::-1] for tx in txs]) + time.to_bytes(4, "little")
    prefix += REGTEST_BITS.to_bytes(4, "little")
    nonce = 0
    while (found := twice(header := prefix + nonce.to_bytes(4, "little")))[31] > 0x7F:
        nonce += 1
    unspent, where = ({}, {}) if parent is None else (dict(parent.unspent), dict(parent.where))
    for tx in txs:
        for coin in tx.ins if not tx.coinbase else ():
            del unspent[coin]  # a KeyError is a mistake of the simulation: it mined a double spend
        unspent |= {tx.outpoint(n): Unspent(out, height, tx.coinbase) for n, out in enumerate(tx.outs)}
        where[tx.txid] = height
    raw = header + _size(len(txs)) + b"".join(tx.raw for tx in txs)
    return Block(height, found[::-1].hex(), parent, time, txs, raw, unspent, where)


def read_tx(raw: bytes) -> Tx:
    """What the house sends: a segwit transaction. Raises `ValueError` or `IndexError` on anything else."""
    if raw[4:6] != b"\0\x01":
        raise ValueError("not a segwit transaction")
    pos, ins, outs = 7, [], []
    for _ in range(raw[6]):
        ins.append(OutPoint(raw[pos : pos + 32][::-1].hex(), int.from_bytes(raw[pos + 32 : pos + 36], "little")))
        pos += 36 + 1 + raw[pos + 36] + 4
    count, pos = raw[pos], pos + 1
    for _ in range(count):
        end = pos + 9 + raw[pos + 8]
        outs.append(Out(int.from_bytes(raw[pos : pos + 8], "little"), raw[pos + 9 : end]))
        pos = end
    txid = twice(raw[:4] + raw[6:pos] + raw[-4:])[::-1].hex()
    return Tx(txid, tuple(ins), tuple(outs), raw)


def _size(number: int) -> bytes:
    return bytes([number]) if number < 253 else b"\xfd" + number.to_bytes(2, "little")


def _key(coin: OutPoint) -> bytes:
    return bytes.fromhex(coin.txid)[::-1] + coin.vout.to_bytes(4, "little")


def _out(out: Out) -> bytes:
    return out.value_sat.to_bytes(8, "little") + _size(len(out.script)) + out.script


def _merkle(row: list[bytes]) -> bytes:
    while len(row) > 1:
        if len(row) % 2:
            row = [*row, row[-1]]
        row = [twice(row[n] + row[n + 1]) for n in range(0, len(row), 2)]
    return row[0]
