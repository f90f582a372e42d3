"""Five hundred payments of mixed size: who buys what, and what really comes for it.

Most pay what is asked. Some pay more, some in two transactions, some when their window is over, and of those some
too little. What each is worth in credits follows from the price that was promised and from nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from regtest.node import RegtestNode
from regtest.service import RunningService

Habit = Literal["exact", "more", "halves", "late", "late and short"]
_USERS = 50
_AT_ONCE = 60
"""Outputs of one of their transactions."""
_SHORT_MINUTES = 0.01


class Package(NamedTuple):
    """What is for sale; `weight` is how many of a hundred take it."""

    id: str
    price_sat: int
    credits: int
    weight: int


PACKAGES = (
    Package("crumb", 2_000, 20, 8),
    Package("small", 15_000, 150, 30),
    Package("medium", 60_000, 650, 40),
    Package("large", 400_000, 4_800, 17),
    Package("giant", 2_000_000, 25_000, 5),
)
"""At five satoshi for a virtual byte a crumb is not worth its input, and a small one not a sweep of its own."""
SMALL, MEDIUM = PACKAGES[1], PACKAGES[2]
PAYMENTS = {"max_open_per_user": 1_000, "timeout_minutes": 60}


@dataclass
class Purchase:
    """One payment. `coins` is what its buyer sends, in satoshi, each by another transaction."""

    number: int
    package: Package
    habit: Habit
    answer: dict[str, Any] = field(default_factory=dict)
    coins: list[int] = field(default_factory=list)

    @property
    def user(self) -> str:
        return f"user-{self.number % _USERS}"

    @property
    def address(self) -> str:
        return str(self.answer["address"])

    def credits_for(self, final_sat: int) -> int:
        """What a final sum is worth, whenever it came."""
        return 0 if final_sat < self.package.price_sat else self.package.credits * final_sat // self.package.price_sat


class Crowd:
    """All who buy at one till."""

    def __init__(self, till: RunningService, dice: random.Random) -> None:
        self.till, self._dice = till, dice
        self.purchases: list[Purchase] = []

    @property
    def node(self) -> RegtestNode:
        return self.till.node

    def come(self, many: int) -> None:
        """So many buy and pay. The service runs, and is started again in between."""
        everybody = [self._somebody(len(self.purchases) + number) for number in range(many)]
        late = [one for one in everybody if one.habit.startswith("late")]
        self._window(_SHORT_MINUTES)
        self._buy(late)
        for one in late:
            self.till.wait_payment(one.answer["payment_id"], "expired")
        self._window(PAYMENTS["timeout_minutes"])
        self._buy(one for one in everybody if one not in late)
        self.purchases += everybody
        self._pay(everybody)

    def come_alone(self, package: Package) -> Purchase:
        """One more, who pays what is asked."""
        one = Purchase(len(self.purchases), package, "exact", coins=[package.price_sat])
        self._buy([one])
        self.purchases.append(one)
        self._pay([one])
        return one

    def _somebody(self, number: int) -> Purchase:
        package = self._dice.choices(PACKAGES, [package.weight for package in PACKAGES])[0]
        price = package.price_sat
        match number % 25:
            case 3 | 11:
                return Purchase(number, package, "more", coins=[price * 3 // 2 + 123])
            case 7 | 19:
                part = self._dice.randint(price // 3, price * 2 // 3)
                if price <= SMALL.price_sat:  # the one part is not worth its input, the other is
                    package, part = SMALL, 3_000
                return Purchase(number, package, "halves", coins=[part, package.price_sat - part])
            case 13:
                return Purchase(number, package, "late", coins=[price])
            case 21:
                # Too little: nothing is credited, and the coin goes to the owner if it is worth it.
                return Purchase(number, MEDIUM, "late and short", coins=[self._dice.choice([1_500, 3_000, 30_000])])
            case _:
                return Purchase(number, package, "exact", coins=[price])

    def _window(self, minutes: float) -> None:
        self.till.stop()
        self.till.settings["payments"]["timeout_minutes"] = minutes
        self.till.write_config()
        self.till.start()

    def _buy(self, purchases: Iterable[Purchase]) -> None:
        for one in purchases:
            one.answer = self.till.create(one.package.id, one.user)

    def _pay(self, purchases: list[Purchase]) -> None:
        """First coins first, then those who pay in two."""
        for turn in range(max(len(one.coins) for one in purchases)):
            for some in _in_parts({one.address: one.coins[turn] for one in purchases if len(one.coins) > turn}):
                self.node.pay_many(some)


def _in_parts(amounts: dict[str, int]) -> Iterator[dict[str, int]]:
    items = list(amounts.items())
    for start in range(0, len(items), _AT_ONCE):
        yield dict(items[start : start + _AT_ONCE])
