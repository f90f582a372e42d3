"""Shop and chain are compared in the end: what came, what was credited for it, and where the coins are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from regtest.chain_oracle import ChainOracle, Coin, Paid
from regtest.command_line import main
from regtest.service import RunningService
from storage.database import Database
from tests.storage import invariants


class Sold(NamedTuple):
    """What a payment costs in satoshi, what it is worth, and how deep its coins must be."""

    price_sat: int
    credits: int
    depth: int


def agree(
    till: RunningService,
    orders: Sequence[Mapping[str, Any]],
    sold: Sold,
    begin: int,
    spent: Mapping[str, int] | None = None,
) -> int:
    """Raise `AssertionError` unless the service says of each order what the chain from height `begin` says.

    `orders` are the answers to the customers, one for each user; `spent` is what users spent of their credits. The
    service is ready and at the tip. Returns how many orders were paid for.
    """
    chain = ChainOracle(till.node, begin)
    paid_for, added = 0, Counter[str]()
    for order in orders:
        coins = chain.paid_to(order["address"])
        final = sum(coin.value_sat for coin in coins.values() if coin.depth >= sold.depth)
        due = 0 if final < sold.price_sat else sold.credits * final // sold.price_sat
        paid_for += due > 0
        shown = till.wait_payment(order["payment_id"], partial(_is_at, due))
        live = {(t["txid"], t["vout"]): t["amount_sat"] for t in shown["transactions"] if t["state"] == "confirmed"}
        assert live == {coin: paid.value_sat for coin, paid in coins.items()}
        entries = till.entries(order["user_id"])
        used = (spent or {}).get(order["user_id"], 0)
        assert sum(amount for kind, amount in entries if kind == "spend") == -used
        assert sum(amount for _, amount in entries) == till.balance(order["user_id"]) == due - used
        assert len(till.get(f"payments?user_id={order['user_id']}")["payments"]) == 1
        added[order["payment_id"]] = due
    for event in till.all_events():
        if event["type"] in ("credits.added", "credits.reversed") and event["data"].get("payment_id"):
            added[event["data"]["payment_id"]] -= event["data"]["amount"]
    assert not any(added.values()), f"credits that events and chain differ about: {+added} {-added}"
    assert paid_for >= 1, "nobody paid: this proves nothing"
    asyncio.run(_check_invariants(till.database_url))
    audited = main("audit", "--full", "--config", str(till.config))
    assert audited.code == 0, audited.out + audited.err
    assert [line for line in till.log() if line["level"] == "critical" or "exception" in line] == []
    assert till.log_says("knew payment transaction") == 0, "the second witness found something we had missed"
    return paid_for


def _is_at(credits: int, payment: Mapping[str, Any]) -> bool:
    gone_to_the_owner = payment["status"] == "forwarded"
    return bool(payment["credited"] == credits and gone_to_the_owner == (credits > 0))


async def _check_invariants(url: str) -> None:
    async with Database(url, read_only=True) as database:
        await database.read(invariants.check_quiet)


def _why_here(till: RunningService, coin: Coin, paid: Paid, shown: Mapping[str, Any]) -> str:
    """All that is known of a coin that should be with the owner."""

    async def rows() -> list[dict[str, Any]]:
        async with Database(till.database_url, read_only=True) as database:
            found = await database.read(
                lambda tx: tx.all(
                    "SELECT o.*, s.txid AS sweep, s.state, s.last_error FROM output o"
                    " LEFT JOIN sweep_input i ON i.prev_txid = o.txid AND i.prev_vout = o.vout"
                    " LEFT JOIN sweep s ON s.txid = i.sweep_txid WHERE o.txid = :txid",
                    txid=coin[0],
                )
            )
            return [dict(row) for row in found]

    log = [
        line["message"] for line in till.log() if shown["payment_id"] in line["message"] or coin[0] in line["message"]
    ]
    return f"{coin} {paid} is not swept: {asyncio.run(rows())}\n{shown}\n" + "\n".join(log[-20:])


def swept(till: RunningService, orders: Sequence[Mapping[str, Any]], sold: Sold, begin: int) -> int:
    """Raise `AssertionError` unless each credited coin left once, for the owner, and nothing is missing but the fee.

    In forwarding mode, one block after everything that was due had been swept: what was final before this block has
    left, and nothing else. Payments may come late: the node's watch-only wallet offers those again that its mempool
    has lost, whenever it learns more addresses. Returns how many sweeps there were."""
    chain = ChainOracle(till.node, begin)
    coins_in, sweeps = 0, set()
    for order in orders:
        shown = till.payment(order["payment_id"])
        for coin, paid in chain.paid_to(order["address"]).items():
            if shown["status"] != "forwarded" or paid.depth <= sold.depth:
                assert coin not in chain.spenders
                continue
            assert coin in chain.spenders, _why_here(till, coin, paid, shown)
            sweeps.add(chain.spenders[coin])
            coins_in += paid.value_sat
    assert till.forward_to is not None
    arrived = chain.paid_to(till.forward_to)
    assert {txid for txid, _ in arrived} == sweeps
    assert len(arrived) == len(sweeps)
    assert all(len(chain.transactions[txid]["vout"]) == 1 for txid in sweeps)
    fees = sum(chain.fee_of(txid) for txid in sweeps)
    assert sum(paid.value_sat for paid in arrived.values()) + fees == coins_in
    assert till.owner.received().keys() >= arrived.keys()
    dearest = 50  # forwarding.max_feerate, sat/vB
    assert all(0 < chain.fee_of(txid) <= dearest * chain.transactions[txid]["vsize"] for txid in sweeps)
    return len(sweeps)
