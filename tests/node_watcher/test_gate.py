"""Whether a node is to be believed: on a real one, and with answers that a regtest node does not give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from node_watcher.chain_rules import rules_of
from node_watcher.clock import now_ms
from node_watcher.derivation import DerivationDiffers, check_derivation
from node_watcher.gate import Gate, Verdict
from node_watcher.rpc import NodeUnavailable, RpcError
from payments.descriptor import RangedDescriptor
from regtest.node import RegtestNode
from tests.node_watcher.rig import MeddlingRpc

DESCRIPTOR = (
    "wpkh(tpubDDNRbZGvdA33cgpY5uy2mmphT7sK4uciRjcQScSd64S5KRyZDxHcPuzs"
    "24or84Hywugb2JbEEt2jWH8fduiN9cmZzkSj8sSSx6txXkhXyZs/0/*)"
)


@pytest.fixture
async def rpc(node: RegtestNode) -> AsyncIterator[MeddlingRpc]:
    opened = MeddlingRpc(node)
    yield opened
    await opened.close()


async def examine(rpc: MeddlingRpc, network: str) -> Verdict:
    """As a network of that name whose chain is regtest's."""
    return await Gate(rpc, replace(rules_of("regtest"), network=network)).examine(now_ms())


def says(rpc: MeddlingRpc, **changed: object) -> None:
    def change(_: Sequence[object], answer: Any) -> Any:
        return {**answer, **changed}

    rpc.after["getblockchaininfo"] = change


async def test_a_node_at_its_tip(rpc: MeddlingRpc, node: RegtestNode) -> None:
    verdict = await examine(rpc, "regtest")
    assert (verdict.reasons, verdict.readable, verdict.frozen, verdict.lag) == ((), True, False, 0)
    assert verdict.height == node.height


async def test_another_network_is_not_even_read(rpc: MeddlingRpc) -> None:
    verdict = await examine(rpc, "main")
    assert [r.code for r in verdict.reasons] == ["wrong-chain"]
    assert (verdict.readable, verdict.frozen) == (False, True)
    assert "node.network is main" in verdict.reasons[0].detail
    assert "regtest" in verdict.reasons[0].detail


@pytest.mark.parametrize(
    "network, changed, codes",
    [
        ("main", {"initialblockdownload": True}, ["syncing"]),
        ("main", {"initialblockdownload": False}, []),
        ("regtest", {"initialblockdownload": True}, []),  # a private chain's tip may be old
        ("regtest", {"initialblockdownload": True, "headers": 10**6}, ["syncing"]),
        ("main", {"headers": 10**6}, ["syncing"]),
        ("signet", {"headers": 0}, []),
    ],
)
async def test_what_freezes_credits(
    rpc: MeddlingRpc, network: str, changed: dict[str, object], codes: list[str]
) -> None:
    says(rpc, chain=network, **changed)
    verdict = await examine(rpc, network)
    assert [r.code for r in verdict.reasons] == codes
    assert (verdict.readable, verdict.frozen) == (True, bool(codes))


async def test_one_header_ahead_is_a_block_on_its_way(rpc: MeddlingRpc, node: RegtestNode) -> None:
    says(rpc, headers=node.height + 1)
    assert not (await examine(rpc, "regtest")).frozen
    says(rpc, headers=node.height + 2)
    assert (await examine(rpc, "regtest")).frozen


@pytest.mark.parametrize("answer", [None, [], "regtest", 7, {}, {"chain": "regtest"}])
async def test_what_is_no_bitcoind_is_the_worlds_trouble(rpc: MeddlingRpc, answer: object) -> None:
    rpc.after["getblockchaininfo"] = lambda _, real: answer
    with pytest.raises(NodeUnavailable, match=r"node\.rpc_url"):
        await examine(rpc, "regtest")


async def test_our_derivation_against_the_nodes(rpc: MeddlingRpc, caplog: pytest.LogCaptureFixture) -> None:
    descriptor = RangedDescriptor.parse(DESCRIPTOR, "regtest")
    await check_derivation(rpc, descriptor)
    assert not caplog.records
    rpc.after["deriveaddresses"] = lambda _, answer: list(reversed(answer))
    with pytest.raises(DerivationDiffers, match="do not take payments"):
        await check_derivation(rpc, descriptor)


async def test_a_node_that_cannot_derive_is_said(rpc: MeddlingRpc, caplog: pytest.LogCaptureFixture) -> None:
    rpc.after["deriveaddresses"] = lambda _, answer: RpcError("deriveaddresses", -5, "no")
    await check_derivation(rpc, RangedDescriptor.parse(DESCRIPTOR, "regtest"))
    assert "could not be compared" in caplog.text
