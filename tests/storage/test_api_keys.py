"""API keys: shown once, kept as a hash, revoked at once."""

from __future__ import annotations

import pytest

from storage.api_keys import create_key, find_key, list_keys, mark_used, revoke_key, secret_hash
from storage.database import Database
from storage.tx import Tx
from tests.storage.small_shop import START


async def test_a_key_and_what_is_kept_of_it(database: Database) -> None:
    key_id, key = await database.write(create_key, "shop", ["payments:write", "credits:read"], START)
    prefix, named, secret = key.split("_")
    assert (prefix, named, len(secret)) == ("ntk", key_id, 64)
    kept = await database.read(find_key, key_id)
    assert kept is not None
    assert kept.secret_hash == secret_hash(secret)
    assert kept.scopes == {"payments:write", "credits:read"}
    assert (kept.name, kept.created_at, kept.revoked_at) == ("shop", START, None)

    def everything(tx: Tx) -> str:
        return repr([dict(row) for row in tx.all("SELECT * FROM api_key")])

    assert secret not in await database.read(everything)


async def test_no_two_keys_are_alike(database: Database) -> None:
    made = {(await database.write(create_key, "n", ["admin"], START))[1] for _ in range(20)}
    assert len(made) == 20
    assert len(await database.read(list_keys)) == 20


@pytest.mark.parametrize("scopes", [[], ["payments:read", "root"], "admin", ["admin "]])
async def test_unknown_scopes_are_named(database: Database, scopes: list[str]) -> None:
    with pytest.raises(ValueError, match=r"--scope .*choose from payments:read"):
        await database.write(create_key, "shop", scopes, START)
    assert await database.read(list_keys) == []


async def test_revoked_once(database: Database) -> None:
    key_id, _ = await database.write(create_key, "shop", ["admin"], START)
    assert await database.write(revoke_key, key_id, START + 1)
    assert not await database.write(revoke_key, key_id, START + 2)
    assert not await database.write(revoke_key, "nobody", START)
    kept = await database.read(find_key, key_id)
    assert kept is not None
    assert kept.revoked_at == START + 1


async def test_the_last_use_never_goes_back(database: Database) -> None:
    used, _ = await database.write(create_key, "shop", ["admin"], START)
    idle, _ = await database.write(create_key, "till", ["admin"], START)
    for seconds in (1, 90, 60):
        await database.write(mark_used, {used: START + seconds * 1_000, "nobody": START})
    kept = {key.id: key.last_used_at for key in await database.read(list_keys)}
    assert kept == {used: START + 90_000, idle: None}


async def test_unknown(database: Database) -> None:
    assert await database.read(find_key, "nobody") is None
