"""The ledger against itself: its hash chain, its balances, each outpoint booked once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain

from payments.difference import Check, Difference
from payments.ledger_chain import FIRST, Entry, EntryLine, entry_hash
from storage.audit.question import Step
from storage.tx import Row, Tx

_PAGE = 500
_MEND = "Restore a backup, or compare with one; no credit is given before that."


def hash_chain(tx: Tx, after: int, step: Step) -> tuple[int, list[Difference]]:
    """Compute the hashes of all transfers above number `after`; how many there were, and what does not follow."""
    anchor = tx.one("SELECT hash FROM transfer WHERE id <= :after ORDER BY id DESC LIMIT 1", after=after)
    previous = FIRST if anchor is None else str(anchor["hash"])
    counted = tx.one("SELECT count(*) AS n FROM transfer WHERE id > :after", after=after)
    of, done = int(counted["n"]) if counted else 0, 0
    found: list[Difference] = []
    for row, lines in _transfers(tx, after):
        if entry_hash(previous, _entry(row, lines)) != row["hash"]:
            found.append(_not_chained(row))
        previous = str(row["hash"])
        done += 1
        if done % _PAGE == 0:
            step("transfers", done, of)
    return done, found


def _not_chained(row: Row) -> Difference:
    return Difference(
        Check.HASH_CHAIN,
        f"transfer {row['id']}",
        f"Transfer {row['id']} ({row['kind']}, {row['credits']} credits, user {row['user_id'] or '-'}) does not follow "
        f"from its content and the transfer before it: it was changed, or the one before it removed. {_MEND}",
    )


def _transfers(tx: Tx, after: int) -> Iterator[tuple[Row, list[Row]]]:
    while page := tx.all("SELECT * FROM transfer WHERE id > :after ORDER BY id LIMIT :limit", after=after, limit=_PAGE):
        lines: dict[int, list[Row]] = defaultdict(list)
        for line in tx.all(
            "SELECT l.transfer_id, a.kind, a.unit, a.owner, l.delta, l.balance_after"
            " FROM transfer_line l JOIN account a ON a.id = l.account_id"
            " WHERE l.transfer_id > :after AND l.transfer_id <= :last",
            after=after,
            last=page[-1]["id"],
        ):
            lines[line["transfer_id"]].append(line)
        for row in page:
            yield row, lines[row["id"]]
        after = page[-1]["id"]


def _entry(row: Row, lines: list[Row]) -> Entry:
    return Entry(
        kind=row["kind"],
        payment_number=row["payment_number"],
        txid=row["txid"],
        vout=row["vout"],
        epoch=row["epoch"],
        user_id=row["user_id"],
        reference=row["reference"],
        credits=row["credits"],
        evidence=row["evidence"],
        created_at=row["created_at"],
        lines=tuple(EntryLine(li["kind"], li["unit"], li["owner"], li["delta"], li["balance_after"]) for li in lines),
    )


def sums(tx: Tx) -> list[Difference]:
    """What must hold of the ledger whatever the chain says. All of it, in the database's own arithmetic."""
    return list(chain(_transfers_sum_to_zero(tx), _lines_have_transfers(tx), _balances(tx), _booked_once(tx)))


def _transfers_sum_to_zero(tx: Tx) -> Iterator[Difference]:
    for row in tx.all(
        "SELECT l.transfer_id, a.unit, sum(l.delta) AS over FROM transfer_line l JOIN account a ON a.id = l.account_id"
        " GROUP BY l.transfer_id, a.unit HAVING sum(l.delta) <> 0 ORDER BY l.transfer_id"
    ):
        over = int(row["over"])
        yield Difference(
            Check.BALANCE,
            f"transfer {row['transfer_id']} {row['unit']}",
            f"The lines of transfer {row['transfer_id']} do not add up to zero but to {over} {row['unit']}. {_MEND}",
            over if row["unit"] == "sat" else 0,
        )


def _lines_have_transfers(tx: Tx) -> Iterator[Difference]:
    for row in tx.all(
        "SELECT DISTINCT l.transfer_id FROM transfer_line l LEFT JOIN transfer t ON t.id = l.transfer_id"
        " WHERE t.id IS NULL ORDER BY l.transfer_id"
    ):
        yield Difference(
            Check.HASH_CHAIN,
            f"transfer {row['transfer_id']}",
            f"Transfer {row['transfer_id']} is gone, and its lines are still there: somebody removed it. {_MEND}",
        )


def _balances(tx: Tx) -> Iterator[Difference]:
    for row in tx.all(
        "SELECT a.kind, a.unit, a.owner, a.balance, coalesce(sum(l.delta), 0) AS entries"
        " FROM account a LEFT JOIN transfer_line l ON l.account_id = a.id"
        " GROUP BY a.id, a.kind, a.unit, a.owner, a.balance HAVING a.balance <> coalesce(sum(l.delta), 0)"
    ):
        name = f"{row['kind']} {row['owner']}".strip()
        entries = int(row["entries"])
        yield Difference(
            Check.BALANCE,
            f"account {name} {row['unit']}",
            f"The {row['unit']} account {name} shows {row['balance']}, its entries add up to {entries}. {_MEND}",
            row["balance"] - entries if row["unit"] == "sat" else 0,
        )


def _booked_once(tx: Tx) -> Iterator[Difference]:
    for done, undone in (("deposit", "reversal"), ("forward", "forward_reversal")):
        for row in tx.all(
            "SELECT txid, vout, sum(CASE kind WHEN :done THEN 1 ELSE -1 END) AS live FROM transfer"
            " WHERE kind IN (:done, :undone) GROUP BY txid, vout"
            " HAVING sum(CASE kind WHEN :done THEN 1 ELSE -1 END) NOT IN (0, 1)",
            done=done,
            undone=undone,
        ):
            name = f"{row['txid']}:{row['vout']}"
            text = (
                f"Output {name} has {int(row['live'])} more {done}s than {undone}s; one more is right, or none. {_MEND}"
            )
            yield Difference(Check.BOOKED_ONCE, name, text.replace("_", " "))


def contradictions(tx: Tx, step: Step) -> list[Difference]:
    """All that breaks the ledger, from its first transfer on."""
    return [*hash_chain(tx, 0, step)[1], *sums(tx)]


def holds(tx: Tx, transfer: int, its_hash: str) -> list[Difference]:
    """Whether the ledger still holds a transfer that was its newest once. Its end can be cut off without a trace in
    the chain; who remembers what stood there notices."""
    row = tx.one("SELECT hash FROM transfer WHERE id = :id", id=transfer)
    if transfer == 0 or (row is not None and row["hash"] == its_hash):
        return []
    text = f"Transfer {transfer} was the newest some minutes ago, and is gone or another one now. {_MEND}"
    return [Difference(Check.HASH_CHAIN, f"transfer {transfer}", text)]


def newest(tx: Tx) -> tuple[int, str]:
    """Number and hash of the newest transfer."""
    row = tx.one("SELECT id, hash FROM transfer ORDER BY id DESC LIMIT 1")
    return (0, FIRST) if row is None else (int(row["id"]), str(row["hash"]))
