"""What must be true of the database after every step, whatever happened. Call inside one snapshot.

The numbers are those of the fault catalogue: I1 double entry, I2 balances, I3 once per outpoint,
I8 a state follows from facts, I10 events, I12 cursor. The accounts in satoshi are reckoned again
from outputs and sweeps alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

from payments.counted import Counted
from payments.ledger import transfers_due
from payments.model import Status
from payments.status import PaymentState, aside, state_of
from storage.records import fresh_facts, state_in, tip_height
from storage.tx import Tx


def check(tx: Tx) -> None:
    """Raise AssertionError at the first thing that does not hold."""
    _ledger_is_balanced(tx)
    _balances_are_their_entries(tx)
    _each_outpoint_at_most_once(tx)
    _accounts_equal_the_coins(tx)
    _state_and_credits_follow_from_the_facts(tx)
    _events_are_gapless_and_tell_the_status(tx)
    _cursor_is_on_the_stored_chain(tx)
    _mined_is_what_an_active_block_holds(tx)


def check_quiet(tx: Tx) -> None:
    """At the tip, after settling and booking: nothing is due, and what is stored is what is derived."""
    check(tx)
    height = tip_height(tx)
    for row in tx.all("SELECT * FROM payment"):
        assert not row["unsettled"], row["number"]
        assert not row["booking_due"], row["number"]
        facts = fresh_facts(tx, row)
        assert transfers_due(facts, row["user_id"], height) == []
        stored, derived = state_in(row), state_of(facts, height)
        for name in ("status", "flags", "received_sat", "confirmed_sat", "remaining_sat", "tx_hash", "failure_reason"):
            assert getattr(stored, name) == getattr(derived, name), (row["number"], name, stored, derived)


def _ledger_is_balanced(tx: Tx) -> None:
    unbalanced = tx.all(
        "SELECT l.transfer_id, a.unit, sum(l.delta) AS off FROM transfer_line l JOIN account a ON a.id = l.account_id"
        " GROUP BY l.transfer_id, a.unit HAVING sum(l.delta) <> 0"
    )
    assert unbalanced == [], f"I1: {[tuple(row) for row in unbalanced]}"


def _balances_are_their_entries(tx: Tx) -> None:
    sums: dict[int, int] = defaultdict(int)
    for row in tx.all("SELECT account_id, delta, balance_after FROM transfer_line ORDER BY transfer_id"):
        sums[row["account_id"]] += row["delta"]
        assert row["balance_after"] == sums[row["account_id"]], "I2: balance_after"
    for row in tx.all("SELECT id, balance FROM account"):
        assert row["balance"] == sums[row["id"]], "I2: balance"


def _each_outpoint_at_most_once(tx: Tx) -> None:
    live: dict[tuple[str, int], int] = defaultdict(int)
    for row in tx.all("SELECT kind, txid, vout FROM transfer WHERE kind IN ('deposit', 'reversal') ORDER BY id"):
        outpoint = (row["txid"], row["vout"])
        live[outpoint] += 1 if row["kind"] == "deposit" else -1
        assert live[outpoint] in (0, 1), f"I3: {outpoint}"
    for row in tx.all("SELECT txid, vout, booked FROM output"):
        assert row["booked"] == live[row["txid"], row["vout"]], f"I3: {tuple(row)}"


def _accounts_equal_the_coins(tx: Tx) -> None:
    """A booked coin is in the till, or with the owner: at once in watch-only mode, else when a sweep has
    taken it. A sweep moves its coins while all of them are booked: it spends all or none."""
    coins = tx.all(
        "SELECT o.value_sat, o.booked, p.watch_only, (SELECT s.txid FROM sweep_spend x"
        "  JOIN sweep s ON s.txid = x.sweep_txid WHERE s.is_current = 1 AND x.prev_txid = o.txid"
        "  AND x.prev_vout = o.vout) AS sweep_txid"
        " FROM output o JOIN payment p ON p.number = o.payment_number"
    )
    broken = {coin["sweep_txid"] for coin in coins if not coin["booked"]}
    expected: dict[str, int] = defaultdict(int)
    for coin in coins:
        if not coin["booked"]:
            continue
        swept = coin["sweep_txid"] is not None and coin["sweep_txid"] not in broken
        expected["chain"] -= coin["value_sat"]
        expected["owner" if coin["watch_only"] or swept else "till"] += coin["value_sat"]
    for sweep in tx.all("SELECT txid, fee_sat FROM sweep WHERE is_current = 1"):
        if sweep["txid"] not in broken:
            expected["owner"] -= sweep["fee_sat"]
            expected["fees"] += sweep["fee_sat"]
    for row in tx.all("SELECT kind, balance FROM account WHERE unit = 'sat'"):
        assert row["balance"] == expected.pop(row["kind"], 0), row["kind"]
    assert not any(expected.values()), dict(expected)


_DERIVED = (
    *("status", "flags", "received_sat", "confirmed_sat", "remaining_sat"),
    *("tx_hash", "detected_at", "failure_reason", "wake_height"),
)


def _state_and_credits_follow_from_the_facts(tx: Tx) -> None:
    posted: dict[int, int] = defaultdict(int)
    for row in tx.all("SELECT payment_number AS n, credits FROM transfer WHERE payment_number IS NOT NULL"):
        posted[row["n"]] += row["credits"]
    height = tip_height(tx)
    top = tx.one("SELECT max(height) AS height FROM block")
    # While blocks are being taken back, what they did not touch was judged at their height.
    judged_at = range(height, max(height, (top and top["height"]) or 0) + 1)
    for row in tx.all("SELECT * FROM payment"):
        assert row["credits_posted"] == posted[row["number"]]
        facts = fresh_facts(tx, row)
        if row["unsettled"]:
            continue
        derived = [_compared(state_of(facts, at)) for at in judged_at]
        assert _compared(state_in(row)) in derived, f"I8: {row['number']} {state_in(row)}, {derived}"
        if row["booking_due"]:
            continue
        counted = Counted(facts.terms, height)
        for output in facts.outputs:
            if output.booked and output.outpoint not in aside(facts):
                counted.add(output)
        assert row["credits_posted"] == counted.credits(row["credits_posted"]), row["number"]


def _compared(state: PaymentState) -> tuple[Any, ...]:
    return tuple(getattr(state, name) for name in _DERIVED)


def _events_are_gapless_and_tell_the_status(tx: Tx) -> None:
    told: dict[int, list[int]] = defaultdict(list)
    newest: dict[int, str] = {}
    for row in tx.all("SELECT * FROM event WHERE payment_number IS NOT NULL ORDER BY id"):
        told[row["payment_number"]].append(row["sequence"])
        if row["type"].startswith("payment."):
            newest[row["payment_number"]] = json.loads(row["data"])["status"]
    for row in tx.all("SELECT number, sequence, status FROM payment"):
        assert told[row["number"]] == list(range(1, row["sequence"] + 1)), "I10: sequence"
        # The one silent way: more coins to forward after all were on their way (never for watch-only).
        if (newest[row["number"]], row["status"]) != (Status.FORWARDED, Status.CONFIRMED):
            assert newest[row["number"]] == row["status"], f"I10: {newest[row['number']]} told, {row['status']} is"
    untold = tx.all(
        "SELECT e.id FROM event e CROSS JOIN (SELECT DISTINCT endpoint FROM outbox) o"
        " LEFT JOIN outbox x ON x.event_id = e.id AND x.endpoint = o.endpoint WHERE x.event_id IS NULL"
    )
    assert untold == [], "I10: an event without its outbox row"


def _cursor_is_on_the_stored_chain(tx: Tx) -> None:
    till = tx.one("SELECT cursor_height, cursor_hash, birth_height FROM till")
    active = tx.all("SELECT height, hash, prev_hash FROM block WHERE active = 1 ORDER BY height")
    if till is None or not active:
        return
    assert (active[-1]["height"], active[-1]["hash"]) == (till["cursor_height"], till["cursor_hash"]), "I12: top"
    for below, above in pairwise(active):
        assert (above["height"], above["prev_hash"]) == (below["height"] + 1, below["hash"]), "I12: chain"
    assert active[0]["height"] == till["birth_height"] + 1, "I12: hole"


def _mined_is_what_an_active_block_holds(tx: Tx) -> None:
    wrong = tx.all(
        "SELECT t.txid, t.mined, t.in_mempool FROM incoming_tx t WHERE (t.mined = 1 AND t.in_mempool = 1) OR t.mined <>"
        " (SELECT count(*) FROM block_tx l JOIN block b ON b.hash = l.block_hash"
        " WHERE l.txid = t.txid AND b.active = 1)"
    )
    assert wrong == [], f"mined: {[tuple(row) for row in wrong]}"
