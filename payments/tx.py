"""Raw transactions, read by hand: this is what the project exists for.

A till must look at every transaction of the network and keep almost none, so the common way
through `scan` touches each byte range once, builds no object and hashes nothing. Only a
transaction that is ours is read a second time, carefully, by `_read`.

Formats: BIP 141 and BIP 144; what is refused is what Bitcoin Core's `UnserializeTransaction`
refuses. This is also the one place where txids change between display order (hex, reversed)
and the order of the wire (bytes).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from hashlib import sha256
from typing import Final

from payments.model import IncomingTx, OutPoint, PaidOutput

MAX_MONEY: Final = 2_100_000_000_000_000
"""No output of a valid transaction is larger (satoshi; Core's consensus/amount.h)."""

_NULL_PREVOUT: Final = bytes(32) + b"\xff\xff\xff\xff"


class MalformedTransaction(ValueError):
    """These bytes are not one whole Bitcoin transaction."""


def sha256d(data: bytes) -> bytes:
    """Bitcoin's double SHA-256, in the order of the wire."""
    return sha256(sha256(data).digest()).digest()


def display_hash(wire: bytes) -> str:
    """32 bytes as they travel -> the hex that people and RPC use."""
    return wire[::-1].hex()


def wire_hash(display: str) -> bytes:
    """The hex that people and RPC use -> 32 bytes as they travel."""
    wire = bytes.fromhex(display)[::-1]
    if len(wire) != 32:
        raise ValueError(f"a transaction or block hash has 64 hex digits, this has {len(display)}")
    return wire


def outpoint_key(outpoint: OutPoint) -> bytes:
    """The 36 bytes by which an input names the output it spends."""
    return wire_hash(outpoint.txid) + outpoint.vout.to_bytes(4, "little")


def outpoint_of(key: bytes) -> OutPoint:
    """Inverse of `outpoint_key`."""
    if len(key) != 36:
        raise ValueError(f"an outpoint has 36 bytes, this has {len(key)}")
    return OutPoint(display_hash(key[:32]), int.from_bytes(key[32:], "little"))


def match(raw: bytes, scripts: Mapping[bytes, int], prevouts: Container[bytes]) -> IncomingTx | None:
    """One raw transaction, if it pays a script of `scripts` or spends one of `prevouts`.

    `prevouts` holds 36-byte keys (see `outpoint_key`). The answer has all inputs, and only the
    outputs that are ours: none when it merely spends. Raises `MalformedTransaction`.
    """
    found: list[IncomingTx] = []
    if scan(raw, 0, 1, scripts, prevouts, found) != len(raw):
        raise MalformedTransaction("bytes are left over after the transaction")
    return found[0] if found else None


def decode(raw: bytes) -> IncomingTx:
    """One raw transaction with every output, ours or not. Raises `MalformedTransaction`."""
    tx, end = _read(raw, 0, None)
    if end != len(raw):
        raise MalformedTransaction("bytes are left over after the transaction")
    return tx


def scan(
    raw: bytes,
    pos: int,
    count: int,
    scripts: Mapping[bytes, int],
    prevouts: Container[bytes],
    found: list[IncomingTx],
    txids: list[bytes] | None = None,
) -> int:
    """Walks `count` transactions from `pos`, appends ours to `found`, returns where they end.

    An output of ours that a later transaction of the same run spends is noticed too. Where `txids`
    is given, each transaction's id is appended to it, in the order of the wire. The end returned
    never lies beyond `raw`. Raises `MalformedTransaction`.
    """
    # Written flat and without calls on purpose: a full block passes through here in some 7 ms.
    # A slice beyond the end is short instead of an error; the position then lies beyond the end
    # for good, so the next byte read, or the check at the end of each transaction, refuses it.
    size = len(raw)
    created: set[bytes] = set()
    try:
        while count:
            count -= 1
            start = pos
            ours = False
            inputs = raw[pos + 4]
            segwit = inputs == 0  # BIP 144's marker: no transaction has zero inputs
            if segwit:
                if raw[pos + 5] != 1:
                    _tx, pos = _read(raw, pos, None)  # refuses all but the one of nothing at all
                    if txids is not None:
                        txids.append(sha256d(raw[start:pos]))
                    continue
                inputs = raw[pos + 6]
                pos += 7
            else:
                pos += 5
            if inputs > 252:
                inputs, pos = _long_size(raw, pos - 1)
            left = inputs
            while left:
                left -= 1
                prevout = raw[pos : pos + 36]
                if prevout in prevouts or (created and prevout in created):
                    ours = True
                length = raw[pos + 36]
                if length < 253:
                    pos += length + 41
                else:
                    length, pos = _long_size(raw, pos + 36)
                    pos += length + 4
            left = raw[pos]
            pos += 1
            if left > 252:
                left, pos = _long_size(raw, pos - 1)
            while left:
                left -= 1
                length = raw[pos + 8]
                pos += 9
                if length > 252:
                    length, pos = _long_size(raw, pos - 1)
                if raw[pos : pos + length] in scripts:
                    ours = True
                pos += length
            outputs_end = pos
            if segwit:
                witnessed = 0
                while inputs:
                    inputs -= 1
                    left = raw[pos]
                    pos += 1
                    if left > 252:
                        left, pos = _long_size(raw, pos - 1)
                    witnessed |= left
                    while left:
                        left -= 1
                        length = raw[pos]
                        pos += length + 1
                        if length > 252:
                            length, pos = _long_size(raw, pos - length - 1)
                            pos += length
                if not witnessed:
                    raise MalformedTransaction("the witness is announced and empty")
            pos += 4
            if pos > size:
                raise MalformedTransaction("the transaction is cut short")
            if txids is not None:
                body = raw[start:pos]
                if segwit:  # BIP 141: a txid covers neither the marker nor the witness
                    body = raw[start : start + 4] + raw[start + 6 : outputs_end] + raw[pos - 4 : pos]
                txids.append(sha256(sha256(body).digest()).digest())
            if ours:
                tx, _end = _read(raw, start, scripts)
                found.append(tx)
                created.update([outpoint_key(OutPoint(tx.txid, out.vout)) for out in tx.outputs])
    except IndexError:
        raise MalformedTransaction("the transaction is cut short") from None
    return pos


def is_coinbase(raw: bytes, pos: int) -> bool:
    """Whether the transaction that begins at `pos` makes new coins: one input, which names nothing."""
    inputs = pos + (6 if raw[pos + 4 : pos + 5] == b"\x00" else 4)
    return raw[inputs : inputs + 37] == b"\x01" + _NULL_PREVOUT


def _long_size(raw: bytes, pos: int) -> tuple[int, int]:
    """A compact size of 3, 5 or 9 bytes at `pos`, and the position after it."""
    width = {253: 2, 254: 4, 255: 8}[raw[pos]]
    field = raw[pos + 1 : pos + 1 + width]
    if len(field) != width:
        raise MalformedTransaction("the transaction is cut short")
    value = int.from_bytes(field, "little")
    if value < (253 if width == 2 else 1 << (4 * width)):
        raise MalformedTransaction("a size is written longer than needed")
    return value, pos + 1 + width


def read_size(raw: bytes, pos: int) -> tuple[int, int]:
    """The compact size at `pos`, written as short as can be, and the position after it."""
    if pos >= len(raw):
        raise MalformedTransaction("the transaction is cut short")
    first = raw[pos]
    return (first, pos + 1) if first < 253 else _long_size(raw, pos)


def _read(raw: bytes, start: int, scripts: Mapping[bytes, int] | None) -> tuple[IncomingTx, int]:
    """The careful way: one transaction at `start`, and where it ends.

    Keeps the outputs whose script is in `scripts`, or all of them when it is None.
    """
    inputs, pos = read_size(raw, start + 4)
    body, segwit = start + 4, False
    if inputs == 0:
        flag, after = read_size(raw, pos)
        if flag == 1:
            segwit, body = True, after
            inputs, pos = read_size(raw, after)
        elif flag != 0:
            raise MalformedTransaction("the transaction has a flag that Bitcoin does not know")
    keys: list[bytes] = []
    for _ in range(inputs):
        keys.append(raw[pos : pos + 36])
        length, pos = read_size(raw, pos + 36)
        pos += length + 4
    outputs, pos = read_size(raw, pos)
    kept: list[PaidOutput] = []
    for vout in range(outputs):
        value = int.from_bytes(raw[pos : pos + 8], "little")
        length, pos = read_size(raw, pos + 8)
        script = raw[pos : pos + length]
        pos += length
        if scripts is None or script in scripts:
            if value > MAX_MONEY:
                raise MalformedTransaction(f"output {vout} is worth more than all bitcoin")
            kept.append(PaidOutput(vout, value, script))
    body_end = pos
    if segwit:
        total = 0
        for _ in range(inputs):
            items, pos = read_size(raw, pos)
            total += items
            for _ in range(items):
                length, pos = read_size(raw, pos)
                pos += length
        if total == 0:
            raise MalformedTransaction("the witness is announced and empty")
    pos += 4
    if pos > len(raw):
        raise MalformedTransaction("the transaction is cut short")
    txid = sha256d(raw[start : start + 4] + raw[body:body_end] + raw[pos - 4 : pos])
    coinbase = keys == [_NULL_PREVOUT]
    tx = IncomingTx(
        txid=display_hash(txid),
        # The input of a coinbase spends nothing: all of them name the same null, and none replaces another.
        prevouts=() if coinbase else tuple([outpoint_of(key) for key in keys]),
        outputs=tuple(kept),
        coinbase=coinbase,
    )
    return tx, pos
