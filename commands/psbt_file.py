"""PSBTs as files, or through a pipe."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

from commands.console import refuse

PIPE = Path("-")
_MOST_BYTES = 64 * 2**20


def check_new(path: Path) -> None:
    """Refuse to write over a file: it may be the signed one."""
    if path != PIPE and path.exists():
        refuse(f"--out: {path} exists already; name a file that does not.")


def write_psbt(path: Path, psbt: str) -> None:
    """Binary in a file NAME.psbt, as BIP174 has it, else base64. Only its owner reads a file: it shows addresses."""
    data = base64.b64decode(psbt) if path.suffix == ".psbt" else f"{psbt}\n".encode()
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        refuse(f"--out: {path} cannot be written: {error.strerror}.")


def read_signed(path: Path) -> bytes:
    """What the wallet gave back, in whatever form."""
    try:
        if path == PIPE:
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        refuse(f"--in: {path} cannot be read: {error.strerror}.")
    if len(data) > _MOST_BYTES:
        refuse(f"--in: {path} has more than {_MOST_BYTES >> 20} MiB, and no PSBT of a sweep has.")
    return data
