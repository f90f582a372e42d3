"""Who else may touch a file or a folder that the signer relies on."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class Exposed(Exception):
    """Others may change it; the message says how to mend that."""


def refuse_exposed_folder(folder: Path, what: str) -> None:
    """Raise `Exposed` unless the folder is this user's or root's, and nobody else may write to it.

    In a folder of theirs others could put something of their own in the place of `what`.
    """
    try:
        state = folder.stat()
    except OSError as error:
        raise Exposed(
            f"the folder of {what}, {folder}, cannot be looked at ({error.strerror}): make it first"
        ) from None
    if not stat.S_ISDIR(state.st_mode):
        raise Exposed(f"the folder of {what}, {folder}, is no folder")
    if state.st_uid not in (os.geteuid(), 0):
        raise Exposed(f"the folder of {what}, {folder}, belongs to another user: take one of the signer's own")
    if state.st_mode & 0o022:
        raise Exposed(f"others may write to the folder of {what}: run chmod go-w {folder}, or take another folder")


def refuse_exposed_file(path: Path, what: str, *, secret: bool = False) -> None:
    """Raise `Exposed` unless the file is this user's or root's and others may not change it, nor read a secret.

    A group may read a secret of root's: so systemd hands credentials over.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise Exposed(f"{what} {path} cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(state.st_mode):
        raise Exposed(f"{what} {path} is no file")
    if state.st_uid not in (os.geteuid(), 0):
        raise Exposed(f"{what} {path} belongs to another user, who may change it: run chown on it")
    if state.st_mode & 0o022:
        raise Exposed(f"others may change {what} {path}: run chmod go-w {path}")
    if secret and state.st_mode & (0o007 if state.st_uid == 0 else 0o077):
        raise Exposed(f"others may read {what} {path}: run chmod 600 {path}")
