"""Double entry: what the ledger must write so that it agrees with the facts.

Two units never mix: satoshi and credits. Every transfer sums to zero in each unit. A deposit and
its reversal are named by the outpoint they concern, so the database can refuse the second one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from payments.counted import Counted
from payments.facts import Facts, OutputFact
from payments.model import OutPoint
from payments.status import aside, settled


class Unit(StrEnum):
    SAT = "sat"
    CREDIT = "credit"


class AccountKind(StrEnum):
    """Where value can be. `CHAIN` and `ISSUED` are the outside world and run negative."""

    CHAIN = "chain"
    TILL = "till"
    OWNER = "owner"
    FEES = "fees"
    ISSUED = "issued"
    USER = "user"
    SPENT = "spent"


class TransferKind(StrEnum):
    DEPOSIT = "deposit"
    REVERSAL = "reversal"
    ADJUSTMENT = "adjustment"
    SPEND = "spend"
    FORWARD = "forward"
    FORWARD_REVERSAL = "forward_reversal"


class Account(NamedTuple):
    """One account. `owner` is the user id of a `USER` account, else empty."""

    kind: AccountKind
    unit: Unit
    owner: str = ""


class Line(NamedTuple):
    account: Account
    delta: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Lines that are written together. `credits` is what the user's account gains (or loses)."""

    kind: TransferKind
    outpoint: OutPoint | None
    credits: int
    lines: tuple[Line, ...]


def moved(amount: int, source: Account, target: Account) -> tuple[Line, ...]:
    """Lines that move `amount` from one account to another; none for zero."""
    return (Line(source, -amount), Line(target, amount)) if amount else ()


def transfers_due(
    facts: Facts, user_id: str, tip_height: int, *, unproven: Collection[OutPoint] = ()
) -> list[Transfer]:
    """Transfers that bring the ledger level with the facts; empty when it already is.

    Reversals come first, then deposits in the order in which they were paid. The credits of a
    payment follow the sum of its booked satoshi, so each transfer carries the difference that its
    own output makes; what no output explains (the operator's word about booked coins) is an adjustment.
    Of outputs that are `unproven` no deposit is made; they are facts all the same.
    """
    without, posted = aside(facts), facts.credits_posted
    counted = Counted(facts.terms, tip_height)
    for output in facts.outputs:
        if output.booked and output.outpoint not in without:
            counted.add(output)
    gone = [o for o in facts.outputs if o.booked and o.height is None]
    come = [
        o for o in facts.outputs if not o.booked and o.outpoint not in unproven and settled(o, facts.terms, tip_height)
    ]
    due: list[Transfer] = []
    last: OutPoint | None = None
    for output in [*gone, *sorted(come, key=lambda o: (o.paid_at, o.outpoint))]:
        if output.outpoint not in without:
            (counted.remove if output.booked else counted.add)(output)
        target = counted.credits(posted)
        # On the way to what is right, coins that go give nothing, and coins that come take nothing.
        target = min(target, posted) if output.booked else max(target, posted)
        kind = TransferKind.REVERSAL if output.booked else TransferKind.DEPOSIT
        due.append(_transfer(kind, output, facts.watch_only, target - posted, user_id))
        posted, last = target, output.outpoint
    target = counted.credits(posted)
    if target != posted:
        named = last or max(o.outpoint for o in facts.outputs if o.booked)
        due.append(Transfer(TransferKind.ADJUSTMENT, named, target - posted, _credit_lines(target - posted, user_id)))
    return due


def spend(user_id: str, amount: int) -> Transfer:
    """The shop takes `amount` credits from a user's account."""
    user, spent = Account(AccountKind.USER, Unit.CREDIT, user_id), Account(AccountKind.SPENT, Unit.CREDIT)
    return Transfer(TransferKind.SPEND, None, -amount, moved(amount, user, spent))


def forward(outpoint: OutPoint, value_sat: int, fee_sat: int) -> Transfer:
    """Coins of one outpoint leave the till for the owner's wallet; `fee_sat` of them go to miners."""
    lines = (
        Line(Account(AccountKind.TILL, Unit.SAT), -value_sat),
        Line(Account(AccountKind.OWNER, Unit.SAT), value_sat - fee_sat),
        Line(Account(AccountKind.FEES, Unit.SAT), fee_sat),
    )
    return Transfer(TransferKind.FORWARD, outpoint, 0, tuple(line for line in lines if line.delta))


def forwards(coins: Iterable[tuple[OutPoint, int]], fee_sat: int) -> list[Transfer]:
    """The forwards of one sweep, each coin (outpoint and satoshi) under its own key; whatever their order.

    The fee is shared out by value, rounded on the running sum: the shares add up and none is larger
    than its coin.
    """
    ordered = sorted(coins)
    total = sum(value_sat for _, value_sat in ordered)
    moving, swept, fees = [], 0, 0
    for outpoint, value_sat in ordered:
        swept += value_sat
        share = fee_sat * swept // total - fees
        fees += share
        moving.append(forward(outpoint, value_sat, share))
    return moving


def taken_back(moving: Transfer) -> Transfer:
    """The coins of a forward are in the till again, or nowhere: its sweep cannot be for now."""
    lines = tuple(Line(line.account, -line.delta) for line in moving.lines)
    return replace(moving, kind=TransferKind.FORWARD_REVERSAL, lines=lines)


def _credit_lines(credits: int, user_id: str) -> tuple[Line, ...]:
    issued = Account(AccountKind.ISSUED, Unit.CREDIT)
    return moved(credits, issued, Account(AccountKind.USER, Unit.CREDIT, user_id))


def _transfer(kind: TransferKind, output: OutputFact, watch_only: bool, credits: int, user_id: str) -> Transfer:
    """In watch-only mode the coins are the owner's at once; else they wait in the till."""
    here = Account(AccountKind.OWNER if watch_only else AccountKind.TILL, Unit.SAT)
    amount = output.value_sat if kind is TransferKind.DEPOSIT else -output.value_sat
    lines = moved(amount, Account(AccountKind.CHAIN, Unit.SAT), here)
    return Transfer(kind, output.outpoint, credits, lines + _credit_lines(credits, user_id))
