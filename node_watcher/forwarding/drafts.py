"""From coins to a signed sweep that the node would take. Nothing is stored or sent here."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from node_watcher.forwarding.desk import Desk
from node_watcher.rpc import RpcError
from node_watcher.signing.signer import SignedTx, SweepRefused
from payments.coin import Coin
from payments.model import BlockId
from storage.sweep_versions import Sweep

_KNOWN = ("txn-already-in-mempool", "txn-already-known")


async def draft(
    desk: Desk,
    coins: Sequence[Coin],
    fee_sat: int,
    feerate: Decimal | None,
    tip: BlockId,
    *,
    replaces: Sweep | None = None,
) -> Sweep:
    """Sign, and ask the node whether it would take it (`testmempoolaccept`).

    Raises `SignerError`; `SweepRefused` when the node would not.
    """
    signed = await desk.sign(coins, fee_sat, feerate, tip)
    await acceptable(desk, signed)
    return Sweep(
        signed.txid,
        signed.raw,
        "stored",
        sum(coin.value_sat for coin in coins),
        signed.fee_sat,
        desk.clock(),
        vsize=signed.vsize,
        stored_height=tip.height,
        family=replaces.family if replaces else signed.txid,
        replaces=replaces.txid if replaces else None,
        destination=desk.destination.address,
    )


async def acceptable(desk: Desk, signed: SignedTx) -> None:
    """Raise `SweepRefused` when the node would not take it (`testmempoolaccept`)."""
    try:
        answer: list[dict[str, Any]] = await desk.rpc.call("testmempoolaccept", [signed.hex])
    except RpcError as error:
        raise SweepRefused(f"the node cannot judge the sweep: {error}") from None
    verdict = answer[0]
    if not verdict.get("allowed") and verdict.get("reject-reason") not in _KNOWN:
        raise SweepRefused(f"the node would not take the sweep: {verdict.get('reject-reason', 'no reason given')}")


async def unspent(desk: Desk, coins: Sequence[Coin]) -> tuple[list[Coin], list[Coin]]:
    """Coins that the node still has, also in view of its mempool (`gettxout`), and those that it has not."""
    answers = await desk.rpc.batch([("gettxout", *coin.outpoint, True) for coin in coins])
    there: list[Coin] = []
    gone: list[Coin] = []
    for coin, answer in zip(coins, answers, strict=True):
        (gone if answer is None else there).append(coin)
    return there, gone
