"""The eight-character checksum of output descriptors (BIP380)."""

from __future__ import annotations

from typing import Final

# The order matters: characters that are easily confused differ in their low five bits only.
_INPUT: Final = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
_OUTPUT: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)


class ChecksumInputError(ValueError):
    """The descriptor holds a character that no descriptor may hold."""


def descriptor_checksum(text: str) -> str:
    """The checksum of a descriptor without its `#`. Raises `ChecksumInputError`."""
    state = 1
    group, members = 0, 0
    for char in text:
        value = _INPUT.find(char)
        if value < 0:
            raise ChecksumInputError(f"the character {char!r} cannot stand in a descriptor")
        state = _step(state, value & 31)
        # The high bits of three characters make one more symbol.
        group, members = group * 3 + (value >> 5), members + 1
        if members == 3:
            state, group, members = _step(state, group), 0, 0
    if members:
        state = _step(state, group)
    for _ in range(8):
        state = _step(state, 0)
    state ^= 1
    return "".join(_OUTPUT[state >> 5 * place & 31] for place in range(7, -1, -1))


def _step(state: int, value: int) -> int:
    top = state >> 35
    state = (state & 0x7FFFFFFFF) << 5 ^ value
    for bit, term in enumerate(_GENERATOR):
        if top >> bit & 1:
            state ^= term
    return state
