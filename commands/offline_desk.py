"""What `nodetill forward psbt` works with: the node, the database, and the owner's rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from commands.forward_rules import forward_rules
from commands.keychain import public_keychain
from commands.node_client import rpc_client
from config.settings import Settings
from node_watcher.forwarding.desk import Desk
from node_watcher.signing.signer import SweepRefused
from payments.descriptor import RangedDescriptor
from payments.model import BlockId
from storage import chain, till
from storage.database import Database


@asynccontextmanager
async def offline_desk(settings: Settings, database: Database) -> AsyncIterator[tuple[Desk, RangedDescriptor, BlockId]]:
    """Everything at hand, and our tip. Raises `SweepRefused` where nothing was sold yet."""
    keychain = public_keychain(settings)
    assert keychain.destination is not None  # noqa: S101 - the mode says so
    number = await database.read(till.keychain_id, keychain.descriptor.fingerprint)
    tip = await database.read(chain.cursor)
    if number is None or tip is None:
        raise SweepRefused("no service has run with this wallet.descriptor and database yet, so no coin waits")
    rpc, rules = rpc_client(settings), forward_rules(settings.forwarding)
    network = settings.node.network
    try:
        desk = Desk(rpc, database, None, keychain.destination, rules, number, network, size=keychain.size)
        yield desk, keychain.descriptor, tip
    finally:
        await rpc.close()
