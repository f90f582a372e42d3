"""Listens."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

_LOG = logging.getLogger("nodetill.http")


def _not_their_noise(record: logging.LogRecord) -> bool:
    """Bytes that are no HTTP are somebody's scan, not an error of ours."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_LOG.addFilter(_not_their_noise)


class CannotListen(Exception):
    """The address cannot be listened on. The text names the setting and the mend."""


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve `app` inside the block; yields the port (useful when it was 0).

    Open requests get five seconds at the end. Raises `CannotListen`.
    """
    runner = web.AppRunner(app, access_log=None, logger=_LOG, auto_decompress=False, shutdown_timeout=5.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(_sentence(error, host, port)) from None
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _sentence(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"api.port: {port} is taken by another program; set another api.port, or stop it"
    if error.errno == errno.EACCES:
        return f"api.port: {port} needs root; set api.port to 1024 or more"
    return f"api.host: {host} is no address of this machine; set api.host, such as 127.0.0.1"
