"""The feerate is the cap itself: what goes at 1 sat/vB goes for an owner who allows 1 sat/vB."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from regtest.node import RegtestNode
from tests.node_watcher.rig import Rig


@pytest.mark.parametrize("coins", [1, 30])
async def test_a_batch_goes_at_the_cap(make_rig: Callable[..., Rig], chain_node: RegtestNode, coins: int) -> None:
    chain_node.mine(1)
    rig = await make_rig(chain_node, forwarding=True, depth=1).open()
    rig.rpc.after["estimatesmartfee"] = lambda _, answer: {"errors": ["Insufficient data"], "blocks": 6}
    made = [await rig.create(f"u{number}", 50_000 + number) for number in range(coins)]
    rig.node.pay_many({payment.address: 50_000 + number for number, payment in enumerate(made)})
    await rig.mine(1)
    await rig.settle()
    forwarder = rig.new_forwarder(chain_node.new_address(), max_feerate=Decimal(1))
    assert await forwarder.forward_due(await rig.tip()) == 1
    rows = await rig.database.read(lambda tx: tx.all("SELECT fee_sat, vsize FROM sweep"))
    assert [row["fee_sat"] for row in rows] == [row["vsize"] for row in rows]
