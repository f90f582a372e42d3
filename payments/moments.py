"""When what a transaction pays was first on its way, be it in transactions that it replaced (BIP 125)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from payments.model import OutPoint


class Sent(Protocol):
    """An output as far as it matters here; see `payments.facts.OutputFact`."""

    @property
    def outpoint(self) -> OutPoint: ...
    @property
    def value_sat(self) -> int: ...
    @property
    def paid_at(self) -> int: ...
    @property
    def replaced_by(self) -> str | None: ...
    @property
    def live(self) -> bool: ...


class _Part(NamedTuple):
    moment: int
    txid: str
    value_sat: int


def first_moments(outputs: Iterable[Sent]) -> dict[str, int]:
    """By txid, in milliseconds. Work and memory grow with the number of outputs, however long the chain of
    replacements: a payer makes those at will.

    A replacement keeps the moment at which as much as it pays was on its way in what it replaced; who
    raises more than the fee has paid when he did so.
    """
    moment: dict[str, int] = {}
    value: defaultdict[str, int] = defaultdict(int)
    heir: dict[str, str] = {}
    for output in outputs:
        txid = output.outpoint.txid
        moment[txid] = min(output.paid_at, moment.get(txid, output.paid_at))
        value[txid] += output.value_sat
        if output.replaced_by is not None and not output.live:
            heir[txid] = output.replaced_by
    waiting: defaultdict[str, int] = defaultdict(int)
    for replacement in heir.values():
        waiting[replacement] += 1
    inherited: defaultdict[str, list[_Part]] = defaultdict(list)
    ready = [txid for txid in moment if not waiting[txid]]
    while ready:  # the oldest first; a ring, which no chain can show, is left as it is
        txid = ready.pop()
        moment[txid] = _earliest(moment[txid], value[txid], inherited.pop(txid, []))
        follower = heir.get(txid)
        if follower is not None and follower in moment:
            inherited[follower].append(_Part(moment[txid], txid, value[txid]))
            waiting[follower] -= 1
            if not waiting[follower]:
                ready.append(follower)
    return moment


def _earliest(own: int, needed_sat: int, parts: list[_Part]) -> int:
    total = 0
    for part in sorted(parts):
        total += part.value_sat
        if total >= needed_sat:
            return min(own, part.moment)
    return own
