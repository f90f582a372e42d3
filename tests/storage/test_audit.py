"""What an audit of one snapshot names: every table, changed behind the service's back, on each database."""

from __future__ import annotations

import pytest

from payments.coin import Coin
from payments.difference import Check, Difference, total_sat
from payments.model import OutPoint
from payments.record import PaymentRecord
from payments.scanned import ScannedChain
from payments.tx import decode, outpoint_key
from regtest.raw_database import tamper
from storage import sweeps, till
from storage.audit.ledger import contradictions, holds, newest
from storage.audit.question import no_step
from storage.coins_due import coins_due
from storage.errors import StorageError
from storage.spends import spend_credits
from storage.sweep_versions import Sweep
from tests.storage.small_shop import FULL, SmallShop, paying

A, B, C = (letter * 64 for letter in "abc")
OWNER = "owner-of-it-all"


async def busy(shop: SmallShop) -> SmallShop:
    """One paid and spent from, one in parts, one undone and reversed, one not deep yet, one that nobody pays."""
    paid, parts, gone, young, _ = [await shop.create(user) for user in ("paid", "parts", "gone", "young", "nobody")]
    await shop.mine(paying(A, (paid, FULL)), paying(B, (parts, 15_000), (parts, 25_000)))
    await shop.mine(paying(C, (gone, FULL)), blocks=3)
    await shop.at_tip()
    await shop.undo(3)
    await shop.mine(blocks=3)
    await shop.miss(C)
    await shop.at_tip()
    await shop.database.write(spend_credits, "paid", 100, "order", shop.now)
    await shop.mine(paying("d" * 64, (young, FULL)))
    await shop.at_tip()
    return shop


async def found(shop: SmallShop, **more: object) -> list[Difference]:
    return (await shop.audit(**more)).differences  # type: ignore[arg-type]


@pytest.mark.parametrize("full", [True, False])
async def test_a_busy_history_is_silent(shop: SmallShop, full: bool) -> None:
    findings = await (await busy(shop)).audit(full=full)
    assert (findings.differences, findings.notes, findings.comparable) == ([], [], True)
    assert (findings.payments, findings.transfers) == (5, 6)
    assert await shop.database.read(newest) == (6, findings.ledger_hash)


async def test_an_empty_shop_is_silent(shop: SmallShop) -> None:
    assert await found(shop) == []
    assert await shop.database.read(contradictions, no_step) == []


TAMPERED: dict[str, tuple[Check, str, int]] = {
    "UPDATE transfer SET created_at = created_at + 1 WHERE id = 2": (Check.HASH_CHAIN, "Transfer 2 (deposit", 0),
    "UPDATE transfer SET evidence = '{}' WHERE id = 1": (Check.HASH_CHAIN, "Transfer 1 (deposit", 0),
    "UPDATE transfer SET hash = repeat_a WHERE id = 2": (Check.HASH_CHAIN, "Transfer 2 (deposit", 0),
    "UPDATE transfer SET user_id = 'eve' WHERE id = 1": (Check.CREDITS, "its lines move 0 on the user's account", 0),
    "UPDATE transfer SET kind = 'deposit', epoch = 1 WHERE kind = 'reversal'": (
        Check.BOOKED_ONCE,
        "has 2 more deposits than reversals",
        2 * FULL,
    ),
    "DELETE FROM transfer WHERE id = 2": (Check.HASH_CHAIN, "Transfer 2 is gone, and its lines", 15_000),
    "DELETE FROM transfer WHERE id = 6": (Check.HASH_CHAIN, "Transfer 6 is gone, and its lines", 0),
    "UPDATE transfer_line SET delta = delta + 5 WHERE transfer_id = 1 AND delta = 40000": (
        Check.BALANCE,
        "The lines of transfer 1 do not add up to zero but to 5 sat",
        10,
    ),
    "UPDATE transfer_line SET balance_after = 0 WHERE transfer_id = 1": (Check.HASH_CHAIN, "Transfer 1 (deposit", 0),
    "DELETE FROM transfer_line WHERE transfer_id = 3": (Check.HASH_CHAIN, "Transfer 3 (deposit", 25_000),
    "UPDATE account SET balance = balance + 1 WHERE kind = 'owner'": (
        Check.BALANCE,
        "The sat account owner shows 80001, its entries add up to 80000",
        1,
    ),
    "UPDATE account SET balance = balance + 1 WHERE owner = 'paid'": (
        Check.BALANCE,
        "The credit account user paid shows 301, its entries add up to 300",
        0,
    ),
    f"UPDATE output SET value_sat = value_sat + 9 WHERE txid = '{A}'": (
        Check.OUTPUT,
        "is recorded with 40009 sat, in the chain it has 40000 sat",
        9,
    ),
    f"UPDATE output SET payment_number = 5 WHERE txid = '{A}'": (
        Check.OUTPUT,
        "pays another address in the chain",
        FULL,
    ),
    f"UPDATE output SET booked = 0 WHERE txid = '{A}'": (
        Check.DEPOSIT,
        "is marked as not booked, the ledger's entries for it count 1",
        FULL,
    ),
    f"DELETE FROM output WHERE txid = '{B}' AND vout = 1": (Check.MISSED, "and is not recorded.", 25_000),
    f"DELETE FROM block_tx WHERE txid = '{A}'": (Check.MISSED, "and is not recorded as confirmed.", FULL),
    f"INSERT INTO block_tx (block_hash, txid) SELECT hash, '{C}' FROM block WHERE height = 102 AND active = 1": (
        Check.UNFOUNDED,
        "is recorded in block 102, and the node's block holds no such output",
        FULL,
    ),
    "UPDATE block SET hash = 'other' WHERE hash = 'block-1'": (Check.BLOCK, "At height 101 we hold", 2 * FULL),
    "UPDATE block SET active = 0 WHERE hash = 'block-1'": (Check.BLOCK, "Block block-1 at height 101", 2 * FULL),
    "INSERT INTO block VALUES ('more', 900, 'x', 0, 1)": (Check.BLOCK, "above the last that was processed (105)", 0),
    "UPDATE payment SET status = 'pending' WHERE number = 1": (
        Check.STATE,
        "shows status pending; by its facts it is forwarded.",
        0,
    ),
    "UPDATE payment SET status = 'nonsense' WHERE number = 5": (Check.STATE, "cannot be read", 0),
    "UPDATE payment SET tiers = '[[1' WHERE number = 5": (Check.STATE, "cannot be read", 0),
    "UPDATE payment SET flags = 'late' WHERE number = 5": (
        Check.STATE,
        "shows flags late; by its facts it is none.",
        0,
    ),
    "UPDATE payment SET wake_height = NULL WHERE number = 4": (Check.STATE, "shows wake_height none", 0),
    "UPDATE payment SET credits_posted = 500 WHERE number = 1": (
        Check.CREDITS,
        "shows 500 credits, its transfers give 400.",
        0,
    ),
    "UPDATE payment SET ever_credited = 0 WHERE number = 3": (Check.CREDITS, "is marked as never credited", 0),
    "UPDATE payment SET credits = 800 WHERE number = 1": (
        Check.CREDITS_DUE,
        "by its facts at height 105 800 credits are due, 400 are on the account of paid",
        0,
    ),
    "UPDATE payment SET booking_due = 1 WHERE number = 1": (Check.CREDITS_DUE, "and nothing is due", 0),
    "UPDATE payment SET address = 'thief' WHERE number = 1": (
        Check.ADDRESS,
        "shows address thief; by the descriptor number 0 is address-0.",
        0,
    ),
    "UPDATE payment SET address_index = 77 WHERE number = 5": (Check.ADDRESS, "number 77 is address-77", 0),
    "UPDATE payment SET user_id = 'eve' WHERE number = 5": (Check.PROMISE, "has user_id eve; when it was created", 0),
    "UPDATE payment SET credits = 4000 WHERE number = 5": (Check.PROMISE, "has credits 4000; when it was created", 0),
    "UPDATE payment SET confirmations_required = 1 WHERE number = 5": (Check.PROMISE, "has confirmations_required", 0),
    "UPDATE payment SET expires_at = expires_at + 1000 WHERE number = 5": (Check.PROMISE, "has expires_at ", 0),
    "UPDATE payment SET metadata = '{\"a\": 1}' WHERE number = 5": (Check.PROMISE, "has metadata {'a': 1}; when", 0),
    "UPDATE payment SET metadata = '{' WHERE number = 5": (Check.PROMISE, "and its first event cannot be read", 0),
    "UPDATE payment SET expires_at = 9000000000000000 WHERE number = 5": (Check.PROMISE, "cannot be read", 0),
    "UPDATE event SET data = '' WHERE id = 1": (Check.PROMISE, "and its first event cannot be read", 0),
    "UPDATE event SET data = '[]' WHERE id = 1": (Check.PROMISE, "has user_id paid; when it was created", 0),
    "UPDATE event SET data = '17' WHERE id = 1": (Check.PROMISE, "and its first event cannot be read", 0),
    "DELETE FROM event WHERE id = (SELECT max(id) FROM event)": (Check.PROMISE, "events were removed", 0),
    "UPDATE keychain SET next_index = 3": (Check.ADDRESS, "has address number 4, and 3 is given out next", 0),
}  # fmt: skip
"""What is changed -> who notices, words of his sentence, and by how many satoshi chain and ledger differ then."""


@pytest.mark.parametrize("change", TAMPERED)
async def test_what_was_changed_is_named(shop: SmallShop, database_url: str, change: str) -> None:
    check, words, sat = TAMPERED[change]
    await busy(shop)
    tamper(database_url, change.replace("repeat_a", f"'{A}'"))
    for full in (True, False):
        differences = await found(shop, full=full)
        told = [d.detail for d in differences if d.check is check]
        assert any(words in sentence for sentence in told), [d.detail for d in differences]
        assert total_sat(differences) == sat, differences
    breaks = await shop.database.read(contradictions, no_step)
    assert bool(breaks) == any(d.check.breaks_ledger for d in differences)
    if check.breaks_ledger:
        assert any(words in d.detail for d in breaks)


async def test_the_end_of_the_ledger_is_cut_off(shop: SmallShop, database_url: str) -> None:
    """Done thoroughly, only who remembers what stood there notices: the shop's own service does."""
    await busy(shop)
    remembered = (6, (await shop.audit()).ledger_hash)
    assert await shop.database.read(holds, *remembered) == []
    tamper(
        database_url,
        "DELETE FROM transfer_line WHERE transfer_id = 6",
        "DELETE FROM transfer WHERE id = 6",
        "UPDATE account SET balance = 400 WHERE owner = 'paid'",
        "UPDATE account SET balance = 0 WHERE kind = 'spent'",
    )
    assert await found(shop) == []
    (gone,) = await shop.database.read(holds, *remembered)
    assert gone.check is Check.HASH_CHAIN


async def test_one_that_was_slipped_in(shop: SmallShop, database_url: str) -> None:
    """Credits for nothing, with balances and all: the hash cannot be guessed without writing the chain anew."""
    await busy(shop)
    tamper(
        database_url,
        "INSERT INTO transfer (id, kind, epoch, user_id, reference, credits, evidence, created_at, hash)"
        " SELECT 7, 'spend', 0, 'eve', 'gift', 500, '{}', created_at, hash FROM transfer WHERE id = 6",
    )
    assert {d.about for d in await found(shop) if d.check is Check.HASH_CHAIN} == {"transfer 7"}


async def test_a_chain_that_moved_says_nothing(shop: SmallShop) -> None:
    await busy(shop)
    before = shop.scanned
    await shop.mine(paying("e" * 64, (await shop.payment(5), FULL)))
    findings = await shop.audit(scanned=before)
    assert (findings.comparable, findings.differences) == (False, [])
    longer = shop.scanned
    await shop.undo(1)
    findings = await shop.audit(scanned=longer)  # the node is further than we are
    assert (findings.comparable, findings.differences) == (True, [])


async def test_what_waits_is_a_note_while_credits_are_frozen_and_a_difference_when_not(shop: SmallShop) -> None:
    payment = await shop.create()
    await shop.mine(paying(A, (payment, FULL)), blocks=3)
    (due,) = await found(shop)
    assert (due.check, due.sat) == (Check.CREDITS_DUE, FULL)
    behind = ScannedChain(shop.scanned.base, shop.scanned.blocks, shop.tip._replace(height=900))
    findings = await shop.audit(scanned=behind)
    assert (findings.differences, len(findings.notes)) == ([], 1)
    await shop.database.write(till.report_health, {"credits_frozen": True, "reasons": []}, 0, shop.now)
    findings = await shop.audit()
    assert (findings.differences, len(findings.notes)) == ([], 1)
    await shop.book()
    assert await found(shop) == []


# ------------------------------------------------------------------ money out


def raw_sweep(coins: list[Coin], *outputs: tuple[str, int]) -> bytes:
    """A legacy transaction that spends these coins; an address is its own script here."""
    parts = [bytes((2, 0, 0, 0, len(coins)))]
    parts += [outpoint_key(coin.outpoint) + b"\x00" + b"\xff" * 4 for coin in coins]
    parts.append(bytes((len(outputs),)))
    parts += [sat.to_bytes(8, "little") + bytes((len(to),)) + to.encode() for to, sat in outputs]
    return b"".join([*parts, bytes(4)])


async def swept(shop: SmallShop) -> tuple[SmallShop, PaymentRecord, str]:
    payment = await shop.create()
    await shop.mine(paying(A, (payment, FULL)), blocks=3)
    await shop.at_tip()
    coins = await shop.database.read(coins_due, shop.keychain, 10)
    raw = raw_sweep(coins, (OWNER, FULL - 141))
    txid = decode(raw).txid
    sweep = Sweep(txid, raw, "stored", FULL, 141, shop.now)
    await shop.database.write(sweeps.store_sweep, sweep, coins, OWNER, shop.now)
    await shop.database.write(sweeps.record_broadcast, txid, shop.now)
    await shop.mine(decode(raw)._replace(outputs=()))
    return shop, payment, txid


async def test_sweeps_are_silent(forwarding_shop: SmallShop) -> None:
    shop, _, _ = await swept(forwarding_shop)
    for full in (True, False):
        assert await found(shop, full=full, destination=OWNER) == []
    await shop.undo(4)
    await shop.at_tip()
    assert await found(shop) == []  # undone by a reorganisation: its coins are nowhere for now


SWEEPS_TAMPERED: dict[str, tuple[Check, str]] = {
    "UPDATE sweep SET destination = 'thief'": (Check.SWEEP, "thief gets 0 sat instead of 39859"),
    "UPDATE sweep SET fee_sat = 9": (Check.SWEEP, "gets 39859 sat instead of 39991"),
    "UPDATE sweep SET raw = substr(raw, 2)": (Check.SWEEP, "cannot be read"),
    "DELETE FROM sweep_input": (Check.SWEEP, "no sweep claims it"),
    "DELETE FROM sweep_spend": (Check.SWEEP, "its bytes spend other coins than are recorded"),
    "UPDATE transfer_line SET delta = delta - 1 WHERE transfer_id = 2 AND delta < 0": (
        Check.SWEEP,
        "By its sweep 40000 sat of coin",
    ),
    "UPDATE output SET spent_by = NULL": (Check.SPENT, "and is recorded as unspent"),
    "UPDATE account SET balance = balance - 5 WHERE kind = 'fees'": (
        Check.TOTALS,
        "By the coins 141 sat are paid in fees, by the ledger's account fees 136 sat.",
    ),
}


@pytest.mark.parametrize("change", SWEEPS_TAMPERED)
async def test_sweeps_that_were_changed(forwarding_shop: SmallShop, database_url: str, change: str) -> None:
    check, words = SWEEPS_TAMPERED[change]
    shop, _, _ = await swept(forwarding_shop)
    tamper(database_url, change)
    differences = await found(shop)
    assert any(words in d.detail for d in differences if d.check is check), [d.detail for d in differences]


async def test_a_sweep_to_another_address_than_the_setting(forwarding_shop: SmallShop) -> None:
    shop, _, txid = await swept(forwarding_shop)
    (elsewhere,) = await found(shop, destination="another")
    assert (elsewhere.check, elsewhere.about) == (Check.SWEEP, f"sweep {txid} destination")
    await shop.mine(blocks=6)
    await shop.database.write(sweeps.close_deep_sweeps)
    assert await found(shop, destination="another") == []


async def test_a_coin_that_somebody_else_spent(forwarding_shop: SmallShop) -> None:
    shop = forwarding_shop
    payment = await shop.create()
    await shop.mine(paying(A, (payment, FULL)), blocks=3)
    await shop.at_tip()
    thief = paying("f" * 64, spends=())._replace(prevouts=(OutPoint(A, 0),))
    await shop.mine(thief)
    (stolen,) = await found(shop)
    assert (stolen.check, stolen.sat) == (Check.SPENT, FULL)
    assert "somebody else has them" in stolen.detail


async def test_nothing_can_be_written_aside(shop: SmallShop) -> None:
    with pytest.raises(StorageError):
        await shop.database.read_aside(lambda tx: tx.execute("UPDATE till SET birth_height = 0"))
