"""Who we are to the node. The secret cannot be printed by accident."""

from __future__ import annotations

import base64
from pathlib import Path

from node_watcher.rpc import NodeRefusesLogin, NodeUnavailable


class Credentials:
    """A cookie file, which the node writes anew at each start, or a user and a password."""

    def __init__(
        self, *, cookie_file: Path | None = None, user: str | None = None, password: str | None = None
    ) -> None:
        if (cookie_file is None) == (user is None or password is None):
            raise ValueError("set either node.rpc_cookie_file, or node.rpc_user and node.rpc_password")
        self._cookie_file = cookie_file
        self._pair = None if user is None else f"{user}:{password}".encode()
        self._header: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.source})"

    @property
    def source(self) -> str:
        """Where they come from, for messages: never the secret."""
        return "node.rpc_user" if self._cookie_file is None else f"cookie {self._cookie_file}"

    @property
    def header(self) -> str:
        """Value of the `Authorization` header (RFC 7617). Raises `NodeUnavailable`, `NodeRefusesLogin`."""
        if self._header is None:
            self._header = "Basic " + base64.b64encode(self._read()).decode()
        return self._header

    def read_again(self, refused: str) -> bool:
        """After a 401 for the header `refused`: is there another one now?"""
        if self._header == refused:
            self._header = None
        return self.header != refused

    def _read(self) -> bytes:
        if self._cookie_file is None:
            return self._pair or b""
        try:
            return self._cookie_file.read_bytes().strip()
        except PermissionError:
            raise NodeRefusesLogin(
                f"The node's cookie file {self._cookie_file} may not be read by this user: "
                "set rpccookieperms=group in bitcoin.conf and join the group of the node's user, "
                "or use node.rpc_user and node.rpc_password."
            ) from None
        except OSError as error:
            raise NodeUnavailable(
                f"The node's cookie file {self._cookie_file} cannot be read ({error.strerror}): "
                "the node is not running, or node.rpc_cookie_file is wrong."
            ) from None
