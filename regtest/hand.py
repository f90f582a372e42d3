"""Whose hand sends the coins to the owner, for scenarios that only care that they arrive."""

from __future__ import annotations

import json
from typing import Any, Protocol

from regtest.command_line import main
from regtest.crashing_service import Armed, CrashingService
from regtest.service import RunningService


class Hand(Protocol):
    """A way to have sweeps signed."""

    @property
    def name(self) -> str: ...

    @property
    def deaths_of_a_sweep(self) -> tuple[Armed, ...]:
        """Where the service can die on the way of a new sweep, in an order in which each life reaches the next one:
        at least three sweeps are to be made."""
        ...

    @property
    def deaths_of_a_replacement(self) -> tuple[Armed, ...]:
        """The same for one sweep that no block takes, and that is to be bumped."""
        ...

    def send(self, till: CrashingService) -> None:
        """Do what has to be done, until all that should go is on its way. The service runs."""
        ...


def _around(name: str) -> tuple[Armed, ...]:
    return tuple(Armed(f"{moment} {name}", 1) for moment in ("before", "after"))


def _of_write(name: str) -> tuple[Armed, ...]:
    return tuple(Armed(f"{moment} {name}", 1) for moment in ("before", "inside", "after"))


class ItsOwnHand:
    """The service signs for itself: nobody has to do anything."""

    name = "forwarding"
    deaths_of_a_sweep = (
        *_around("getmempoolinfo"),
        *_around("estimatesmartfee"),  # from here on all is booked
        *_around("gettxout"),
        *_around("testmempoolaccept"),
        *_of_write("store_sweep"),
        *_around("sendrawtransaction"),  # of the stored one, which is offered first
        *_of_write("record_broadcast"),
        *_around("getmempoolentry"),
        Armed("inside store_sweep", 2),  # of the sweep after the next one
        Armed("after sendrawtransaction", 1),
    )
    deaths_of_a_replacement = (
        *_around("getmempoolentry"),
        *_around("testmempoolaccept"),
        *_of_write("store_replacement"),
        *_around("sendrawtransaction"),
        *_of_write("record_broadcast"),
    )

    def send(self, till: CrashingService) -> None:
        till.wait("all that should go to be on its way", lambda: all_is_on_its_way(till), timeout=60)


def plan(till: RunningService) -> dict[str, Any]:
    """What `forward plan --json` says."""
    said = main("forward", "plan", "--json", "--config", str(till.config))
    if said.code:
        raise AssertionError(f"forward plan ended with {said.code}: {said.out}{said.err}")
    planned: dict[str, Any] = json.loads(said.out)
    return planned


def all_is_on_its_way(till: RunningService) -> bool:
    """Nothing is planned, the service knows of every sweep that it was sent, and the node has each of them."""
    till.wait_level(timeout=60)
    planned, waiting = plan(till), till.node.mempool()
    return not planned["batches"] and all(
        sweep["state"] != "stored" and (sweep["mined_at"] is not None or sweep["txid"] in waiting)
        for sweep in planned["sweeps"]
    )
