"""The QR symbols of a payment, read back module by module."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator

import pytest

from regtest.conftest import MakeTill
from regtest.node import RegtestNode
from regtest.service import RunningService


@pytest.fixture(scope="module")
def till(node: RegtestNode, make_till: MakeTill) -> Iterator[RunningService]:
    service = make_till(node)
    yield service
    service.stop()


def test_the_qr_symbols_are_one_and_the_same(till: RunningService) -> None:
    payment = till.create("small", "scanner")
    svg = till.ask("GET", f"payments/{payment['payment_id']}/qr.svg", key=None)
    png = till.ask("GET", f"payments/{payment['payment_id']}/qr.png", key=None)
    assert (svg.status, svg.headers["content-type"].split(";")[0]) == (200, "image/svg+xml")
    assert (png.status, png.headers["content-type"]) == (200, "image/png")
    drawn = _modules_of_svg(svg.body)
    assert drawn == _modules_of_png(png.body)
    finder = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"]
    size = len(drawn)
    for row, column in ((4, 4), (4, size - 11), (size - 11, 4)):
        corner = ["".join(map(str, line[column : column + 7])) for line in drawn[row : row + 7]]
        assert corner == finder
    assert not any(drawn[0]), "the quiet zone"


def _modules_of_svg(text: bytes) -> list[list[int]]:
    root = ET.fromstring(text)
    size = int(root.attrib["viewBox"].split()[2])
    drawn = [[0] * size for _ in range(size)]
    path = root.findall("{http://www.w3.org/2000/svg}path")[1].attrib["d"]
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)", path):
        for column in range(int(x), int(x) + int(width)):
            drawn[int(y)][column] = 1
    return drawn


def _modules_of_png(data: bytes) -> list[list[int]]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    side, _, bits = struct.unpack(">IIB", data[16:25])
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    rows = zlib.decompress(data[start + 4 : start + 4 + length])
    assert bits == 1
    line = 1 + (side + 7) // 8
    return [
        [1 - (rows[y * line + 1 + x // 8] >> (7 - x % 8) & 1) for x in range(0, side, 8)] for y in range(0, side, 8)
    ]
