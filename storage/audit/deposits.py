"""The ledger against the facts: what was booked is what is recorded, and the satoshi are all accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from payments.difference import Check, Difference
from storage.tx import Tx

_RESTORE = "One of the two was changed by hand: compare with a backup."


def deposits(tx: Tx) -> list[Difference]:
    """Every deposit and reversal against its output, every transfer's credits against its lines and its payment."""
    return list(chain(_values(tx), _booked_flags(tx), _credits_of_transfers(tx), _credits_of_payments(tx), _totals(tx)))


def _values(tx: Tx) -> Iterator[Difference]:
    """The satoshi of a deposit are those of its output."""
    for row in tx.all(
        "SELECT t.id, t.kind, t.txid, t.vout, o.value_sat, coalesce(sum(l.delta), 0) AS chain"
        " FROM transfer t LEFT JOIN output o ON o.txid = t.txid AND o.vout = t.vout"
        " LEFT JOIN (transfer_line l JOIN account a ON a.id = l.account_id AND a.kind = 'chain')"
        " ON l.transfer_id = t.id WHERE t.kind IN ('deposit', 'reversal')"
        " GROUP BY t.id, t.kind, t.txid, t.vout, o.value_sat"
        " HAVING o.value_sat IS NULL OR coalesce(sum(l.delta), 0)"
        " <> CASE t.kind WHEN 'deposit' THEN -o.value_sat ELSE o.value_sat END"
    ):
        name, booked = f"{row['txid']}:{row['vout']}", abs(int(row["chain"]))
        if row["value_sat"] is None:
            text = f"The ledger has a {row['kind']} of {booked} sat for {name}, which is no recorded output. {_RESTORE}"
            yield Difference(Check.DEPOSIT, name, text, booked)
        else:
            text = (
                f"The ledger's {row['kind']} of {name} has {booked} sat, its output is recorded with "
                f"{row['value_sat']} sat. {_RESTORE}"
            )
            yield Difference(Check.DEPOSIT, name, text, booked - row["value_sat"])


def _booked_flags(tx: Tx) -> Iterator[Difference]:
    for row in tx.all(
        "SELECT o.txid, o.vout, o.booked, o.value_sat, coalesce(x.live, 0) AS live FROM output o LEFT JOIN ("
        " SELECT txid, vout, sum(CASE kind WHEN 'deposit' THEN 1 ELSE -1 END) AS live FROM transfer"
        " WHERE kind IN ('deposit', 'reversal') GROUP BY txid, vout) x ON x.txid = o.txid AND x.vout = o.vout"
        " WHERE o.booked <> coalesce(x.live, 0)"
    ):
        name = f"{row['txid']}:{row['vout']}"
        booked, live = ("booked" if row["booked"] else "not booked"), int(row["live"])
        text = f"Output {name} is marked as {booked}, the ledger's entries for it count {live}. {_RESTORE}"
        yield Difference(Check.DEPOSIT, name, text, row["value_sat"] * (row["booked"] - live))


def _credits_of_transfers(tx: Tx) -> Iterator[Difference]:
    for row in tx.all(
        "SELECT t.id, t.credits, coalesce(sum(l.delta), 0) AS lines FROM transfer t"
        " LEFT JOIN (transfer_line l JOIN account a ON a.id = l.account_id AND a.kind = 'user' AND a.unit = 'credit')"
        " ON l.transfer_id = t.id AND a.owner = t.user_id"
        " GROUP BY t.id, t.credits HAVING t.credits <> coalesce(sum(l.delta), 0)"
    ):
        yield Difference(
            Check.CREDITS,
            f"transfer {row['id']}",
            f"Transfer {row['id']} says {row['credits']} credits, its lines move {int(row['lines'])} on the user's "
            f"account. {_RESTORE}",
        )


def _credits_of_payments(tx: Tx) -> Iterator[Difference]:
    for row in tx.all(
        "SELECT p.id, p.credits_posted, p.ever_credited, coalesce(sum(t.credits), 0) AS posted,"
        " coalesce(max(t.credits), 0) AS most FROM payment p LEFT JOIN transfer t ON t.payment_number = p.number"
        " GROUP BY p.number, p.id, p.credits_posted, p.ever_credited HAVING p.credits_posted <>"
        " coalesce(sum(t.credits), 0) OR p.ever_credited <> CASE WHEN coalesce(max(t.credits), 0) > 0 THEN 1 ELSE 0 END"
    ):
        posted, ever = int(row["posted"]), row["most"] > 0
        text = (
            f"Payment {row['id']} shows {row['credits_posted']} credits, its transfers give {posted}."
            if posted != row["credits_posted"]
            else f"Payment {row['id']} is marked as {'' if row['ever_credited'] else 'never '}credited, "
            f"by its transfers it {'was' if ever else 'never was'}."
        )
        yield Difference(Check.CREDITS, str(row["id"]), f"{text} {_RESTORE}")


MOVING_SWEEPS = (
    "(SELECT m.txid, m.fee_sat FROM sweep m WHERE m.is_current = 1 AND NOT EXISTS (SELECT 1 FROM sweep_spend x"
    " JOIN output y ON y.txid = x.prev_txid AND y.vout = x.prev_vout WHERE x.sweep_txid = m.txid AND y.booked = 0))"
)
"""Current versions whose coins are all booked: a sweep spends all its coins or none, so the others move none."""

MOVED_COINS = f"(SELECT c.prev_txid, c.prev_vout FROM sweep_spend c JOIN {MOVING_SWEEPS} v ON v.txid = c.sweep_txid)"  # noqa: S608
"""Coins that have left the till by their sweep."""


def _totals(tx: Tx) -> Iterator[Difference]:
    """Received = forwarded + fees + still here: each account of satoshi against the coins themselves."""
    row = tx.one(
        "SELECT coalesce(sum(o.value_sat), 0) AS received,"  # noqa: S608 - fixed texts
        " coalesce(sum(CASE WHEN p.watch_only = 0 AND g.prev_txid IS NULL THEN o.value_sat ELSE 0 END), 0) AS here"
        " FROM output o JOIN payment p ON p.number = o.payment_number"
        f" LEFT JOIN {MOVED_COINS} g ON g.prev_txid = o.txid AND g.prev_vout = o.vout"
        " WHERE o.booked = 1"
    )
    paid = tx.one(f"SELECT coalesce(sum(fee_sat), 0) AS fees FROM {MOVING_SWEEPS} z")  # noqa: S608 - fixed texts
    assert row is not None  # noqa: S101 - a sum always answers
    assert paid is not None  # noqa: S101 - a sum always answers
    received, here, fees = int(row["received"]), int(row["here"]), int(paid["fees"])
    expected = {
        "chain": ("received", -received),
        "till": ("still here", here),
        "owner": ("with the owner", received - here - fees),
        "fees": ("paid in fees", fees),
    }
    shown = {r["kind"]: int(r["balance"]) for r in tx.all("SELECT kind, balance FROM account WHERE unit = 'sat'")}
    for kind, (meaning, coins) in expected.items():
        balance = shown.get(kind, 0)
        if balance != coins:
            text = (
                f"By the coins {abs(coins)} sat are {meaning}, by the ledger's account {kind} {abs(balance)} sat. "
                "Look at the other differences, which say where."
            )
            yield Difference(Check.TOTALS, f"account {kind}", text, balance - coins)
