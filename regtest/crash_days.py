"""What happens around a service that is going to be killed: days of a shop, each of which leads to other points.

A day goes on until the service is dead, or until its work is done. Customers and miners do not care whether it lives:
who got no answer asks again in the next life, under the same Idempotency-Key.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from regtest.agreement import Sold
from regtest.crashing_service import CrashingService
from regtest.node import PAYER
from storage import forward_orders, late_forwards, looks
from storage.database import Database

SOLD = Sold(price_sat=40_000, credits=400, depth=2)
DEPTH = SOLD.depth
PATIENCE_SECONDS = 15.0
TOO_LOW_SAT = 1_000_000
"""More than any sweep's fee: what the node reckons with is below what it relays."""
AIM_BLOCKS = 2
"""`forwarding.target_blocks`: a sweep that no block took by then is bumped."""
SETTINGS: dict[str, Any] = {
    "payments": {"check_interval_seconds": 0.2, "confirmations_required": DEPTH},
    "forwarding": {"target_blocks": AIM_BLOCKS, "deadline_hours": 48, "max_fee_share": 50},
}


@dataclass
class Order:
    """One customer's wish. `answer` is what the shop said first; `txids` is what was paid."""

    number: int
    answer: dict[str, Any] | None = None
    txids: list[str] = field(default_factory=list)
    for_money: bool = True

    @property
    def user(self) -> str:
        return f"user-{self.number}"


class Street:
    """Everybody around one service. `spent` is what users spent of their credits, by order reference."""

    def __init__(self, till: CrashingService) -> None:
        self.till, self.node = till, till.node
        self.keys = (till.key, till.new_key("payments:read", "payments:write"))
        self.orders: list[Order] = []
        self.spends: list[tuple[str, str]] = []

    # ------------------------------------------------------------------ waiting

    @property
    def alive(self) -> bool:
        return self.till.running

    def until(self, condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until it is so, or the service is dead, or the patience is at an end; whether it is so."""
        end = time.monotonic() + seconds
        while self.alive and time.monotonic() < end:
            try:
                if condition():
                    return True
            except OSError:
                pass  # it dies, or does not answer yet
            time.sleep(0.01)
        return False

    def open_the_door(self) -> bool:
        """Wait until it answers; False when it died before."""
        return self.until(lambda: self.till.ask("GET", "/healthz", key=None).status == 200)

    def shown(self, order: Order) -> dict[str, Any]:
        assert order.answer is not None
        return self.till.payment(order.answer["payment_id"])

    def is_(self, order: Order, *status: str) -> bool:
        return order.answer is not None and self.alive and self.shown(order)["status"] in status

    # ------------------------------------------------------------------ what people do

    def buy(self, *, for_money: bool = True) -> Order:
        self.orders.append(Order(len(self.orders) + 1, for_money=for_money))
        self.ask(self.orders[-1])
        return self.orders[-1]

    def ask(self, order: Order) -> None:
        """Ask for an order, perhaps again. The answer must be the one that was given before."""
        body = {"package_id": "small", "user_id": order.user}
        headers = {"Idempotency-Key": f"order-{order.number}"}
        key = self.keys[order.number % 2]  # an Idempotency-Key is its API key's own
        try:
            answer = self.till.ask("POST", "payments", body, headers=headers, key=key)
        except OSError:
            return  # the customer will press the button again
        if answer.status == 503:
            return  # it reads the blocks that it missed
        shown: dict[str, Any] = answer.expect(201)
        assert order.answer in (None, shown), f"order {order.number} got another payment"
        order.answer = shown

    def ask_again(self) -> None:
        for order in self.orders:
            if order.answer is None:
                self.ask(order)

    def pay_all(self) -> None:
        """Who has an address and did not pay does so now."""
        for order in self.orders:
            if order.answer is not None and order.for_money and not order.txids:
                order.txids.append(self.node.pay(order.answer["address"], SOLD.price_sat))

    def spend(self, user: str, reference: str) -> None:
        """Spend one credit; the same reference is the same spend."""
        if (user, reference) not in self.spends:
            self.spends.append((user, reference))
        try:
            self.till.post(f"users/{user}/credits/spend", {"amount": 1, "reference": reference})
        except OSError:
            return

    def behind_its_back(self) -> None:
        """What happens while it is dead: who can pays, and blocks are found."""
        self.pay_all()
        self.node.mine(1)

    # ------------------------------------------------------------------ days

    def morning(self) -> None:
        """Nothing: what it does by itself leads there."""
        self.until(lambda: False)

    def sale(self) -> list[Order]:
        """Two customers buy and pay, and their coins are forwarded."""
        self.ask_again()
        orders = [self.buy(), self.buy()]
        self.pay_all()
        self._reach(orders, "confirming")
        self.node.mine(DEPTH)
        self._reach(orders, "forwarded")
        return orders

    def spending(self) -> None:
        """A user spends; who had no answer spends again, under the same reference."""
        rich = next(order for order in self.orders if order.txids)
        self.until(lambda: self.till.balance(rich.user) > 2)
        for _, reference in [*self.spends[-1:], ("", secrets.token_hex(4)), ("", secrets.token_hex(4))]:
            self.spend(rich.user, reference)

    def replacement(self) -> None:
        """A payment is replaced by one of a higher fee before it is mined."""
        self.ask_again()
        order = self.buy()
        self.pay_all()
        if order.txids and self._reach([order], "confirming"):
            order.txids.append(self.node.bump(order.txids[-1]))
            self.until(lambda: "replaced" in [t["state"] for t in self.shown(order)["transactions"]])
        self.node.mine(1)

    def expiry(self) -> None:
        """The node throws a payment out of its mempool, as one that waited for two weeks; its payer sends it again."""
        self.ask_again()
        order = self.buy()
        self.pay_all()
        if order.txids and self._reach([order], "confirming"):
            raw = self.node.rpc("gettransaction", order.txids[-1], wallet=PAYER)["hex"]
            self._throw_out_what_is_old()
            self._reach([order], "pending")
            self.node.rpc("sendrawtransaction", raw)
        self.node.mine(1)

    def reorganisation(self) -> None:
        """Blocks with a sale are replaced by empty ones, and the sale is mined again above them."""
        orders = self.sale()
        self.node.reorg(DEPTH)
        self._reach(orders, "confirming", "failed")
        self.node.mine(DEPTH)
        self._reach(orders, "forwarded")

    def refusal(self) -> None:
        """Sweeps leave the node's mempool, and for a moment their fees are too low for it; then it takes them again."""
        sweeps = self._sweeps_of(self.sale())
        for txid in sweeps:
            self.node.rpc("prioritisetransaction", txid, 0, -TOO_LOW_SAT)
        self._throw_out_what_is_old()
        self.until(lambda: False, 1.0)  # they are offered at the next look
        for txid in sweeps:
            self.node.rpc("prioritisetransaction", txid, 0, TOO_LOW_SAT)

    def stuck(self) -> None:
        """No block takes the sweeps of a sale, and they offer more; then one does."""
        sweeps = self._sweeps_of(self.sale())
        for _ in range(AIM_BLOCKS):
            self.node.mine_empty(1)
        self.until(lambda: not sweeps & self.node.mempool())
        self.node.mine(1)

    def late(self) -> None:
        """Nothing is in time; a block takes it all the same."""
        orders = self.sale()
        self.until(lambda: all("payment.forwarding_failed" in self._told(order) for order in orders if order.answer))
        self.node.mine(1)
        self.until(lambda: not asyncio.run(self._late()))

    def ordering(self) -> None:
        """The operator wants everything swept at once, and waits for the answer."""
        number = asyncio.run(self._order())
        self.until(lambda: asyncio.run(self._answered(number)))

    def _told(self, order: Order) -> list[str]:
        assert order.answer is not None
        return self.till.events_of(order.answer["payment_id"])

    async def _late(self) -> int:
        async with Database(self.till.database_url, read_only=True) as database:
            return len(await database.read(late_forwards.told))

    async def _order(self) -> int:
        async with Database(self.till.database_url) as database:
            return await database.write(forward_orders.ask, "run", None, time.time_ns() // 1_000_000)

    async def _answered(self, number: int) -> bool:
        async with Database(self.till.database_url, read_only=True) as database:
            return await database.read(forward_orders.answer_of, number) is not None

    def _sweeps_of(self, orders: list[Order]) -> set[str]:
        """The sweeps of these that the service told us of before it died."""
        told: set[str] = set()

        def look() -> bool:
            for order in orders:
                if order.answer is not None and (txid := self.shown(order)["forwarding_tx_hash"]):
                    told.add(txid)
            return True

        self.until(look)
        return told

    def _throw_out_what_is_old(self) -> None:
        """The node's mempool forgets everything, as after two weeks."""
        self.node.rpc("setmocktime", self.node.rpc("getblockchaininfo")["time"] + 8 * 3600)
        self.node.pay(self.node.new_address(), 20_000)  # what enters makes the node throw out what is old
        self.node.rpc("setmocktime", 0)

    def closing(self) -> None:
        """Nobody pays, and the window closes."""
        self.ask_again()
        self._reach([self.buy(for_money=False)], "expired")

    def stranger(self) -> None:
        """Twice somebody pays an address that this database has not handed out."""
        for _ in range(2):
            descriptor, free = asyncio.run(self._next_address())
            (address,) = self.node.rpc("deriveaddresses", descriptor, [free + 3, free + 3])
            self.node.pay(address, SOLD.price_sat)
            self.until(lambda free=free: asyncio.run(self._next_address())[1] > free + 3)  # type: ignore[misc]
            self.node.mine(1)

    async def _next_address(self) -> tuple[str, int]:
        async with Database(self.till.database_url, read_only=True) as database:
            row = await database.read(lambda tx: tx.one("SELECT descriptor, next_index FROM keychain"))
        assert row is not None
        return row["descriptor"], row["next_index"]

    def unloading(self) -> None:
        """Somebody unloads the node's watch-only wallet, and it is loaded again."""
        self.until(self.unload)

    def elsewhere(self) -> None:
        """A process of ours with `--role api` wants a look."""

        async def want() -> int:
            async with Database(self.till.database_url) as database:
                return await database.write(looks.want)

        async def told() -> int:
            async with Database(self.till.database_url, read_only=True) as database:
                return (await database.read(looks.told)).done

        number = asyncio.run(want())
        self.until(lambda: asyncio.run(told()) >= number)

    def _reach(self, orders: list[Order], *status: str) -> bool:
        """Wait for these; whether they all came to it while the service lived."""
        return all([self.until(lambda order=order: self.is_(order, *status)) for order in orders])  # type: ignore[misc]

    # ------------------------------------------------------------------ before a life

    def nothing(self) -> None:
        """It starts as it was left."""

    def another_wallet(self) -> None:
        """The operator names another watch-only wallet, which the node does not have yet."""
        self.till.settings["node"]["wallet"] = f"till-{secrets.token_hex(4)}"
        self.till.write_config()

    def unload(self) -> bool:
        """The node's watch-only wallet is there, and not loaded; whether it was loaded before."""
        wallet = self.till.settings["node"]["wallet"]
        loaded = wallet in self.node.rpc("listwallets")
        if loaded:
            self.node.rpc("unloadwallet", wallet)
        return loaded

    def sold_and_undone(self) -> None:
        """A sale was credited and forwarded, and then its blocks were replaced while the service was dead."""
        self.till.arm(None)
        self.till.start()
        orders = self.sale()
        assert all(self.is_(order, "forwarded") for order in orders)
        self.till.kill()
        self.node.reorg(DEPTH)

    def short_windows(self) -> None:
        """What is bought in this life has half a second."""
        self.till.settings["payments"]["timeout_minutes"] = 0.01
        self.till.write_config()

    def no_patience(self) -> None:
        """What is forwarded in this life is late at once."""
        self.till.settings["forwarding"]["deadline_hours"] = 0
        self.till.write_config()

    def usual(self) -> None:
        self.till.settings["payments"]["timeout_minutes"] = 60
        self.till.settings["forwarding"]["deadline_hours"] = 48
        self.till.write_config()
