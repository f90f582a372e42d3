"""Which library signs on this Python."""

from __future__ import annotations

from collections.abc import Callable

from node_watcher.signing.signer import Signer


def open_signer(key_at: Callable[[int], bytes]) -> Signer:
    """The signer over these keys: `key_at(index)` gives the 32-byte key of a receive address.

    `bit` where it can be imported, `embit` elsewhere (Python 3.14, for which bit's curve library has no release).
    Both make the same bytes.
    """
    try:
        from node_watcher.signing.signer_bit import BitSigner
    except ImportError:
        from node_watcher.signing.signer_embit import EmbitSigner

        return EmbitSigner(key_at)
    return BitSigner(key_at)
