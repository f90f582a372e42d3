"""QR symbols as SVG and PNG, drawn from the module matrix. The only file that knows `qrcode`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache

import qrcode
from qrcode.constants import ERROR_CORRECT_M

_SCALE = 8
"""Pixels of a module in the PNG."""

Matrix = tuple[tuple[bool, ...], ...]


@lru_cache(maxsize=256)
def matrix(text: str) -> Matrix:
    """The symbol, row by row, True is dark, with the quiet zone of 4 modules (ISO/IEC 18004).

    Costs about 20 ms the first time: call it in a thread.
    """
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_M, border=4)
    code.add_data(text)
    code.make(fit=True)
    return tuple(tuple(bool(module) for module in row) for row in code.get_matrix())


@lru_cache(maxsize=256)
def svg(text: str) -> bytes:
    """One path of horizontal runs on white: about 4 kB."""
    rows = matrix(text)
    size = len(rows)
    path = "".join(f"M{start} {y}h{length}v1h-{length}z" for y, row in enumerate(rows) for start, length in _runs(row))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" '
        'shape-rendering="crispEdges">'
        f'<path fill="#fff" d="M0 0h{size}v{size}H0z"/><path d="{path}"/></svg>'
    ).encode()


@lru_cache(maxsize=256)
def png(text: str) -> bytes:
    """A PNG with one bit for a pixel (RFC 2083), 0 is black."""
    rows = matrix(text)
    side = len(rows) * _SCALE
    lines = b"".join((b"\0" + _packed(row)) * _SCALE for row in rows)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines, 9)) + _chunk(b"IEND", b"")
    )


def _runs(row: Sequence[bool]) -> list[tuple[int, int]]:
    """(start, length) of each run of dark modules."""
    runs: list[tuple[int, int]] = []
    start: int | None = None
    for x, dark in enumerate([*row, False]):
        if dark and start is None:
            start = x
        elif not dark and start is not None:
            runs.append((start, x - start))
            start = None
    return runs


def _packed(row: Sequence[bool]) -> bytes:
    # With a scale of 8 each module is one byte, and a line needs no padding.
    return bytes(0x00 if dark else 0xFF for dark in row)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
