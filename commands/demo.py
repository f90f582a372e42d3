"""`nodetill demo`: the whole till on a private regtest node, nothing to set up, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from commands.console import refuse
from commands.keychain import open_keychain
from commands.log_output import set_up
from commands.service import Roles, run_service
from config.errors import ConfigurationError
from config.load import load
from config.settings import Settings
from node_watcher.seed import create as create_seed
from regtest.bitcoind_source import BitcoindNotFound, find_bitcoind
from regtest.node import NodeStartError, RegtestNode

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


def demo(
    port: Annotated[int, typer.Option(help="Port of the shop page.")] = 8480,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the service's log.")] = False,
) -> None:
    """Try the till: a private node, a shop page, buttons to pay and to mine. Ctrl-C ends and cleans up."""
    set_up("console", "info" if verbose else "warning")
    if not _free(port):
        refuse(f"--port {port} is taken by another program; choose another, such as --port {port + 1}.")
    # SIGTERM ends like Ctrl-C, so that whatever was started is stopped again.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with contextlib.suppress(KeyboardInterrupt):
        _run(port, no_browser)
    _say("Stopped; nothing is left behind.")


def _run(port: int, no_browser: bool) -> None:
    _say("[1/3] Looking for a bitcoind")
    try:
        programs = find_bitcoind(lambda line: _say(f"      {line}"))
    except BitcoindNotFound as error:
        refuse(str(error))
    _say(f"      {programs.version}")
    with tempfile.TemporaryDirectory(prefix="nodetill-demo-") as name:
        folder = Path(name)
        _say("[2/3] Starting a private regtest node and mining some money")
        try:
            with RegtestNode(programs=programs, datadir=folder / "node") as node:
                node.fund()
                _say("[3/3] Starting the till")
                asyncio.run(_serve(_settings(node, folder, port), node, no_browser))
        except NodeStartError as error:
            refuse(f"The private node does not start: {error}")


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
    if sys.version_info >= (3, 14):
        listed = node.rpc("listdescriptors", wallet=_OWNER)["descriptors"]
        descriptor = next(d["desc"] for d in listed if d["desc"].startswith("wpkh(") and not d["internal"])
        environ["NODETILL_WALLET__DESCRIPTOR"] = descriptor
    else:
        passphrase = secrets.token_hex(16)
        create_seed(folder / "seed.json", passphrase)
        environ["NODETILL_WALLET__SEED_FILE"] = str(folder / "seed.json")
        environ["NODETILL_WALLET__SEED_PASSPHRASE"] = passphrase
        environ["NODETILL_WALLET__FORWARD_TO"] = str(node.rpc("getnewaddress", wallet=_OWNER))
    try:
        return load(None, environ)
    except ConfigurationError as error:
        refuse(str(error))


async def _serve(settings: Settings, node: RegtestNode, no_browser: bool) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)

    def ready(url: str) -> None:
        _say("")
        _say(f"Ready: {url}   (buy, pay and mine on that page; Ctrl-C ends the demo)")
        if not no_browser:
            webbrowser.open(url)

    await run_service(settings, open_keychain(settings), Roles(), stop, demo=ButtonNode(node), on_ready=ready)


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
