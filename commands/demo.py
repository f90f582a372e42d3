"""`nodetill demo`: the whole till on a private regtest node, nothing to set up, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from api.server import CannotListen
from commands.console import refuse
from commands.demo_folder import demo_folder
from commands.log_output import set_up
from commands.service import Roles, run_service
from commands.signing import serving_keychain
from config.errors import ConfigurationError
from config.load import load
from config.settings import Settings
from node_watcher.signing.seed import create as create_seed
from regtest.bitcoind_source import BitcoindNotFound, find_bitcoind
from regtest.child_server import DidNotStart
from regtest.node import RegtestNode
from storage.errors import DatabaseUnusable

_OWNER = "owner"


class ButtonNode:
    """The demo's node behind the page's buttons: pays and mines, one thing at a time."""

    def __init__(self, node: RegtestNode) -> None:
        self._node = node
        self._busy = asyncio.Lock()

    async def pay(self, address: str, amount_sat: int) -> str:
        async with self._busy:
            return await asyncio.to_thread(self._node.pay, address, amount_sat)

    async def mine(self, blocks: int) -> None:
        async with self._busy:
            await asyncio.to_thread(self._node.mine, blocks)


class Interruptions:
    """Ctrl-C, SIGTERM and a closed terminal end the demo once, and never in the middle of starting or of
    cleaning up: outside of `let()` they are only noted."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._open = self._came = False
        self._tell: Callable[[], object] | None = None
        for signum in self._SIGNALS:
            signal.signal(signum, self._hear)

    def _hear(self, signum: int, frame: FrameType | None) -> None:
        self._came = True
        if self._tell is not None:
            self._tell()
        elif self._open:
            self._open = False
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """Nothing is left to be ended: who presses Ctrl-C once more does not turn the exit code into a kill."""
        for signum in self._SIGNALS:
            signal.signal(signum, signal.SIG_IGN)

    @contextlib.contextmanager
    def let(self) -> Iterator[None]:
        """Inside, an interruption raises KeyboardInterrupt; one that came before does so at once."""
        if self._came:
            raise KeyboardInterrupt
        self._open = True
        try:
            yield
        finally:
            self._open = False

    @contextlib.contextmanager
    def told(self, tell: Callable[[], object]) -> Iterator[None]:
        """Inside, an interruption calls `tell` instead."""
        self._tell = tell
        try:
            if self._came:
                tell()
            yield
        finally:
            self._tell = None


def demo(
    port: Annotated[int, typer.Option(help="Port of the shop page.")] = 8480,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the service's log.")] = False,
) -> None:
    """Try the till: a private node, a shop page, buttons to pay and to mine. Ctrl-C ends and cleans up."""
    set_up("console", "info" if verbose else "warning")
    if not 1 <= port <= 65_535:
        refuse(f"--port {port}: choose one from 1 to 65535.")
    if not _free(port):
        refuse(f"--port {port} is taken by another program; choose another, such as --port {port % 65_535 + 1}.")
    interruptions = Interruptions()
    with contextlib.suppress(KeyboardInterrupt):
        _run(port, no_browser, interruptions)
    interruptions.ignore()
    _say("Stopped; nothing is left behind.")


def _run(port: int, no_browser: bool, interruptions: Interruptions) -> None:
    _say("[1/3] Looking for a bitcoind")
    try:
        with interruptions.let():
            programs = find_bitcoind(lambda line: _say(f"      {line}"))
    except BitcoindNotFound as error:
        refuse(str(error))
    _say(f"      {programs.version}")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(demo_folder())
        _say("[2/3] Starting a private regtest node and mining some money")
        node = RegtestNode(programs, datadir=folder / "node", remove_on_orphan=folder)
        stack.callback(node.close)
        try:
            node.start()
        except DidNotStart as error:
            refuse(f"The private node does not start: {error}")
        with interruptions.let():
            node.fund()
            _say("[3/3] Starting the till")
            settings = _settings(node, folder, port)
            try:
                asyncio.run(_serve(settings, node, no_browser, interruptions))
            except (DatabaseUnusable, CannotListen) as error:
                refuse(str(error))


def _settings(node: RegtestNode, folder: Path, port: int) -> Settings:
    """Forwarding mode, so that every status can be seen; watch-only where signing is not to be had."""
    node.rpc("createwallet", _OWNER)
    environ = {
        "HOME": str(folder),
        "NODETILL_NODE__NETWORK": "regtest",
        "NODETILL_NODE__RPC_URL": node.rpc_url,
        "NODETILL_NODE__RPC_COOKIE_FILE": str(node.cookie_file),
        "NODETILL_NODE__ZMQ_RAWTX": node.zmq_rawtx,
        "NODETILL_NODE__ZMQ_HASHBLOCK": node.zmq_hashblock,
        "NODETILL_DATABASE__URL": f"sqlite:///{folder / 'nodetill.db'}",
        "NODETILL_API__PORT": str(port),
    }
    passphrase = secrets.token_hex(16)
    create_seed(folder / "seed.json", passphrase)
    environ["NODETILL_WALLET__SEED_FILE"] = str(folder / "seed.json")
    environ["NODETILL_WALLET__SEED_PASSPHRASE"] = passphrase
    environ["NODETILL_WALLET__FORWARD_TO"] = str(node.rpc("getnewaddress", wallet=_OWNER))
    try:
        return load(None, environ)
    except ConfigurationError as error:
        refuse(str(error))


async def _serve(settings: Settings, node: RegtestNode, no_browser: bool, interruptions: Interruptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ready(url: str) -> None:
        _say("")
        _say(f"Ready: {url}   (buy, pay and mine on that page; Ctrl-C ends the demo)")
        if not no_browser and _has_windows():
            # Finding the browser may take a second, and the page is to answer meanwhile.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    with serving_keychain(settings) as keychain, interruptions.told(lambda: loop.call_soon_threadsafe(stop.set)):
        await run_service(settings, keychain, Roles(), stop, demo=ButtonNode(node), on_ready=ready)


def _has_windows() -> bool:
    """A browser of the text terminal would sit on top of us."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _say(line: str) -> None:
    print(line, flush=True)
