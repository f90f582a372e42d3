"""A full block while many payments are open."""

from __future__ import annotations

import asyncio
import time

from bench.figures import Figure, Progress
from bench.shelf import stock
from payments.address import script_pubkey
from regtest.free_coins import free_coins
from regtest.node import RegtestNode
from regtest.service import RunningService

_PAID = 10
_FULL_BLOCKS = ("-blockmaxweight=3996000",)


async def block(folder: str, transactions: int, open_payments: int, progress: Progress) -> list[Figure]:
    """Mine one block of `transactions`, ten of which pay us, with `open_payments` waiting.

    Measured from the end of the mining call to `/readyz` at the new height, and to the first
    confirmation of all ten payments.
    """
    return await asyncio.to_thread(_block, folder, transactions, open_payments, progress)


def _block(folder: str, transactions: int, open_payments: int, progress: Progress) -> list[Figure]:
    with RegtestNode(extra_args=_FULL_BLOCKS) as node:
        progress("making coins")
        node.fund()
        coins = free_coins(node, transactions)
        with RunningService(node, f"sqlite:///{folder}/block.db") as till:
            progress(f"opening {open_payments} payments")
            till.stop()
            stock(till, open_payments)
            till.start()
            paid = [till.create("small", f"payer{number}") for number in range(_PAID)]
            progress(f"sending {transactions} transactions")
            for payment, coin in zip(paid, coins, strict=False):
                script = script_pubkey(payment["address"], "regtest")
                node.rpc("sendrawtransaction", coin.spend(script, payment["amount_sat"]))
            for coin in coins[_PAID:]:
                node.rpc("sendrawtransaction", coin.shuffle())
            for payment in paid:
                till.wait_payment(payment["payment_id"], "confirming")
            progress("mining")
            node.mine(1)
            began, height = time.perf_counter(), node.height
            size = node.rpc("getblock", node.tip, 1)["nTx"]
            while till.ask("GET", "/readyz", key=None).json().get("tip_height") != height:
                time.sleep(0.001)
            connected = time.perf_counter() - began
            for payment in paid:
                till.wait_payment(payment["payment_id"], lambda shown: shown["confirmations"] == 1)
            counted = time.perf_counter() - began
    return [
        Figure("transactions in the block", size, ""),
        Figure("open payments", open_payments + _PAID, ""),
        Figure("mined → connected", connected * 1000, "ms"),
        Figure("mined → ten payments show a confirmation", counted * 1000, "ms"),
    ]
