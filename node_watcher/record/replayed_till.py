"""The till that a record is played on: the real parts, a real database, and the record in place of the node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Any, Concatenate, ParamSpec, TypeVar

from node_watcher.blocks import BlockSource
from node_watcher.chain import ChainFollower
from node_watcher.chain_rules import ChainRules, RefusedSoftware
from node_watcher.crediting import Crediting
from node_watcher.derivation import check_derivation
from node_watcher.forwarding.forwarder import Destination, Forwarder
from node_watcher.gate import Gate
from node_watcher.look import Look
from node_watcher.look_ahead import LookAhead
from node_watcher.mempool import Mempool
from node_watcher.reason import Reason
from node_watcher.record.answers import error_of, is_error
from node_watcher.record.parts import outcome, reasons_of
from node_watcher.record.player import Parted, Player
from node_watcher.record.turn import TURN, Stopped
from node_watcher.rpc import Call
from node_watcher.signing.signer import SignedTx, SigningFailed, SweepInput
from node_watcher.watchlist import Watchlist
from node_watcher.witness import Witness
from node_watcher.witness_node import WitnessNode
from payments.descriptor import RangedDescriptor
from payments.forward import ForwardRules
from payments.model import BlockId
from payments.resolution import NotPossible
from storage import recorded, till
from storage.database import Database
from storage.snapshot import take_up
from storage.tx import Context, Tx

P = ParamSpec("P")
T = TypeVar("T")


class ReplayedRpc:
    """`node_watcher.rpc.Rpc`: the record answers."""

    def __init__(self, player: Player) -> None:
        self._player = player

    async def call(self, method: str, *params: object, wallet: str | None = None, timeout: float | None = None) -> Any:
        return (await self._player.ask([(method, *params)]))[0]

    async def batch(
        self, calls: Sequence[Call], *, wallet: str | None = None, timeout: float | None = None
    ) -> list[Any]:
        if not calls:
            return []
        return [error_of(answer) if is_error(answer) else answer for answer in await self._player.ask(calls)]

    async def close(self) -> None:
        """Nothing is open."""


class ReplayedSigner:
    """What was signed then: the record has no keys."""

    def __init__(self, player: Player) -> None:
        self._player = player

    def sign_sweep(
        self, inputs: Sequence[SweepInput], destination_script: bytes, fee_sat: int, locktime: int
    ) -> SignedTx:
        said = self._player.within("signed")
        if said is None and self._player.ends_in_this_work:
            raise Stopped  # before what was signed stood in the record, or was stored
        if said is None:
            raise self._player.parted(
                f"{TURN.get().name} signs a sweep of {inputs[0].outpoint.txid}, which the record does not have"
            )
        if "failed" in said:
            raise SigningFailed(said["failed"])
        if said["fee_sat"] != fee_sat:
            raise self._player.parted(
                f"sweep {said['txid']} paid a fee of {said['fee_sat']} sat in the record, now {fee_sat}"
            )
        return SignedTx(bytes.fromhex(said["raw"]), said["txid"], said["vsize"], fee_sat)


class ReplayedDatabase(Database):
    """Writes one after the other; each may be refused as it was, and none comes after the service was stopped."""

    def __init__(self, url: str, context: Context) -> None:
        super().__init__(url, context, leader=True)
        self.player: Player | None = None
        self._one = asyncio.Lock()

    async def write(self, body: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        turn = TURN.get(None)
        if turn is None or self.player is None:
            return await super().write(body, *args, **kwargs)
        async with self._one:
            if await self.player.is_stopped():
                turn.parked.set()
                await asyncio.get_running_loop().create_future()  # killed here
            turn.writes += 1
            if (said := self.player.refused(turn.writes)) is not None:
                raise error_of(said)
            return await super().write(body, *args, **kwargs)


class ReplayedTill:
    """One database, on which one run after the other starts: what a `Player` plays on."""

    def __init__(self, database: ReplayedDatabase) -> None:
        self.database = database

    async def start(self, player: Player, header: dict[str, Any]) -> None:
        database, network = self.database, header["network"]
        database.player = player
        if "snapshot" in header:
            await database.write(take_up, player.whole(header["snapshot"]))
        await database.write(till.claim, network, header["created_at"])
        self._descriptor = RangedDescriptor.parse(header["descriptor"], network)
        self._keychain = await database.write(
            till.keychain,
            self._descriptor.fingerprint,
            self._descriptor.text,
            watch_only=header["watch_only"],
            now=header["at"],
        )
        rpc, clock, rules = ReplayedRpc(player), player.clock, rules_in(header["rules"])
        watchlist = Watchlist(database, LookAhead(self._keychain, self._descriptor.derive))
        await watchlist.load()
        self._mempool = Mempool(rpc, database, watchlist, clock=clock)
        self._look = Look(
            Gate(rpc, rules, agree=self._agreement(player)),
            database,
            watchlist,
            ChainFollower(rpc, BlockSource(rpc), database, watchlist, rules, clock=clock),
            self._mempool,
            Crediting(rpc, database, clock=clock),
            forwarder=self._forwarder(player, rpc, header),
            on_first_contact=lambda: check_derivation(rpc, self._descriptor),
            ledger_broken=self._ledger_check(player),
            clock=clock,
        )
        self._witness = Witness(
            rpc,
            database,
            watchlist,
            wallet=header["wallet"],
            descriptor=self._descriptor.text,
            keychain_id=self._keychain,
            clock=clock,
        )
        await self._witness.begin()

    def _forwarder(self, player: Player, rpc: ReplayedRpc, header: dict[str, Any]) -> Forwarder | None:
        if (forwarding := header.get("forwarding")) is None:
            return None
        return Forwarder(
            rpc,
            self.database,
            ReplayedSigner(player) if forwarding.get("signs", True) else None,
            Destination(forwarding["to"], bytes.fromhex(forwarding["script"])),
            _forward_rules(forwarding),
            keychain_id=self._keychain,
            network=header["network"],
            clock=player.clock,
        )

    def _agreement(self, player: Player) -> Any:
        async def agree(witnesses: Sequence[WitnessNode], block: BlockId) -> tuple[Reason, ...]:
            return reasons_of(await player.ask([("witness nodes", *block)]))

        return agree

    def _ledger_check(self, player: Player) -> Any:
        async def broken() -> Reason | None:
            return next(iter(reasons_of(await player.ask([("ledger",)]))), None)

        return broken

    def activity(self, do: str, given: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        match do:
            case "look":
                return self._told_look(given["started"])
            case "hear":
                return self._mempool.hear([bytes.fromhex(raw) for raw in given["raws"]], at=given["at"])
            case "prepare":
                return self._witness.prepare()
            case "compare":
                return self._witness.compare(BlockId(*given["tip"]))
        raise Parted(f"this nodetill knows no activity {do!r}; replay with the nodetill that wrote the record.")

    async def _told_look(self, started: int) -> dict[str, Any]:
        return outcome(await self._look.go(started))

    async def act(self, said: dict[str, Any]) -> str:
        if (act := said.get("created")) is not None:
            made = await self.database.write(recorded.create_again, act, self._keychain, self._descriptor.derive)
            if (made.number, made.address) == (act["number"], act["address"]):
                return ""
            return f"payment {act['number']} has {act['address']}; now it is {made.number} with {made.address}"
        if (act := said.get("resolved")) is not None:
            try:
                number = await self.database.write(recorded.resolve_again, act)
            except (NotPossible, LookupError) as error:
                return f"decision {act['decision']} about payment {act['payment_id']} is not possible: {error}"
            return "" if number == act["decision"] else f"decision {act['decision']} is number {number}"
        act = said["spent"]
        number = await self.database.write(recorded.spend_again, act)
        return (
            "" if number == act["transfer"] else f"spend {act['reference']} is transfer {number}, not {act['transfer']}"
        )


def rules_in(said: dict[str, Any]) -> ChainRules:
    """The chain's marks as they were, whatever is shipped today."""
    return ChainRules(
        **said
        | {
            "checkpoints": tuple(BlockId(height, block) for height, block in said["checkpoints"]),
            "refused": tuple(RefusedSoftware(**software) for software in said["refused"]),
        }
    )


def _forward_rules(header: dict[str, Any]) -> ForwardRules:
    texts = {name: Decimal(header[name]) for name in ("max_feerate", "max_fee_share")}
    return ForwardRules(**{name: header[name] for name in header if name not in ("to", "script", "signs")} | texts)
