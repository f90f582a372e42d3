"""Which signer this Python can have."""

from __future__ import annotations

import sys
from collections.abc import Callable

from node_watcher.signing.signer import Signer, SignerUnavailable


def open_signer(key_at: Callable[[int], bytes]) -> Signer:
    """The signer over these keys: `key_at(index)` gives the 32-byte key of a receive address.

    Raises `SignerUnavailable` where its library is missing.
    """
    try:
        from node_watcher.signing.signer_bit import BitSigner
    except ImportError as error:
        raise SignerUnavailable(unavailable_sentence(error, sys.version_info[:2])) from error
    return BitSigner(key_at)


def unavailable_sentence(error: ImportError, python: tuple[int, int]) -> str:
    """What somebody on this version of Python can do about it."""
    if python >= (3, 14):
        return (
            f"forwarding mode signs with the package bit, which cannot be installed on Python"
            f" {python[0]}.{python[1]} yet: run nodetill with Python 3.13,"
            " or use watch-only mode (set wallet.descriptor instead of wallet.seed_file)"
        )
    return (
        f"forwarding mode signs with the package bit, which cannot be loaded ({error}): install the"
        " locked dependencies again, or use watch-only mode (set wallet.descriptor instead of"
        " wallet.seed_file)"
    )
