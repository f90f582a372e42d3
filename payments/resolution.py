"""What the operator may decide: coins that give no credits by themselves, and never a credit taken away."""

from __future__ import annotations

from collections.abc import Iterable

from payments.facts import Facts, OutputFact, Resolution
from payments.model import ExcessPolicy, OutPoint
from payments.status import PaymentState, aside, credits_for, held


class NotPossible(Exception):
    """The decision is refused; the text says why, and what to do instead."""


def open_coins(facts: Facts, action: Resolution) -> tuple[OutputFact, ...]:
    """Coins about which this can be decided now, in the payer's order, however deep they are.

    `CREDIT` is for held coins. What gives no credits can be set aside: held coins, and, once the window is closed,
    those of a payment that has no credits and not the coins for any. There a coin that was allowed can be set aside,
    too: what was to complete it is gone again.
    """
    waiting = held(facts)
    wanted = set(waiting)
    if action is not Resolution.CREDIT and facts.window_closed and not _buys(facts):
        wanted |= {o.outpoint for o in facts.outputs if not o.set_aside}
    return tuple(o for o in facts.in_payers_order() if o.outpoint in wanted)


def coins_to_decide(
    facts: Facts, state: PaymentState, action: Resolution, named: Iterable[OutPoint] | None = None
) -> tuple[OutPoint, ...]:
    """The coins of a decision: those `named`, or all that are open. Raises `NotPossible`.

    None at all for the acknowledgement of a reversal: `IGNORE` of a reversed payment of which nothing is there.
    """
    coins = [o.outpoint for o in open_coins(facts, action)]
    if named is not None:
        chosen = list(dict.fromkeys(named))
        for outpoint in chosen:
            if outpoint not in coins:
                raise NotPossible(_why_not_this(facts, state, action, outpoint))
        coins = [outpoint for outpoint in coins if outpoint in chosen]
    elif not coins and not (action is Resolution.IGNORE and state.failure_reason == "reversed"):
        raise NotPossible(_why_not(facts, state, action))
    if action is Resolution.CREDIT:
        _expect_worth(facts, coins)
    return tuple(coins)


def _counting(facts: Facts) -> int:
    """Satoshi that are here or on their way, and count without a decision."""
    without = aside(facts)
    return sum(o.value_sat for o in facts.outputs if o.live and o.outpoint not in without)


def _buys(facts: Facts) -> bool:
    """Whether credits stand on the coins that count, or will as soon as they are deep enough."""
    return facts.credits_posted > 0 or credits_for(facts.terms, _counting(facts)) > 0


def _expect_worth(facts: Facts, coins: list[OutPoint]) -> None:
    """A word that gives nothing is none: the coins would be off the list, and nobody had anything of them."""
    counting, terms = _counting(facts), facts.terms
    more = sum(o.value_sat for o in facts.outputs if o.outpoint in coins)
    if credits_for(terms, counting + more) > credits_for(terms, counting):
        return
    if counting + more < terms.needed_sat:
        why = f"with the {counting} sat that count they are less than the {terms.needed_sat} sat asked"
    elif terms.excess is ExcessPolicy.KEEP:
        why = 'the payment is complete without them, and what is on top gives nothing (payments.excess = "keep")'
    else:
        why = "they are worth less than one credit"
    raise NotPossible(f"--action credit gives no credits for these {more} sat: {why}; choose refunded or ignore.")


def _why_not_this(facts: Facts, state: PaymentState, action: Resolution, outpoint: OutPoint) -> str:
    name = f"{outpoint.txid}:{outpoint.vout}"
    output = next((o for o in facts.outputs if o.outpoint == outpoint), None)
    if output is None:
        return f"--coin {name} is no coin of this payment; see `nodetill payments show`."
    if output.decision is not None and (output.set_aside or action is Resolution.CREDIT):
        return f"--coin {name} was decided: {output.decision.value}; a decision about a coin is for good."
    if not output.live:
        return f"--coin {name} is {output.state.value}: it is not there, so there is nothing to decide."
    return _why_not(facts, state, action)


def _why_not(facts: Facts, state: PaymentState, action: Resolution) -> str:
    here = [o for o in facts.outputs if o.live]
    if not here:
        if state.failure_reason == "reversed":
            return f"--action {action.value}: its coins are gone; --action ignore takes it off the attention list."
        return f"--action {action.value}: no coins of this payment are here; there is nothing to decide."
    if action is Resolution.CREDIT:
        if any(o.set_aside for o in here) and not _buys(facts):
            return "--action credit: its coins were ignored or refunded, and such a decision is for good."
        if _buys(facts):
            return "--action credit: no coins of this payment are held; what counts is credited by itself, N deep."
        return (
            f"--action credit: no coins of this payment are held; {state.remaining_sat} of {facts.terms.amount_sat} "
            "sat are missing, and once they come credits follow by themselves. Else choose refunded or ignore."
        )
    if _buys(facts):
        return (
            f"--action {action.value}: its coins give credits, and a decision never takes credits away; "
            "what you give back to the customer beside that, take as a spend of his credits."
        )
    if all(o.set_aside for o in here):
        return f"--action {action.value}: its coins were decided about already, and such a decision is for good."
    return f"--action {action.value}: the window is open until it has expired; wait for the rest of the coins."
