"""The demo shop's buttons, on a real regtest node."""

from __future__ import annotations

import asyncio
import re

import pytest

from api.app import make_app
from api.shop import Shop
from regtest.node import RegtestNode
from storage.database import Database
from storage.records import payment_by_id
from tests.api.conftest import ClientFactory
from tests.api.till import PACKAGES, PUBLIC_URL, Client, set_up


class ButtonsOf:
    """`api.shop.DemoNode` over a regtest node."""

    def __init__(self, node: RegtestNode) -> None:
        self._node = node

    async def pay(self, address: str, amount_sat: int) -> str:
        return await asyncio.to_thread(self._node.pay, address, amount_sat)

    async def mine(self, blocks: int) -> None:
        await asyncio.to_thread(self._node.mine, blocks)


@pytest.fixture
async def client(database: Database, node: RegtestNode, aiohttp_client: ClientFactory) -> Client:
    keychain_id, descriptor = await set_up(database)
    return await aiohttp_client(
        make_app(
            Shop(
                database=database,
                network="regtest",
                packages=PACKAGES,
                keychain_id=keychain_id,
                derive=descriptor.derive,
                public_url=PUBLIC_URL,
                demo=ButtonsOf(node),
            )
        )
    )


async def test_buy_pay_and_mine(client: Client, database: Database, node: RegtestNode) -> None:
    page = await (await client.get("/")).text()
    assert "Demo shop" in page
    assert page.count('action="/demo/buy"') == len(PACKAGES)
    bought = await client.post("/demo/buy", data={"package_id": "small"}, allow_redirects=False)
    assert bought.status == 303
    where = bought.headers["Location"]
    assert re.fullmatch("/pay/[0-9a-f]{32}", where)
    payment_id = where.removeprefix("/pay/")
    record = await database.read(payment_by_id, payment_id)
    assert record is not None
    assert "Pay from the demo wallet" in await (await client.get(where)).text()

    known = node.mempool()
    paid = await client.post(f"/demo/pay/{payment_id}", allow_redirects=False)
    assert (paid.status, paid.headers["Location"]) == (303, where)
    (txid,) = node.mempool() - known
    outputs = node.rpc("getrawtransaction", txid, 1)["vout"]
    assert [str(o["value"]) for o in outputs if o["scriptPubKey"].get("address") == record.address] == ["0.00040000"]
    height = node.height
    mined = await client.post("/demo/mine", data={"payment_id": payment_id}, allow_redirects=False)
    assert (mined.status, mined.headers["Location"]) == (303, where)
    assert node.height == height + 1
    assert payment_id[:8] in await (await client.get("/")).text()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_other_sites_cannot_press_buttons(client: Client, headers: dict[str, str]) -> None:
    for path in ("/demo/buy", "/demo/mine", "/demo/pay/" + "0" * 32):
        response = await client.post(path, data={"package_id": "small"}, headers=headers)
        assert response.status == 403


async def test_odd_forms(client: Client) -> None:
    assert (await client.post("/demo/buy")).status == 404
    assert (await client.post("/demo/buy", data={"package_id": "x"})).status == 404
    assert (await client.post("/demo/pay/" + "0" * 32)).status == 404
    assert (await client.get("/demo/buy")).status == 405
