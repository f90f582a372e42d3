"""What the operator sees of money out: coins that wait, sweeps that are under way, what is late."""

from __future__ import annotations

from dataclasses import dataclass

from payments.coin import Coin
from payments.model import OutPoint
from storage.coins_due import coins_due
from storage.forward_orders import is_paused
from storage.late_forwards import told
from storage.tx import Tx

_EVERYTHING = 1_000_000


@dataclass(frozen=True, slots=True)
class OpenSweep:
    """The current version of a sweep that is not final. Amounts in satoshi; `mined_at` is a height."""

    txid: str
    state: str
    destination: str
    inputs: int
    value_sat: int
    fee_sat: int
    vsize: int
    versions: int
    mined_at: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class ForwardingView:
    paused: bool
    coins: tuple[Coin, ...]
    sweeps: tuple[OpenSweep, ...]
    late: frozenset[OutPoint]


def forwarding_view(tx: Tx) -> ForwardingView:
    """All of it at one moment."""
    keychains = tx.all("SELECT id FROM keychain WHERE watch_only = 0 ORDER BY id")
    coins = [coin for row in keychains for coin in coins_due(tx, row["id"], _EVERYTHING)]
    rows = tx.all(
        "SELECT s.*, (SELECT count(*) FROM sweep_spend x WHERE x.sweep_txid = s.txid) AS inputs,"
        " (SELECT count(*) FROM sweep v WHERE v.family = s.family) AS versions,"
        " (SELECT b.height FROM block_tx l JOIN block b ON b.hash = l.block_hash"
        "  WHERE l.txid = s.txid AND b.active = 1) AS mined_at"
        " FROM sweep s WHERE s.is_current = 1 AND s.state <> 'confirmed' ORDER BY s.created_at, s.txid"
    )
    names = OpenSweep.__dataclass_fields__
    sweeps = tuple(OpenSweep(**{name: row[name] for name in names}) for row in rows)
    return ForwardingView(is_paused(tx), tuple(coins), sweeps, frozenset(told(tx)))
