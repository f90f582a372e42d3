"""Money out: what was signed spends what the ledger says, for the owner and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator

from payments.address import AddressError
from payments.difference import Check, Difference
from payments.model import OutPoint
from payments.tx import MalformedTransaction, decode
from storage.audit.deposits import MOVED_COINS
from storage.audit.question import Question
from storage.tx import Row, Tx

_NEWEST = 1_000
_MEND = "Compare with a backup."


def sweep_differences(tx: Tx, question: Question) -> list[Difference]:
    """Every sweep's bytes against its row, its inputs and the ledger; not `full`: the newest and all still watched."""
    rows = tx.all("SELECT * FROM sweep ORDER BY created_at DESC, txid")
    chosen = rows if question.full else [r for n, r in enumerate(rows) if n < _NEWEST or r["state"] != "confirmed"]
    found = list(_forwards(tx))
    for number, row in enumerate(chosen):
        found += _sweep(tx, row, question)
        if number % 100 == 99:
            question.step("sweeps", number + 1, len(chosen))
    return found


def _sweep(tx: Tx, row: Row, question: Question) -> Iterator[Difference]:
    name = f"sweep {row['txid']}"
    try:
        signed = decode(bytes(row["raw"]))
        script = question.script_of(row["destination"])
    except (MalformedTransaction, AddressError) as error:
        yield Difference(Check.SWEEP, name, f"The stored {name} cannot be read: {error}. Compare with a backup.")
        return
    coins = {
        OutPoint(r["prev_txid"], r["prev_vout"]): r["value_sat"] or 0
        for r in tx.all(
            "SELECT x.prev_txid, x.prev_vout, o.value_sat FROM sweep_spend x LEFT JOIN output o"
            " ON o.txid = x.prev_txid AND o.vout = x.prev_vout WHERE x.sweep_txid = :txid",
            txid=row["txid"],
        )
    }
    went = sum(output.value_sat for output in signed.outputs if output.script_pubkey == script)
    wrong = {
        "its bytes are another transaction": signed.txid != row["txid"],
        "its bytes spend other coins than are recorded": set(signed.prevouts) != set(coins),
        f"its coins hold {sum(coins.values())} sat, it says {row['value_sat']}": sum(coins.values())
        != row["value_sat"],
        f"{row['destination']} gets {went} sat instead of {row['value_sat'] - row['fee_sat']}": (
            went != row["value_sat"] - row["fee_sat"]
        ),
        "it pays somebody else, too": any(output.script_pubkey != script for output in signed.outputs),
    }
    for what, is_so in wrong.items():
        if is_so:
            text = f"The stored {name} is not what the ledger says: {what}. Stop the service and compare with a backup."
            yield Difference(Check.SWEEP, name, text, went - (row["value_sat"] - row["fee_sat"]))
    if question.destination not in (None, row["destination"]) and row["is_current"] and row["state"] != "confirmed":
        text = (
            f"The {name} goes to {row['destination']}, wallet.forward_to is {question.destination}. If you have "
            "changed that setting since, this ends when the sweep is 6 blocks deep; if not, find out who did."
        )
        yield Difference(Check.SWEEP, f"{name} destination", text)


def _forwards(tx: Tx) -> Iterator[Difference]:
    """Each coin of a sweep that can be has left the till in the ledger, with its value, and no other has."""
    moved = (
        "(SELECT t.txid, t.vout, -sum(l.delta) AS sat FROM transfer t JOIN transfer_line l ON l.transfer_id = t.id"
        " JOIN account a ON a.id = l.account_id AND a.kind = 'till'"
        " WHERE t.kind IN ('forward', 'forward_reversal') GROUP BY t.txid, t.vout)"
    )
    due = "CASE WHEN g.prev_txid IS NULL THEN 0 ELSE o.value_sat END"
    for row in tx.all(
        f"SELECT i.prev_txid AS txid, i.prev_vout AS vout, {due} AS due, coalesce(m.sat, 0) AS moved"  # noqa: S608
        " FROM sweep_input i JOIN output o ON o.txid = i.prev_txid AND o.vout = i.prev_vout"
        f" LEFT JOIN {MOVED_COINS} g ON g.prev_txid = i.prev_txid AND g.prev_vout = i.prev_vout"
        f" LEFT JOIN {moved} m ON m.txid = i.prev_txid AND m.vout = i.prev_vout WHERE {due} <> coalesce(m.sat, 0)"
    ):
        name, sat = f"{row['txid']}:{row['vout']}", int(row["moved"])
        text = f"By its sweep {row['due']} sat of coin {name} are forwarded, by the ledger {sat} sat. {_MEND}"
        yield Difference(Check.SWEEP, name, text, row["due"] - sat)
    for row in tx.all(
        f"SELECT m.txid, m.vout, m.sat FROM {moved} m"  # noqa: S608 - fixed texts
        " LEFT JOIN sweep_input i ON i.prev_txid = m.txid AND i.prev_vout = m.vout"
        " WHERE i.sweep_txid IS NULL AND m.sat <> 0"
    ):
        name = f"{row['txid']}:{row['vout']}"
        text = f"By the ledger {int(row['sat'])} sat of coin {name} are forwarded; no sweep claims it. {_MEND}"
        yield Difference(Check.SWEEP, name, text, int(row["sat"]))
