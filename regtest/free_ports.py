"""TCP ports that nobody listens on."""

from __future__ import annotations

import random
import socket

# Below Linux's ephemeral range (32768–60999): a port kept for a node that is down for a moment is
# then not taken by somebody's outgoing connection before the node comes back.
LOWEST, HIGHEST = 15_000, 32_000

_given: set[int] = set()
_random = random.SystemRandom()


def free_port() -> int:
    """A loopback port that is free now and that this process has not been given before.

    Raises `OSError` when a thousand tries find none.
    """
    for _ in range(1000):
        port = _random.randint(LOWEST, HIGHEST)
        if port in _given:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # Without it a port whose last connection is in TIME_WAIT would look taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST} on 127.0.0.1")
