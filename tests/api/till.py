"""A till for tests: a real database, the real application, and hands that pay and mine.

Payments and blocks are recorded with the same storage calls that the watcher uses; that a node
tells of them rightly is what the watcher's and the scenario tests prove.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestClient

from payments.address import script_pubkey
from payments.descriptor import RangedDescriptor
from payments.model import BlockHeader, BlockId, IncomingTx, OutPoint, Package, PaidOutput
from storage import chain, incoming, ledger, till
from storage.api_keys import create_key
from storage.database import Database
from storage.ledger import bookings_due

BASE = "/api/v1/bitcoin"
PUBLIC_URL = "https://pay.example.org"
TOKEN_SECRET = "a secret of the site that is long enough"
PACKAGES = (Package("small", "Small", 400, 40_000), Package("large", "Large", 3_000, 250_000))
# m/84h/1h/0h of the seed of BIP 32's first test vector.
DESCRIPTOR = (
    "wpkh(tpubDDNRbZGvdA33cgpY5uy2mmphT7sK4uciRjcQScSd64S5KRyZDxHcPuzs"
    "24or84Hywugb2JbEEt2jWH8fduiN9cmZzkSj8sSSx6txXkhXyZs/0/*)"
)

Client = TestClient[web.Request, web.Application]


def _open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


@dataclass
class Till:
    """What tests hold."""

    database: Database
    client: Client
    keychain_id: int
    checks: int = 0
    node_answers: bool = True
    derive_hold: threading.Event = field(default_factory=_open_gate)
    on_check: Callable[[], Awaitable[object]] | None = None
    height: int = 100
    mempool: list[IncomingTx] = field(default_factory=list)

    async def key(self, *scopes: str) -> dict[str, str]:
        """Headers of a new API key."""
        _, key = await self.database.write(create_key, "test", scopes, 1)
        return {"Authorization": f"Bearer {key}"}

    def token(self, user_id: str, **claims: Any) -> dict[str, str]:
        """Headers of a user of the site."""
        claims = {"sub": user_id, "exp": int(time.time()) + 60} | claims
        return bearer(jwt.encode({k: v for k, v in claims.items() if v is not None}, TOKEN_SECRET, "HS256"))

    async def create(self, user_id: str = "u1", package_id: str = "small", **more: Any) -> dict[str, Any]:
        """A payment, opened by its user."""
        response = await self.client.post(
            f"{BASE}/payments", json={"package_id": package_id, **more}, headers=self.token(user_id)
        )
        body: dict[str, Any] = await response.json()
        assert response.status == 201, body
        return body

    async def pay(self, address: str, amount_sat: int) -> str:
        """The node has a transaction with one output to `address` in its mempool."""
        txid = secrets.token_hex(32)
        outputs = (PaidOutput(0, amount_sat, script_pubkey(address, "regtest")),)
        paid = IncomingTx(txid, (OutPoint(secrets.token_hex(32), 0),), outputs, coinbase=False)
        self.mempool.append(paid)
        now = time.time_ns() // 1_000_000
        await self.database.write(incoming.record_seen, paid, now, now)
        return txid

    async def mine(self, blocks: int = 1) -> None:
        """Blocks with what is in the mempool, connected and booked."""
        for _ in range(blocks):
            now = time.time_ns() // 1_000_000
            header = BlockHeader(self.height + 1, f"{self.height + 1:064x}", f"{self.height:064x}", now)
            await self.database.write(chain.connect, header, self.mempool, now)
            self.mempool, self.height = [], self.height + 1
            for record in await self.database.read(bookings_due):
                evidence = {output.outpoint: {"block": header.hash} for output in record.facts.outputs}
                await self.database.write(ledger.book, record.number, evidence, now)


def bearer(credentials: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credentials}"}


async def set_up(database: Database) -> tuple[int, RangedDescriptor]:
    """A new till at height 100 with its keychain."""
    await database.write(till.claim, "regtest", 1)
    descriptor = RangedDescriptor.parse(DESCRIPTOR, "regtest")
    number = await database.write(till.keychain, "test", DESCRIPTOR, watch_only=True, now=1)
    await database.write(chain.begin_at, BlockId(100, f"{100:064x}"))
    return number, descriptor
