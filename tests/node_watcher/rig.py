"""The watcher's parts wired to a real node and a real database, to be driven step by step.

`MeddlingRpc` is the real transport with a hand in it, for what a node cannot be made to show: an
answer that is lost, a block found between two calls, a wrong value.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from node_watcher.blocks import BlockSource
from node_watcher.chain import ChainFollower
from node_watcher.chain_rules import ChainRules, rules_of
from node_watcher.clock import now_ms
from node_watcher.credentials import Credentials
from node_watcher.crediting import Crediting
from node_watcher.forwarding.forwarder import Destination, Forwarder
from node_watcher.gate import Gate
from node_watcher.look import Forwards, Look
from node_watcher.look_ahead import LookAhead
from node_watcher.mempool import Mempool
from node_watcher.meter import Meter
from node_watcher.rpc import Call
from node_watcher.rpc_http import HttpRpc
from node_watcher.self_audit import SelfAudit
from node_watcher.signing.seed import Seed
from node_watcher.signing.signers import open_signer
from node_watcher.watcher import Watcher
from node_watcher.watchlist import Watchlist
from node_watcher.witness import Witness
from node_watcher.witness_node import WitnessNode
from payments.address import script_pubkey
from payments.descriptor import RangedDescriptor
from payments.forward import ForwardRules
from payments.model import BlockId, ExcessPolicy, LatePolicy, OutPoint, PaidOutput, Status, Terms
from payments.record import PaymentRecord
from regtest.node import RegtestNode
from storage import chain, ledger, payments, till
from storage.credits import balance_of
from storage.database import Database
from storage.records import payment_by_number
from tests.storage import invariants

MINUTE = 60_000
FULL = 40_000


class MeddlingRpc(HttpRpc):
    """`before[method]` runs once, before the next call of it; `after[method]` changes its answers.

    `after` gets the parameters and the answer and may raise. `asked` counts calls by method.
    """

    def __init__(self, node: RegtestNode) -> None:
        super().__init__(node.rpc_url, Credentials(cookie_file=node.cookie_file), timeout=10)
        self.asked: Counter[str] = Counter()
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[Sequence[object], Any], Any]] = {}

    async def _ask(self, calls: Sequence[Call], wallet: str | None, timeout: float | None) -> list[Any]:
        self.asked.update(name for name, *_ in calls)
        for name in {name for name, *_ in calls}:
            if (hook := self.before.pop(name, None)) is not None:
                await asyncio.to_thread(hook)
        answers = await super()._ask(calls, wallet, timeout)
        return [
            self.after[name](params, answer) if name in self.after else answer
            for (name, *params), answer in zip(calls, answers, strict=True)
        ]


class Rig:
    """A shop with one keychain of its own. Nothing runs by itself: each test takes the steps."""

    def __init__(self, node: RegtestNode, database: Database, *, forwarding: bool = False, depth: int = 2) -> None:
        self.node, self.database, self.depth = node, database, depth
        self.rpc = MeddlingRpc(node)
        self.seed = Seed(secrets.token_bytes(64))
        self.descriptor = RangedDescriptor.parse(self.seed.account_descriptor("regtest"), "regtest")
        self.signer = open_signer(lambda index: self.seed.private_key("regtest", index))
        self.forwarding = forwarding
        self.keychain = 0
        self.watchlist = Watchlist(database)
        self.meter = Meter()
        self.rules = rules_of("regtest")
        self.follower = self.new_follower()
        self.mempool = Mempool(self.rpc, database, self.watchlist, meter=self.meter)
        self.crediting = Crediting(self.rpc, database)

    async def open(self, *, begin: bool = True) -> Rig:
        """Make the shop; unless told otherwise the cursor begins at the node's tip."""
        await self.database.write(till.claim, "regtest", now_ms())
        self.keychain = await self.database.write(
            till.keychain,
            self.descriptor.fingerprint,
            self.descriptor.text,
            watch_only=not self.forwarding,
            now=now_ms(),
        )
        self.watchlist.ahead = LookAhead(self.keychain, self.descriptor.derive, span=20)
        await self.watchlist.load()
        if begin:
            await self.follower.follow()
        return self

    async def close(self) -> None:
        await self.rpc.close()
        await self.database.read(invariants.check)

    def new_follower(self) -> ChainFollower:
        return ChainFollower(self.rpc, BlockSource(self.rpc), self.database, self.watchlist, self.rules)

    def new_witness(self, wallet: str | None = None) -> Witness:
        return Witness(
            self.rpc,
            self.database,
            self.watchlist,
            wallet=wallet or f"till-{secrets.token_hex(4)}",
            descriptor=self.descriptor.text,
            keychain_id=self.keychain,
            meter=self.meter,
        )

    def new_forwarder(self, address: str, *, signs: bool = True, **rules: Any) -> Forwarder:
        wanted: dict[str, Any] = {"max_feerate": Decimal(50), "target_blocks": 6, "min_sat": 1_000, **rules}
        return Forwarder(
            self.rpc,
            self.database,
            self.signer if signs else None,
            Destination(address, script_pubkey(address, "regtest")),
            ForwardRules(**wanted),
            keychain_id=self.keychain,
            network="regtest",
        )

    def new_watcher(
        self,
        *,
        witness: Witness | None = None,
        forwarder: Forwards | None = None,
        rules: ChainRules | None = None,
        witness_nodes: Sequence[WitnessNode] = (),
        interval: float = 3600.0,
        self_audit: SelfAudit | None = None,
    ) -> Watcher:
        look = Look(
            Gate(self.rpc, rules or self.rules, witness_nodes),
            self.database,
            self.watchlist,
            self.follower,
            self.mempool,
            self.crediting,
            forwarder=forwarder,
            ledger_broken=self_audit.broken if self_audit is not None else None,
        )
        return Watcher(
            interval,
            self.database,
            self.watchlist,
            self.mempool,
            look,
            witness=witness,
            meter=self.meter,
            self_audit=self_audit,
        )

    # ------------------------------------------------------------------ payments

    async def create(self, user: str = "u1", sat: int = FULL, **changed: Any) -> PaymentRecord:
        now = now_ms()
        terms: dict[str, Any] = {
            "amount_sat": sat,
            "credits": 400,
            "confirmations_required": self.depth,
            "tolerance_sat": 0,
            "late": LatePolicy.CREDIT,
            "excess": ExcessPolicy.CREDIT,
            "created_at": now,
            "expires_at": now + 60 * MINUTE,
            **changed,
        }
        wanted = payments.NewPayment(user, "small", "{}", Terms(**terms), 1_000_000)
        return await self.database.write(payments.create, wanted, self.keychain, self.descriptor.derive, now)

    async def payment(self, of: PaymentRecord) -> PaymentRecord:
        return await self.database.read(payment_by_number, of.number)

    async def status(self, of: PaymentRecord) -> Status:
        return (await self.payment(of)).state.status

    async def balance(self, user: str = "u1") -> int:
        return await self.database.read(balance_of, user)

    async def events(self, of: PaymentRecord) -> list[str]:
        rows = await self.database.read(
            lambda tx: tx.all("SELECT type FROM event WHERE payment_number = :n ORDER BY id", n=of.number)
        )
        return [row["type"].removeprefix("payment.") for row in rows]

    # ------------------------------------------------------------------ hands

    async def pay(self, to: PaymentRecord, sat: int = FULL, **options: Any) -> str:
        return await asyncio.to_thread(self.node.pay, to.address, sat, **options)

    async def mine(self, blocks: int = 1) -> list[str]:
        return await asyncio.to_thread(self.node.mine, blocks)

    async def raw(self, txid: str) -> bytes:
        return bytes.fromhex(await asyncio.to_thread(self.node.rpc, "getrawtransaction", txid))

    async def replace_elsewhere(self, txid: str) -> str:
        """Spend the same coins with a higher fee, and pay the payer himself."""

        def spend() -> str:
            shown = self.node.rpc("getrawtransaction", txid, True)
            ins = [{"txid": i["txid"], "vout": i["vout"], "sequence": 0xFFFFFFFD} for i in shown["vin"]]
            total = sum(
                self.node.rpc("gettransaction", i["txid"], True, True, wallet="payer")["decoded"]["vout"][i["vout"]][
                    "value"
                ]
                for i in ins
            )
            raw = self.node.rpc("createrawtransaction", ins, {self.node.new_address(): total - Decimal("0.0002")})
            signed = self.node.rpc("signrawtransactionwithwallet", raw, wallet="payer")
            return str(self.node.rpc("sendrawtransaction", signed["hex"]))

        return await asyncio.to_thread(spend)

    # ------------------------------------------------------------------ steps

    async def tip(self) -> BlockId:
        """Follow the chain to its tip."""
        while (followed := await self.follower.follow()).more:
            pass
        return followed.tip

    async def cursor(self) -> BlockId:
        found = await self.database.read(chain.cursor)
        assert found is not None
        return found

    async def settle(self) -> BlockId:
        """What a pass does, without its watcher."""
        tip = await self.tip()
        assert await self.mempool.look(tip)
        await self.database.write(ledger.settle, now_ms())
        await self.crediting.book_due(tip)
        return tip


def outputs_of(record: PaymentRecord) -> dict[OutPoint, str]:
    return {o.outpoint: o.state.value for o in record.facts.outputs}


def paid(vout: int, sat: int, script: bytes) -> PaidOutput:
    return PaidOutput(vout, sat, script)
