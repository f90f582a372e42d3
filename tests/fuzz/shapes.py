"""Transactions of every shape, right and wrong, for Hypothesis; and damage to those that are real."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st

from tests.fuzz.plain import MAX_MONEY, NULL, size, vector

VERSION, LOCKTIME = b"\x02\x00\x00\x00", b"\x00\x00\x00\x00"
IN = b"\xaa" * 36 + b"\x00" + b"\xff" * 4
OUT = (1000).to_bytes(8, "little") + b"\x01\x51"

SCRIPTS = [
    b"",
    b"\x51",
    b"\x00\x14" + b"p" * 20,
    b"\x51\x20" + b"t" * 32,
    b"\x51\x02\x4e\x73",  # pay to anchor
    b"\x60\x28" + b"w" * 40,
    b"\x6a\x4e\xff\xff\xff\xff",  # a push beyond the end
    b"\x01\x00" * 126,  # 252, 253, 65,535 bytes: where sizes grow
    b"\x51" * 253,
    b"\x6a" + b"\x4d" * 65_534,
    b"\x51" * 10_000,
    b"\x50" * 500_001,  # OP_SUCCESS80
]
VALUES = [0, 1, 546, MAX_MONEY - 1, MAX_MONEY, MAX_MONEY + 1, 2**63 - 1, 2**63, 2**64 - 1]
STACKS: list[list[bytes]] = [
    [],
    [b""],
    [b"\x30" * 71, b"\x02" * 33],
    [b"s" * 64, b"\x50annex"],  # BIP 341
    [b"\x51", b"\xc0" + b"k" * 32, b"\x50"],
    [b"w" * 100_000],
    [b""] * 300,
    [b"\x01"] * 10_000,
]
COUNTS = [0, 1, 1, 1, 1, 2, 2, 3, 252, 253, 300]
MARKERS = [b"\x00\x01"] * 12 + [b"\x00\x00", b"\x00\x02", b"\x00\x03", b"\x00\x80", b"\x00\xfd", b"\xfd\x00\x00\x01"]
TAILS = [b""] * 12 + [b"\x00", b"\x01", VERSION + b"\x00\x00" + LOCKTIME]
PIECES = [
    b"\x00",
    b"\x01",
    b"\x00\x01",
    b"\xfc",
    *(b"\xfd" + number.to_bytes(2, "little") for number in (0, 1, 252, 253, 65_535)),
    *(b"\xfe" + number.to_bytes(4, "little") for number in (0, 1, 65_535, 65_536, 0x0200_0001, 2**32 - 1)),
    *(b"\xff" + number.to_bytes(8, "little") for number in (0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1)),
]


@st.composite
def transactions(draw: st.DrawFn) -> bytes:
    """One transaction from its parts. Most are whole; some have one wrong part, or sizes wider than needed."""
    wide = draw(st.sampled_from([False, False, False, True]))

    def count(number: int) -> bytes:
        return size(number, draw(st.sampled_from([0, 0, 0, 0, 0, 2, 4, 8])) if wide else 0)

    def counted(data: bytes) -> bytes:
        return count(len(data)) + data

    scripts = st.sampled_from(SCRIPTS[:9]) | st.binary(max_size=30) | st.sampled_from(SCRIPTS[:-1])
    ins, outs = draw(st.sampled_from(COUNTS)), draw(st.sampled_from(COUNTS))
    prevout = draw(st.sampled_from([NULL, NULL[:32] + bytes(4), b"\xaa" * 36]) | st.binary(min_size=36, max_size=36))
    one_in = prevout + counted(draw(scripts)) + draw(st.sampled_from([b"\xff" * 4, bytes(4)]))
    other_in = b"\xbb" * 36 + counted(draw(st.sampled_from(SCRIPTS[:3]))) + b"\xfd\xff\xff\xff"
    value = draw(st.integers(0, MAX_MONEY) | st.sampled_from(VALUES))
    one_out = value.to_bytes(8, "little") + counted(draw(scripts))
    other_out = (546).to_bytes(8, "little") + counted(draw(st.sampled_from(SCRIPTS[:6])))
    body = count(ins) + one_in * (ins > 0) + other_in * (ins - 1)
    body += count(outs) + one_out * (outs > 0) + other_out * (outs - 1)
    marker = draw(st.sampled_from(MARKERS)) if draw(st.booleans()) else b""
    if marker:
        stacks = draw(st.sampled_from(STACKS)), draw(st.sampled_from(STACKS[:4]))
        written = [count(len(stack)) + b"".join(map(vector, stack)) for stack in stacks]
        body += written[0] * (ins > 0) + written[1] * (ins - 1)
    version = draw(st.sampled_from([VERSION, bytes(4), b"\xff" * 4, b"\x01\x00\x00\x00"]))
    return version + marker + body + draw(st.sampled_from([LOCKTIME, b"\xff" * 4])) + draw(st.sampled_from(TAILS))


def damaged(raws: Sequence[bytes], random: Random) -> bytes:
    """One of these, after one to three accidents."""
    raw = bytearray(random.choice(raws))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        # The first bytes say how the rest is read.
        place = random.randrange(min(len(raw), random.choice((60, len(raw))) or 1) + 1)
        length = random.choice((1, 1, 2, 4, 8, 36, 300))
        piece = random.choice(PIECES) if random.random() < 0.7 else random.randbytes(random.randint(1, 9))
        match random.randrange(7):
            case 0 if place < len(raw):
                raw[place] ^= 1 << random.randrange(8)
            case 1:
                del raw[place:]
            case 2:
                raw[place:place] = piece
            case 3:
                del raw[place : place + length]
            case 4:
                raw[place : place + len(piece)] = piece
            case 5:
                raw[place:place] = raw[place : place + length]
            case _:
                other = random.choice(raws)
                raw[place:] = other[random.randrange(len(other)) if random.random() < 0.3 else place :]
    return bytes(raw)
