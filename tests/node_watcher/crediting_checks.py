"""What every test of the identity gate asks of a payment: nothing happened to it, or it was credited once."""

from __future__ import annotations

from node_watcher.watcher import Watcher
from payments.model import Status
from payments.record import PaymentRecord
from tests.node_watcher.rig import Rig
from tests.node_watcher.test_watcher import codes


async def paid(rig: Rig) -> PaymentRecord:
    """A payment that is deep enough, in blocks that the watcher has not seen."""
    payment = await rig.create()
    await rig.pay(payment)
    await rig.mine(rig.depth)
    return payment


async def untouched(rig: Rig, watcher: Watcher, payment: PaymentRecord, code: str) -> None:
    """A look says `code`, and records and credits nothing."""
    before = await rig.cursor()
    await watcher.check_now()
    assert await codes(rig) == [code]
    assert await rig.cursor() == before
    assert await rig.status(payment) is Status.PENDING
    assert await rig.balance() == 0


async def credited_once(rig: Rig, watcher: Watcher, payment: PaymentRecord) -> None:
    for _ in range(2):
        await watcher.check_now()
        assert await codes(rig) == []
        assert await rig.balance() == 400
    assert (await rig.events(payment)).count("confirmed") == 1
