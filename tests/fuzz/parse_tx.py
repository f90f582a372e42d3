"""The parser under atheris, for as long as you like: `python -m tests.fuzz.parse_tx` (see CONTRIBUTING.md).

What it is given is libFuzzer's: `-max_total_time=180`, a folder for its corpus, a file to replay. The first
byte of an input chooses: even is a transaction, odd what follows a block's header.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.fuzz.properties import check_block, check_transaction

_IN: Final = bytes.fromhex("aa" * 36 + "00" + "ffffffff")
_OUT: Final = bytes.fromhex("e803000000000000" + "0151")
SEEDS: Final = (
    bytes.fromhex("02000000" + "0000" + "00000000"),
    b"\2\0\0\0\1" + _IN + b"\1" + _OUT + bytes(4),
    b"\2\0\0\0\0\1\1" + _IN + b"\1" + _OUT + b"\2\2\xbe\xef\0" + b"\1\0\0\0",
    b"\2\0\0\0\0\1\2" + _IN * 2 + b"\2" + _OUT * 2 + b"\0\1\1\x51" + bytes(4),
    b"\2\0\0\0\1" + _IN + b"\0" + bytes(4),
    b"\2\0\0\0\1" + _IN + b"\xfd\xfd\0" + _OUT * 253 + bytes(4),
    b"\1\0\0\0\1" + bytes(32) + b"\xff" * 4 + b"\3\1\2\3" + b"\xff" * 4 + b"\1" + _OUT + bytes(4),
)
_HEADER: Final = bytes(80)


def one_input(data: bytes) -> None:
    """What atheris calls, some ten thousand times a second."""
    if data[:1] and data[0] % 2:
        check_block(_HEADER + data[1:])
    else:
        check_transaction(data[1:])


def main() -> None:
    import atheris  # not in the locks: an own environment has it

    # Only what is under test: the plain reader beside it needs no coverage of its own.
    atheris.instrument_func(one_input)
    for name in ("payments.tx", "payments.block"):
        module = sys.modules[name]
        for thing in vars(module).values():
            if callable(thing) and getattr(thing, "__module__", "") == name and hasattr(thing, "__code__"):
                atheris.instrument_func(thing)
    with tempfile.TemporaryDirectory(prefix="nodetill-fuzz-") as corpus:
        for number, raw in enumerate(SEEDS):
            (Path(corpus) / f"tx-{number}").write_bytes(b"\x00" + raw)
            (Path(corpus) / f"block-{number}").write_bytes(b"\x01\x02" + SEEDS[-1] + raw)
        atheris.Setup([*sys.argv, corpus], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
