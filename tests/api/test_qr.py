"""QR symbols: what is drawn is what the encoder made, and phones can read the numbers."""

from __future__ import annotations

import re
import struct
import zlib

import pytest

from api import qr
from tests.api.till import BASE, Till

TEXT = "bitcoin:BCRT1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KYGT080?amount=0.00040000"


def from_svg(svg: str) -> list[list[bool]]:
    """Draws the path on squared paper."""
    view = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    assert view is not None
    size = int(view[1])
    paper = [[False] * size for _ in range(size)]
    for x, y, width, back in re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", svg):
        assert width == back
        for column in range(int(x), int(x) + int(width)):
            assert not paper[int(y)][column], "drawn twice"
            paper[int(y)][column] = True
    return paper


def from_png(png: bytes) -> list[list[bool]]:
    """Reads a one-bit PNG and takes the middle of each module."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", png, at + 8 + length)
        assert crc == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + length
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour, width) == (1, 0, height)
    lines = zlib.decompress(chunks[b"IDAT"])
    stride = 1 + width // 8
    assert len(lines) == stride * height
    rows = [lines[i : i + stride] for i in range(0, len(lines), stride)]
    assert all(row[0] == 0 for row in rows)
    return [[byte == 0 for byte in row[1:]] for row in rows[4::8]]


def test_both_forms_show_the_symbol() -> None:
    symbol = [list(row) for row in qr.matrix(TEXT)]
    size = len(symbol)
    assert from_svg(qr.svg(TEXT).decode()) == symbol
    assert from_png(qr.png(TEXT)) == symbol
    border = [*symbol[:4], *symbol[-4:], *([*row[:4], *row[-4:]] for row in symbol)]
    assert not any(any(row) for row in border), "the quiet zone is white"
    finder = [row[4:11] for row in symbol[4:11]]
    assert finder[0] == finder[6] == [True] * 7
    assert finder[1] == finder[5] == [True, *[False] * 5, True]
    assert (size - 8 - 17) % 4 == 0


def test_upper_case_makes_a_smaller_symbol() -> None:
    assert len(qr.matrix(TEXT)) < len(qr.matrix(TEXT.replace("BCRT1Q", "bcrt1q").lower()))


@pytest.mark.parametrize(("name", "kind"), [("qr.svg", "image/svg+xml"), ("qr.png", "image/png")])
async def test_over_http(till: Till, name: str, kind: str) -> None:
    payment = await till.create()
    url = f"{BASE}/payments/{payment['payment_id']}/{name}"
    response = await till.client.get(url)
    body = await response.read()
    assert (response.status, response.content_type) == (200, kind)
    text = f"bitcoin:{payment['address'].upper()}?amount=0.00040000"
    assert body == (qr.svg(text) if name == "qr.svg" else qr.png(text))
    assert "immutable" in response.headers["Cache-Control"]
    again = await till.client.get(url, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304
    assert (await till.client.head(url)).status == 200
