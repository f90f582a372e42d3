"""Which coins go to the owner now, together with which, and why the others stay. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from payments.coin import Coin
from payments.forward import ForwardRules, fee_for, feerate_refusal, refusal, within_share

VsizeOf = Callable[[int], int]
"""Virtual bytes of a sweep of so many inputs to the owner, never too few."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Coins that go in one sweep, and what it costs in satoshi."""

    coins: tuple[Coin, ...]
    fee_sat: int

    @property
    def value_sat(self) -> int:
        return sum(coin.value_sat for coin in self.coins)


@dataclass(frozen=True, slots=True)
class HeldCoin:
    """A coin that stays for now, and why in words. `kept`: it is to stay, as the hot balance."""

    coin: Coin
    reason: str
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    batches: tuple[Batch, ...]
    held: tuple[HeldCoin, ...]


def is_late(coin: Coin, rules: ForwardRules, now: int) -> bool:
    """Whether a coin has waited for longer than `deadline_ms`."""
    return now - coin.since >= rules.deadline_ms


def plan(
    coins: Sequence[Coin],
    feerate: Decimal | None,
    rules: ForwardRules,
    vsize_of: VsizeOf,
    now: int,
    *,
    at_once: bool = False,
) -> Plan:
    """Decide for all coins that wait. `feerate` in sat/vB; `at_once`: the operator asks, nobody waits for company.

    Oldest first. A coin goes when it is worth its own input (its share of the fee is within the limit, or its
    deadline is over), a batch when all of it together is worth the whole fee. Both limits end at the same cap.
    """
    ordered = sorted(coins, key=lambda coin: (coin.since, coin.outpoint))
    if (reason := feerate_refusal(feerate, rules)) is not None:
        return Plan((), tuple(HeldCoin(coin, reason) for coin in ordered))
    assert feerate is not None  # noqa: S101 - refused above
    held = list(_uneconomic(ordered, fee_for(vsize_of(2) - vsize_of(1), feerate), rules, now))
    staying = {entry.coin.outpoint for entry in held}
    going, kept = _above_hot_balance([c for c in ordered if c.outpoint not in staying], ordered, rules)
    held += kept
    batches: list[Batch] = []
    for start in range(0, len(going), rules.batch_max_inputs):
        batch = going[start : start + rules.batch_max_inputs]
        verdict = _judge(batch, fee_for(vsize_of(len(batch)), feerate), rules, now, at_once=at_once)
        if isinstance(verdict, Batch):
            batches.append(verdict)
        else:
            held += [HeldCoin(coin, verdict) for coin in batch]
    return Plan(tuple(batches), tuple(held))


def _uneconomic(coins: Sequence[Coin], input_fee: int, rules: ForwardRules, now: int) -> Iterator[HeldCoin]:
    """Coins that would not pay for their own input: a batch would carry them at the others' cost."""
    for coin in coins:
        if coin.value_sat <= input_fee:
            yield HeldCoin(coin, f"{coin.value_sat} sat would not pay for an input of {input_fee} sat (dust)")
        elif not is_late(coin, rules, now) and not within_share(input_fee, coin.value_sat, rules):
            yield HeldCoin(
                coin,
                f"its input alone would cost {input_fee} of its {coin.value_sat} sat, more than"
                f" forwarding.max_fee_share = {rules.max_fee_share} %",
            )


def _above_hot_balance(
    coins: Sequence[Coin], everything: Sequence[Coin], rules: ForwardRules
) -> tuple[list[Coin], list[HeldCoin]]:
    """Oldest first, as many as leave `hold_sat` in the till."""
    free = sum(coin.value_sat for coin in everything) - rules.hold_sat
    going, kept = [], []
    for coin in coins:
        if coin.value_sat <= free:
            free -= coin.value_sat
            going.append(coin)
        else:
            kept.append(HeldCoin(coin, f"forwarding.hold = {rules.hold_sat} sat stay in the till", kept=True))
    return going, kept


def _judge(batch: Sequence[Coin], fee_sat: int, rules: ForwardRules, now: int, *, at_once: bool) -> Batch | str:
    waited = now - min(coin.since for coin in batch)
    if not at_once and len(batch) < rules.batch_max_inputs and waited < rules.batch_window_ms:
        return f"waits for company until forwarding.batch_window_minutes = {rules.batch_window_ms // 60_000} are over"
    value = sum(coin.value_sat for coin in batch)
    late = any(is_late(coin, rules, now) for coin in batch)
    if (reason := refusal(value, fee_sat, rules, late=late)) is not None:
        return reason
    return Batch(tuple(batch), fee_sat)
