"""Composition: everything of the service, made from the settings and wired together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from api.app import make_app
from api.changes import CHANGES
from api.key_use import KEY_USE
from api.server import serving
from api.shop import DemoNode, Offer, Shop
from api.watcher_elsewhere import WatcherElsewhere
from commands.event_context import event_context, public_url
from commands.forward_rules import forward_rules
from commands.keychain import Keychain
from commands.node_client import chain_rules, hints_for, rest_client, rpc_client, witness_nodes
from commands.recording import Recording
from config.settings import Settings
from node_watcher.blocks import BlockSource
from node_watcher.chain import ChainFollower
from node_watcher.chain_scan import ChainScan
from node_watcher.clock import now_ms
from node_watcher.crediting import Crediting
from node_watcher.derivation import check_derivation
from node_watcher.forwarding.forwarder import Forwarder
from node_watcher.gate import Gate
from node_watcher.hints import Hint
from node_watcher.look import Look
from node_watcher.look_ahead import LookAhead
from node_watcher.mempool import Mempool
from node_watcher.meter import Meter
from node_watcher.record.parts import RecordedDatabase
from node_watcher.record.tape import NoTape, Tape
from node_watcher.self_audit import PAUSE_SECONDS, SelfAudit
from node_watcher.watcher import Watcher
from node_watcher.watchlist import Watchlist
from node_watcher.witness import Witness
from payments.model import ExcessPolicy, LatePolicy, Package
from storage import till
from storage.database import Database

log = logging.getLogger("nodetill")


@dataclass(frozen=True, slots=True)
class Roles:
    """Which parts run in this process. Both, unless PostgreSQL lets them be split."""

    api: bool = True
    watcher: bool = True


async def run_service(
    settings: Settings,
    keychain: Keychain,
    roles: Roles,
    stop: asyncio.Event,
    *,
    demo: DemoNode | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
    recording: Recording | None = None,
) -> None:
    """Run until `stop` is set. A bug ends it with the exception that says so."""
    context = event_context(settings)
    async with AsyncExitStack() as stack:
        url = settings.database.url.get_secret_value()
        database = await stack.enter_async_context(
            Database(url, context, leader=roles.watcher)
            if recording is None
            else RecordedDatabase(recording.recorder, url, context, leader=roles.watcher)
        )
        await database.write(till.claim, settings.node.network, now_ms())
        keychain_id = await database.write(
            till.keychain,
            keychain.descriptor.fingerprint,
            keychain.descriptor.text,
            watch_only=keychain.watch_only,
            now=now_ms(),
        )
        if recording is not None:
            stack.push_async_callback(recording.recorder.end)
            await recording.begin(database, keychain)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks: list[asyncio.Task[Any]] = []
        tape = NoTape() if recording is None else Tape(recording.recorder)
        watcher = None
        if roles.watcher:
            watcher = await _watcher(settings, keychain, keychain_id, database, stack, tasks, group, tape)
            tasks.append(group.create_task(watcher.run(), name="watcher"))
        if roles.api:
            shop = _shop(settings, keychain, keychain_id, database, watcher, demo)
            app = make_app(shop)
            tasks.append(group.create_task(app[CHANGES].follow(database), name="changes"))
            tasks.append(group.create_task(app[KEY_USE].write_down(database), name="key use"))
            tasks.append(group.create_task(shop.index_floor.find_out(shop.check_now), name="first look"))
            await stack.enter_async_context(serving(app, settings.api.host, settings.api.port))
            log.info("Serving on %s", context.public_url)
        on_ready(context.public_url)
        await stop.wait()
        log.info("Stopping")
        for task in tasks:
            task.cancel()


def _shop(
    settings: Settings,
    keychain: Keychain,
    keychain_id: int,
    database: Database,
    watcher: Watcher | None,
    demo: DemoNode | None,
) -> Shop:
    rules = settings.payments
    secret = settings.api.user_token_secret
    return Shop(
        database=database,
        network=settings.node.network,
        packages=tuple(Package(p.id, p.name, p.credits, p.price_sat) for p in settings.packages),
        keychain_id=keychain_id,
        derive=keychain.descriptor.derive,
        public_url=public_url(settings),
        offer=Offer(
            confirmations_required=rules.confirmations_required,
            tiers=tuple((tier.above_sat, tier.confirmations) for tier in rules.tiers),
            window_ms=rules.timeout_ms,
            tolerance_sat=rules.tolerance_sat,
            late=LatePolicy(rules.late),
            excess=ExcessPolicy(rules.excess),
            max_open_per_user=rules.max_open_per_user,
        ),
        user_token_secret=secret.get_secret_value() if secret else None,
        check_now=(watcher or WatcherElsewhere(database)).check_now,
        demo=demo,
    )


async def _watcher(
    settings: Settings,
    keychain: Keychain,
    keychain_id: int,
    database: Database,
    stack: AsyncExitStack,
    tasks: list[asyncio.Task[Any]],
    group: asyncio.TaskGroup,
    tape: NoTape,
) -> Watcher:
    meter = Meter()
    client = rpc_client(settings, meter.rpc)
    stack.push_async_callback(client.close)
    rpc, clock = tape.rpc(client), tape.clock
    rest = rest_client(settings)
    stack.push_async_callback(rest.close)
    watchlist = Watchlist(database, LookAhead(keychain_id, keychain.descriptor.derive))
    network, rules = settings.node.network, chain_rules(settings)
    witnesses = witness_nodes(settings)
    for witness in witnesses:
        stack.push_async_callback(witness.rpc.close)
    forwarder = None
    if keychain.destination is not None:
        forwarder = Forwarder(
            rpc,
            database,
            None if keychain.signer is None else tape.signer(keychain.signer),
            keychain.destination,
            forward_rules(settings.forwarding),
            keychain_id=keychain_id,
            network=network,
            meter=meter,
            clock=clock,
            size=keychain.size,
        )
    mempool = Mempool(rpc, database, watchlist, meter=meter, clock=clock)
    self_audit = SelfAudit(
        client,
        ChainScan(client, BlockSource(client, rest), watchlist, pause=PAUSE_SECONDS),
        database,
        network=network,
        destination=keychain.destination.address if keychain.destination is not None else None,
    )
    look = Look(
        Gate(rpc, rules, witnesses, agree=tape.agree),
        database,
        watchlist,
        ChainFollower(rpc, BlockSource(rpc, tape.rest(rest)), database, watchlist, rules, clock=clock),
        mempool,
        Crediting(rpc, database, meter, clock=clock),
        forwarder=forwarder,
        on_first_contact=lambda: check_derivation(rpc, keychain.descriptor),
        ledger_broken=tape.ledger_check(self_audit.broken),
        clock=clock,
    )
    witness_wallet = Witness(
        rpc,
        database,
        watchlist,
        wallet=settings.node.wallet,
        descriptor=keychain.descriptor.text,
        keychain_id=keychain_id,
        meter=meter,
        clock=clock,
    )
    watcher = Watcher(
        settings.payments.check_interval_ms / 1000,
        database,
        watchlist,
        tape.hearing(mempool),
        tape.look(look),
        witness=tape.witness(witness_wallet),
        meter=meter,
        self_audit=self_audit,
    )

    def hear(hint: Hint) -> None:
        # What replaces a payment of ours comes as rawtx. Of everybody's removals a busy network has one a
        # second, and a pass reads the whole list of the mempool: those are left to the timer.
        if hint is not Hint.MEMPOOL:
            watcher.ask_sooner()

    if (hints := hints_for(settings, watcher.hear_rawtx, tape.on_hint(hear))) is not None:
        watcher.health.doorbell = hints
        tasks.append(group.create_task(hints.run(), name="zmq"))
    return watcher
