"""The doctor's look at the node: does it answer, on which chain, to whom, and does it tell of what it sees?"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any

from commands.finding import Finding, green, red, yellow
from commands.node_client import chain_rules, hints_for, rpc_client, witness_nodes
from commands.permissions import forbidden_methods, how_to_allow
from commands.preflight import BLOCKS_ONLY, HWM_WANTED, hears_payments
from config.settings import Settings
from node_watcher.clock import now_ms
from node_watcher.derivation import DerivationDiffers, check_derivation
from node_watcher.gate import Gate, wrong_network
from node_watcher.rpc import NodeError, NodeForbids, Rpc, RpcError
from payments.descriptor import RangedDescriptor

_LISTEN_SECONDS = 5.0
_SHOWN = 3
_DRIFT_MS = 2 * 3_600_000
"""A header may be two hours ahead of its reader's clock, and no more (Bitcoin Core, MAX_FUTURE_BLOCK_TIME)."""


async def look_at_node(settings: Settings, descriptor: RangedDescriptor) -> list[Finding]:
    """Every finding about the node; the later ones only where the earlier ones let it be asked."""
    async with AsyncExitStack() as stack:
        rpc = rpc_client(settings)
        stack.push_async_callback(rpc.close)
        first = await _answers(rpc, settings)
        found = [first]
        if first.colour == "green":
            found.append(await _permissions(rpc, settings))
            if found[-1].colour == "green":
                found += [
                    await _chain(rpc, settings, stack),
                    await _mempool(rpc),
                    *await _zmq(rpc, settings),
                    await _wallet(rpc, settings, descriptor),
                    await _clock(rpc),
                ]
        return [*found, await _addresses(rpc if first.colour == "green" else None, descriptor)]


async def _answers(rpc: Rpc, settings: Settings) -> Finding:
    try:
        info = await rpc.call("getblockchaininfo")
        chain, blocks = str(info["chain"]), int(info["blocks"])
    except RpcError as error:
        return red("node", f"What answers at node.rpc_url is not bitcoind ({error}); correct node.rpc_url.")
    except NodeForbids:
        return green("node", f"{settings.node.rpc_url} answers, and forbids to ask for its chain.")
    except NodeError as error:
        return red("node", str(error))
    except (KeyError, TypeError, ValueError):
        return red("node", "What answers at node.rpc_url is not bitcoind; correct node.rpc_url.")
    if chain != settings.node.network:
        return red("node", wrong_network(settings.node.network, chain).detail)
    return green("node", f"{settings.node.rpc_url} answers, on {chain}, at height {blocks}.")


async def _permissions(rpc: Rpc, settings: Settings) -> Finding:
    try:
        forbidden = await forbidden_methods(rpc, settings)
    except NodeError as error:
        return red("permissions", str(error))
    if forbidden:
        return red("permissions", how_to_allow(forbidden, settings))
    return green("permissions", "The RPC user may call everything that is needed.")


async def _chain(rpc: Rpc, settings: Settings, stack: AsyncExitStack) -> Finding:
    """The very gate that stands before each credit."""
    witnesses = witness_nodes(settings)
    for witness in witnesses:
        stack.push_async_callback(witness.rpc.close)
    rules = chain_rules(settings)
    try:
        verdict = await Gate(rpc, rules, witnesses).examine(now_ms())
    except NodeError as error:
        return red("chain", str(error))
    if verdict.reasons:
        told = " ".join(reason.detail for reason in verdict.reasons)
        return (yellow if all(reason.code == "syncing" for reason in verdict.reasons) else red)("chain", told)
    others = f", and {len(witnesses)} witness nodes agree" if witnesses else ""
    return green(
        "chain",
        f"Block {verdict.tip.height} ({verdict.tip.hash}) is the tip; first block, {len(rules.checkpoints)} pinned "
        f"blocks, header, work and version are {settings.node.network}'s{others}.",
    )


async def _mempool(rpc: Rpc) -> Finding:
    try:
        if await hears_payments(rpc):
            return green("mempool", "The node hears of payments before they are in a block.")
    except NodeError as error:
        return red("mempool", str(error))
    return yellow("mempool", BLOCKS_ONLY)


async def _zmq(rpc: Rpc, settings: Settings) -> list[Finding]:
    """For each topic: is it set, does the node publish it, is there a connection, and did anything come."""
    node = settings.node
    try:
        offered: list[dict[str, Any]] = await rpc.call("getzmqnotifications")
    except NodeError as error:
        return [red("zmq", str(error))]
    by_type = {entry["type"].removeprefix("pub"): entry for entry in offered}
    heard: dict[str, Any] = await _listen(settings)
    found = []
    for topic, endpoint in (("rawtx", node.zmq_rawtx), ("hashblock", node.zmq_hashblock)):
        check, setting = f"zmq {topic}", f"node.zmq_{topic}"
        if endpoint is None:
            found.append(yellow(check, f"{setting} is not set: payments are seen by the timer only. Set it."))
        elif topic not in by_type:
            found.append(
                red(
                    check,
                    f"{setting}: the node publishes no {topic}; add zmqpub{topic}={endpoint} to bitcoin.conf and "
                    "restart it (it stays silent, too, when another program has the port).",
                )
            )
        elif not heard[topic]["connected"]:
            found.append(
                red(
                    check,
                    f"{setting} is {endpoint}, where nobody publishes; the node does so at "
                    f"{by_type[topic]['address']}: make both the same, and let the firewall pass it.",
                )
            )
        elif topic == "rawtx" and int(by_type[topic].get("hwm", 0)) < HWM_WANTED:
            found.append(
                yellow(
                    check,
                    f"Of a full block the node drops transactions: add zmqpubrawtxhwm={HWM_WANTED} to bitcoin.conf.",
                )
            )
        else:
            came = heard[topic]["messages_total"]
            told = f"{came} messages came" if came else "nothing was to be told meanwhile"
            found.append(green(check, f"{endpoint} is connected; {told}."))
    return found


async def _listen(settings: Settings) -> dict[str, Any]:
    """How each topic did while we listened; no longer than until all of them have told something. On regtest, where
    nothing comes by itself, a connection is enough."""
    alone = settings.node.network == "regtest"
    heard = asyncio.Event()
    hints = hints_for(settings, lambda raw: heard.set(), lambda hint: heard.set())
    if hints is None:
        return {}
    listening = asyncio.create_task(hints.run())
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LISTEN_SECONDS):
                while not all(topic.messages_total or (alone and topic.connected) for topic in hints.topics.values()):
                    heard.clear()
                    await heard.wait()
        topics: dict[str, Any] = hints.snapshot()["topics"]
        return topics
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def _wallet(rpc: Rpc, settings: Settings, descriptor: RangedDescriptor) -> Finding:
    """The second witness. It is made by the service; without it payments are found all the same."""
    name = settings.node.wallet
    try:
        if name not in await rpc.call("listwallets"):
            return yellow(
                "wallet", f"The node has no wallet {name} loaded: the service loads or makes it when it runs."
            )
        listed = await rpc.call("listdescriptors", wallet=name)
    except NodeError as error:
        return yellow("wallet", f"node.wallet {name}: {error}")
    ours = descriptor.text.split("#", 1)[0]
    if any(entry["desc"].split("#", 1)[0] == ours for entry in listed["descriptors"]):
        return green("wallet", f"The node's wallet {name} watches our addresses, as a second witness.")
    return yellow(
        "wallet", f"The node's wallet {name} does not know our descriptor: the service imports it when it runs."
    )


async def _clock(rpc: Rpc) -> Finding:
    """Our clock, held against the newest block's and what the node thinks of its peers' clocks."""
    try:
        block = await rpc.call("getblockheader", await rpc.call("getbestblockhash"))
        offset = int((await rpc.call("getnetworkinfo")).get("timeoffset", 0))
    except NodeError as error:
        return yellow("clock", f"It could not be compared: {error}")
    if int(block["time"]) * 1000 > now_ms() + _DRIFT_MS:
        return red("clock", "This machine's clock is more than two hours behind the newest block: set it, by NTP.")
    if abs(offset) > 60:
        return yellow("clock", f"The node's clock is {offset} seconds off its peers': set it, by NTP.")
    return green("clock", "Within what the newest block and the node's peers allow.")


async def _addresses(rpc: Rpc | None, descriptor: RangedDescriptor) -> Finding:
    first = ", ".join(descriptor.derive(index)[1] for index in range(_SHOWN))
    try:
        if rpc is not None:
            await check_derivation(rpc, descriptor)
    except (DerivationDiffers, NodeError) as error:
        return red("descriptor", str(error))
    return green("descriptor", f"Compare the first addresses with those that your wallet shows: {first}.")
