"""Segwit addresses: bech32 (BIP173) for witness version 0, bech32m (BIP350) from version 1 on.

Written by hand because the libraries at hand either mix the two checksums up or are slow; an
address is made for each payment and checked by the test vectors of both BIPs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE_OF: Final = {char: value for value, char in enumerate(CHARSET)}
_BECH32: Final = 1
_BECH32M: Final = 0x2BC830A3
_MAX_LENGTH: Final = 90


class Bech32Error(ValueError):
    """The text is not a segwit address."""


class SegwitProgram(NamedTuple):
    """What a segwit address says: the network's prefix, the witness version and program."""

    hrp: str
    version: int
    program: bytes


def _feedback_table() -> tuple[int, ...]:
    """For each of the 32 values shifted out of the register, what is XORed back in (BIP173)."""
    generator = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    table = []
    for top in range(32):
        feedback = 0
        for bit, term in enumerate(generator):
            if top >> bit & 1:
                feedback ^= term
        table.append(feedback)
    return tuple(table)


_FEEDBACK: Final = _feedback_table()


def _polymod(values: Iterable[int], state: int = 1) -> int:
    for value in values:
        state = (state & 0x1FFFFFF) << 5 ^ value ^ _FEEDBACK[state >> 25]
    return state


def _hrp_state(hrp: str) -> int:
    expanded = [ord(char) >> 5 for char in hrp] + [0] + [ord(char) & 31 for char in hrp]
    return _polymod(expanded)


def encode_segwit(hrp: str, version: int, program: bytes) -> str:
    """The address of a witness program, in lower case.

    Raises `Bech32Error` where BIP141 knows no such program.
    """
    _check_program(version, program)
    padding = -len(program) * 8 % 5
    number = int.from_bytes(program, "big") << padding
    size = (len(program) * 8 + padding) // 5
    data = [version, *(number >> 5 * place & 31 for place in range(size - 1, -1, -1))]
    target = _BECH32 if version == 0 else _BECH32M
    check = _polymod((*data, 0, 0, 0, 0, 0, 0), _hrp_state(hrp)) ^ target
    data += [check >> 5 * place & 31 for place in range(5, -1, -1)]
    return hrp + "1" + "".join([CHARSET[value] for value in data])


def decode_segwit(text: str) -> SegwitProgram:
    """What a segwit address says, whatever its network.

    Raises `Bech32Error`, among others when version 0 carries the newer checksum or a later
    version the older one: nodes and wallets refuse those, and so do we.
    """
    if text != text.lower() and text != text.upper():
        raise Bech32Error("the address mixes upper and lower case")
    text = text.lower()
    hrp, separator, tail = text.rpartition("1")
    if not separator or not hrp or len(tail) < 7 or len(text) > _MAX_LENGTH:
        raise Bech32Error("the address has not the shape of a segwit address")
    if not all(33 <= ord(char) <= 126 for char in hrp):
        raise Bech32Error("the address begins with characters no address has")
    try:
        data = [_VALUE_OF[char] for char in tail]
    except KeyError:
        raise Bech32Error("the address holds a character that segwit addresses never use") from None
    checksum = _polymod(data, _hrp_state(hrp))
    version = data[0]
    if checksum not in (_BECH32, _BECH32M):
        raise Bech32Error("the checksum of the address is wrong: a character is missing or mistyped")
    if checksum != (_BECH32 if version == 0 else _BECH32M):
        wanted = "bech32" if version == 0 else "bech32m"
        raise Bech32Error(
            f"the address has witness version {version} but not the {wanted} checksum (BIP350):"
            " the wallet that made it is outdated"
        )
    program = _program_of(data[1:-6])
    _check_program(version, program)
    return SegwitProgram(hrp, version, program)


def _program_of(values: list[int]) -> bytes:
    number = 0
    for value in values:
        number = number << 5 | value
    size, padding = divmod(len(values) * 5, 8)
    if padding > 4 or number & ((1 << padding) - 1):
        raise Bech32Error("the address has wrong padding")
    return (number >> padding).to_bytes(size, "big")


def _check_program(version: int, program: bytes) -> None:
    """BIP141: versions 0-16, 2-40 bytes, and for version 0 exactly 20 or 32."""
    if not 0 <= version <= 16:
        raise Bech32Error(f"there is no witness version {version}")
    if not 2 <= len(program) <= 40 or (version == 0 and len(program) not in (20, 32)):
        raise Bech32Error(f"a witness program of {len(program)} bytes does not exist")
