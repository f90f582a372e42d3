"""More at once than ZMQ carries: a full block of transactions that nobody had heard of, and a thousand blocks.

The service looks by itself once an hour: what it sees in time it was told.
"""

from __future__ import annotations

from collections.abc import Callable

from payments.address import script_pubkey
from regtest.conftest import MakeTill
from regtest.free_coins import free_coins
from regtest.free_ports import free_port
from regtest.node import RegtestNode

LOST = 'nodetill_zmq_gaps_total{topic="rawtx"}'
BLOCKS_READ = 'nodetill_rpc_seconds_count{method="getblock"}'
AN_HOUR = {"payments": {"check_interval_seconds": 3600}}


def test_a_full_block_of_strangers_and_payments_nobody_announced(
    make_node: Callable[..., RegtestNode], make_till: MakeTill
) -> None:
    """At the node's own high-water mark most of such a block is dropped, however fast one reads. Fifty payments
    among its 4,700 transactions were never in a mempool."""
    ports = {topic: f"tcp://127.0.0.1:{free_port()}" for topic in ("rawtx", "hashblock")}
    arguments = [f"-zmqpub{topic}={endpoint}" for topic, endpoint in ports.items()]
    node = make_node(zmq=False, extra_args=arguments).fund(5)
    coins = free_coins(node, 4_700)
    settings = {"node": {f"zmq_{topic}": endpoint for topic, endpoint in ports.items()}, **AN_HOUR}
    till = make_till(node, zmq=False, settings=settings)
    made = [till.create("small", f"crowd-{number}") for number in range(50)]
    every = len(coins) // len(made)
    transactions = [coin.shuffle() for coin in coins]
    for number, payment in enumerate(made):
        script = script_pubkey(payment["address"], "regtest")
        transactions[number * every] = coins[number * every].spend(script, 40_000)
    node.mine_with(transactions)
    assert node.rpc("getblock", node.tip, 1)["nTx"] == 4_701
    node.mine(2)
    for number, payment in enumerate(made):
        till.wait_payment(payment["payment_id"], "forwarded")
        assert till.entries(f"crowd-{number}") == [("payment", 400)]
    till.wait("the gap in the figures", lambda: till.figures().get(LOST, 0) > 0)
    till.stop()


def test_a_thousand_blocks_at_once(own_node: RegtestNode, make_till: MakeTill) -> None:
    """Mined while we listen: every block is read once (and the last 288 once more, should an audit come by)."""
    till = make_till(own_node, settings=AN_HOUR)
    till.wait_level()
    read = till.figures().get(BLOCKS_READ, 0)
    before, after = till.create("small", "first-of-many"), till.create("small", "last-of-many")
    till.node.pay(before["address"], 40_000)
    till.node.mine(997)
    till.node.pay(after["address"], 40_000)
    till.node.mine(3)
    for payment in (before, after):
        till.wait_payment(payment["payment_id"], "forwarded")
    till.wait_level()
    assert till.payment(before["payment_id"])["confirmations"] == 1_000
    till.wait("a figure of all blocks", lambda: till.figures()[BLOCKS_READ] >= read + 1_000)
    assert till.figures()[BLOCKS_READ] <= read + 1_000 + 288
    assert till.entries("first-of-many") == till.entries("last-of-many") == [("payment", 400)]
    till.stop()
