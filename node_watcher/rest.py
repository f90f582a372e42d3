"""bitcoind's REST interface (`rest=1` in bitcoin.conf): unauthenticated, read only, fast for blocks."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from node_watcher.rpc import NodeUnavailable
from node_watcher.rpc_http import KEEP_ALIVE_SECONDS

_OK: Final = 200


class Rest:
    """Use it in one event loop, and `close()` it. Source: doc/REST-interface.md of Bitcoin Core."""

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        """`url` is that of RPC: both answer on one port. `timeout` in seconds, for a whole answer."""
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def offered(self) -> bool:
        """Whether the node has REST switched on."""
        return await self._get("/rest/chaininfo.json") is not None

    async def block(self, block_hash: str) -> bytes | None:
        """One raw block, or None where the node has none to give. Raises `NodeUnavailable`."""
        return await self._get(f"/rest/block/{block_hash}.bin")

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _get(self, path: str) -> bytes | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=2, keepalive_timeout=KEEP_ALIVE_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.get(self._url + path, allow_redirects=False) as response,
            ):
                return await response.read() if response.status == _OK else None
        except (aiohttp.ClientError, OSError) as error:
            raise NodeUnavailable(f"The node's REST interface at {self._url} does not answer ({error}).") from error
