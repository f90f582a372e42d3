"""Where every coin is in the end: by the chain alone, and then whether the service says the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from regtest.chain_oracle import ChainOracle, Coin, Paid
from regtest.command_line import main
from regtest.crowd import Purchase
from regtest.hand import plan
from regtest.service import RunningService
from storage.database import Database
from tests.storage import invariants


@dataclass(frozen=True, slots=True)
class CoinBalance:
    """In satoshi: what came, and where it is. `held` are the coins that no transaction spends."""

    in_sat: int
    at_destination_sat: int
    fees_sat: int
    held: frozenset[Coin]
    held_sat: int
    sweeps: frozenset[str]
    most_inputs: int


def balance_on_chain(till: RunningService, purchases: list[Purchase], begin: int) -> CoinBalance:
    """Raise `AssertionError` unless each coin is here, or left once, within all limits, for the owner.

    Reads the blocks from height `begin` and the settings; nothing that the service says.
    """
    chain = ChainOracle(till.node, begin)
    addresses = {one.address for one in purchases}
    coins = {coin: paid for coin, paid in chain.outputs.items() if paid.address in addresses}
    assert len(coins) == sum(len(one.coins) for one in purchases)
    assert all(paid.depth >= till.settings["payments"]["confirmations_required"] for paid in coins.values())
    sweeps = frozenset(chain.spenders[coin] for coin in coins if coin in chain.spenders)
    inputs = [_within_limits(till, chain, txid, coins) for txid in sweeps]
    assert till.forward_to is not None
    arrived = chain.paid_to(till.forward_to)
    assert {txid for txid, _ in arrived} == sweeps
    held = frozenset(coins.keys() - chain.spenders.keys())
    balance = CoinBalance(
        sum(paid.value_sat for paid in coins.values()),
        sum(paid.value_sat for paid in arrived.values()),
        sum(chain.fee_of(txid) for txid in sweeps),
        held,
        sum(coins[coin].value_sat for coin in held),
        sweeps,
        max(inputs),
    )
    assert balance.in_sat == balance.at_destination_sat + balance.fees_sat + balance.held_sat
    return balance


def _within_limits(till: RunningService, chain: ChainOracle, txid: str, coins: dict[Coin, Paid]) -> int:
    """How many inputs this sweep has."""
    rules, sweep = till.settings["forwarding"], chain.transactions[txid]
    spent = [(coin["txid"], coin["vout"]) for coin in sweep["vin"]]
    assert set(spent) <= coins.keys()
    assert len(spent) <= rules["batch_max_inputs"]
    assert [out["scriptPubKey"].get("address") for out in sweep["vout"]] == [till.forward_to]
    fee, value = chain.fee_of(txid), sum(coins[coin].value_sat for coin in spent)
    assert 0 < fee <= Decimal(str(rules["max_feerate"])) * sweep["vsize"], f"{txid} is dearer than the cap"
    assert fee * 100 <= Decimal(str(rules["max_fee_share"])) * value, f"{txid} costs {fee} of {value} sat"
    return len(spent)


def agrees(till: RunningService, purchases: list[Purchase], begin: int, balance: CoinBalance) -> None:
    """Raise `AssertionError` unless plan, credits, events, ledger and audit say what the chain says.

    The service runs and is level; all sweeps are final.
    """
    planned = plan(till)
    assert {(coin["txid"], coin["vout"]) for coin in planned["held"]} == balance.held
    assert planned["held_sat"] == balance.held_sat
    assert planned["batches"] == planned["sweeps"] == planned["late"] == []
    assert all(coin["reason"] for coin in planned["held"])
    _credits_agree(till, purchases, begin)
    assert asyncio.run(_accounts(till.database_url)) == {
        "chain": -balance.in_sat,
        "till": balance.held_sat,
        "owner": balance.at_destination_sat,
        "fees": balance.fees_sat,
    }
    audited = main("audit", "--full", "--config", str(till.config))
    assert audited.code == 0, audited.out + audited.err
    assert [line for line in till.log() if line["level"] == "critical" or "exception" in line] == []


def _credits_agree(till: RunningService, purchases: list[Purchase], begin: int) -> None:
    """Each payment is worth what its coins are worth, once: on the account, and in the events."""
    chain = ChainOracle(till.node, begin)
    came = Counter[str]()
    for paid in chain.outputs.values():
        came[paid.address or ""] += paid.value_sat
    by_user, by_payment = Counter[str](), Counter[str]()
    for one in purchases:
        by_user[one.user] += (due := one.credits_for(came[one.address]))
        by_payment[one.answer["payment_id"]] += due
    for user, due in by_user.items():
        assert till.balance(user) == sum(amount for _, amount in till.entries(user)) == due
    for event in till.all_events():
        if event["type"] in ("credits.added", "credits.reversed") and event["data"].get("payment_id"):
            by_payment[event["data"]["payment_id"]] -= event["data"]["amount"]
    assert not any(by_payment.values()), f"credits that events and chain differ about: {+by_payment} {-by_payment}"


async def _accounts(url: str) -> dict[str, int]:
    """Satoshi by account, out of the ledger; its invariants hold."""
    async with Database(url, read_only=True) as database:
        await database.read(invariants.check_quiet)
        rows = await database.read(lambda tx: tx.all("SELECT kind, balance FROM account WHERE unit = 'sat'"))
        return {row["kind"]: row["balance"] for row in rows}
