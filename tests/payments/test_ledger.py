"""What the ledger must write: always balanced, never twice, level with the facts afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payments.facts import Facts, OutputFact, Resolution
from payments.ledger import (
    Account,
    AccountKind,
    Transfer,
    TransferKind,
    Unit,
    forward,
    spend,
    transfers_due,
)
from payments.model import ExcessPolicy, LatePolicy, OutPoint, Status
from payments.status import aside, credits_for, settled, state_of
from tests.payments.given import IN_TIME, TIP, TOO_LATE, facts, gone, output, terms

HOLD = terms(late=LatePolicy.HOLD)


def assert_balanced(transfer: Transfer) -> None:
    """Zero in each unit; no empty line; no account twice (the ledger keys lines by account)."""
    total: Counter[Unit] = Counter()
    for line in transfer.lines:
        assert line.delta != 0
        total[line.account.unit] += line.delta
    assert not any(total.values())
    accounts = [line.account for line in transfer.lines]
    assert len(accounts) == len(set(accounts))


def apply(known: Facts, transfers: list[Transfer]) -> Facts:
    """The facts after these transfers were written, as storage/ledger.py keeps them."""
    booked = {o.outpoint: o.booked for o in known.outputs}
    posted, ever = known.credits_posted, known.ever_credited
    for transfer in transfers:
        if transfer.kind is not TransferKind.ADJUSTMENT:
            assert transfer.outpoint is not None
            assert booked[transfer.outpoint] is (transfer.kind is TransferKind.REVERSAL)
            booked[transfer.outpoint] = transfer.kind is TransferKind.DEPOSIT
        posted, ever = posted + transfer.credits, ever or transfer.credits > 0
        assert posted >= 0
    outputs = tuple(replace(o, booked=booked[o.outpoint]) for o in known.outputs)
    return replace(known, outputs=outputs, credits_posted=posted, ever_credited=ever)


def told(known: Facts) -> list[tuple[TransferKind, str, int]]:
    due = transfers_due(known, "u1", TIP)
    for transfer in due:
        assert_balanced(transfer)
    return [(t.kind, t.outpoint.txid if t.outpoint else "", t.credits) for t in due]


DEPOSIT, REVERSAL, ADJUSTMENT = TransferKind.DEPOSIT, TransferKind.REVERSAL, TransferKind.ADJUSTMENT


@pytest.mark.parametrize(
    ("known", "due"),
    [
        pytest.param(facts(), [], id="nothing"),
        pytest.param(facts(output("a", 40_000, depth=2)), [], id="not deep enough"),
        pytest.param(facts(output("a", 40_000, depth=3)), [(DEPOSIT, "a", 400)], id="deep enough"),
        pytest.param(facts(output("a", 40_000, depth=3, booked=True), credits_posted=400), [], id="booked already"),
        pytest.param(facts(output("a", 15_000, depth=3)), [(DEPOSIT, "a", 0)], id="a part: booked without credits"),
        pytest.param(
            facts(output("b", 25_000, depth=3, paid_at=IN_TIME + 1), output("a", 15_000, depth=3)),
            [(DEPOSIT, "a", 0), (DEPOSIT, "b", 400)],
            id="the completing part carries the credits",
        ),
        pytest.param(facts(output("a", 80_000, depth=3)), [(DEPOSIT, "a", 800)], id="excess in proportion"),
        pytest.param(
            facts(output("a", 80_000, depth=3), promise=terms(excess=ExcessPolicy.KEEP)),
            [(DEPOSIT, "a", 400)],
            id="excess kept",
        ),
        pytest.param(facts(output("a", 0, depth=3)), [(DEPOSIT, "a", 0)], id="an output of zero satoshi"),
        pytest.param(facts(output("a", 40_000, depth=99, coinbase=True)), [], id="immature coinbase"),
        pytest.param(
            facts(gone("a", 40_000, booked=True), credits_posted=400, ever_credited=True),
            [(REVERSAL, "a", -400)],
            id="undone",
        ),
        pytest.param(
            facts(
                gone("a", 40_000, booked=True, replaced_by="b"),
                output("b", 40_000, depth=3),
                credits_posted=400,
                ever_credited=True,
            ),
            [(REVERSAL, "a", -400), (DEPOSIT, "b", 400)],
            id="undone and paid anew",
        ),
        pytest.param(
            facts(output("a", 40_000, depth=3, paid_at=TOO_LATE), promise=HOLD),
            [(DEPOSIT, "a", 0)],
            id="late and held: the coins are booked, no credits",
        ),
        pytest.param(
            facts(
                output("a", 40_000, depth=3, paid_at=TOO_LATE, booked=True, decision=Resolution.CREDIT), promise=HOLD
            ),
            [(ADJUSTMENT, "a", 400)],
            id="held, then credited by the operator",
        ),
        pytest.param(
            facts(
                output("a", 40_000, depth=3, paid_at=TOO_LATE, booked=True, decision=Resolution.IGNORE), promise=HOLD
            ),
            [],
            id="held, then ignored",
        ),
        pytest.param(
            facts(output("a", 40_000, depth=3, paid_at=TOO_LATE, decision=Resolution.CREDIT), promise=HOLD),
            [(DEPOSIT, "a", 400)],
            id="credited by the operator before it was deep",
        ),
        pytest.param(
            facts(output("a", 40_000, depth=3, decision=Resolution.REFUNDED)),
            [(DEPOSIT, "a", 0)],
            id="refunded before it was deep: the coins are booked all the same",
        ),
        pytest.param(
            facts(
                output("a", 20_000, depth=3, booked=True, decision=Resolution.REFUNDED),
                output("b", 20_000, depth=3),
            ),
            [(DEPOSIT, "b", 0)],
            id="what completes a refunded part gives nothing",
        ),
        pytest.param(
            facts(
                gone("a", 40_000, booked=True, decision=Resolution.REFUNDED),
                output("b", 40_000, depth=3),
            ),
            [(REVERSAL, "a", 0), (DEPOSIT, "b", 400)],
            id="a refunded one goes, another comes",
        ),
        pytest.param(
            facts(
                gone("a", 40_000, booked=True),
                gone("b", 40_000, booked=True),
                promise=HOLD,
            ),
            [(REVERSAL, "a", 0), (REVERSAL, "b", 0)],
            id="held, and gone, when they no longer count as late: nothing is given on the way",
        ),
        pytest.param(
            facts(
                *(output("dust", 546, vout=n, depth=3) for n in range(3)),
                output("real", 40_000, depth=3, paid_at=IN_TIME + 1),
            ),
            [(DEPOSIT, "dust", 0)] * 3 + [(DEPOSIT, "real", 416)],
            id="dust, then the real one",
        ),
    ],
)
def test_transfers_due(known: Facts, due: list[tuple[TransferKind, str, int]]) -> None:
    assert told(known) == due
    assert transfers_due(apply(known, transfers_due(known, "u1", TIP)), "u1", TIP) == []


def test_where_the_coins_are_in_each_mode() -> None:
    def places(watch_only: bool) -> set[AccountKind]:
        known = facts(output("a", 40_000, depth=3), watch_only=watch_only)
        return {line.account.kind for line in transfers_due(known, "u1", TIP)[0].lines}

    assert places(True) - places(False) == {AccountKind.OWNER}
    assert places(False) - places(True) == {AccountKind.TILL}


def test_a_spend() -> None:
    debit = spend("u1", 30)
    assert_balanced(debit)
    assert debit.credits == -30
    assert (Account(AccountKind.USER, Unit.CREDIT, "u1"), -30) in debit.lines


@pytest.mark.parametrize("fee", [0, 1, 141, 40_000])
def test_a_forward_leaves_the_till_once(fee: int) -> None:
    out = forward(OutPoint("a", 0), 40_000, fee)
    assert_balanced(out)
    deltas = {line.account.kind: line.delta for line in out.lines}
    assert deltas[AccountKind.TILL] == -40_000
    assert deltas.get(AccountKind.OWNER, 0) == 40_000 - fee
    assert deltas.get(AccountKind.FEES, 0) == fee


def by_the_book(known: Facts) -> list[tuple[OutPoint | None, int]]:
    """`transfers_due` as a person would do it: all sums anew after each output."""
    without, promise = aside(known), known.terms
    there = {o.outpoint for o in known.outputs if o.booked}
    posted = known.credits_posted
    due: list[tuple[OutPoint | None, int]] = []

    def worth() -> int:
        counted = [o for o in known.outputs if o.outpoint in there - without]
        steps = [(promise.confirmations_required, None), *((depth, above) for above, depth in promise.tiers)]
        best, full = 0, sum(o.value_sat for o in counted)
        for place, (depth, above) in enumerate(steps):
            deep = full if above is None else sum(o.value_sat for o in counted if o.depth(TIP) >= o.needs_depth(depth))
            bound = promise.tiers[place][0] if place < len(promise.tiers) else deep
            best = max(best, min(deep, bound))
        return max(credits_for(promise, best), min(posted, credits_for(promise, full)))

    last = max(there, default=None)
    goes = [o for o in known.outputs if o.booked and o.height is None]
    comes = [o for o in known.outputs if not o.booked and settled(o, promise, TIP)]
    for one in [*goes, *sorted(comes, key=lambda o: (o.paid_at, o.outpoint))]:
        there ^= {one.outpoint}
        bound = min if one.booked else max
        due.append((one.outpoint, bound(worth(), posted) - posted))
        posted, last = bound(worth(), posted), one.outpoint
    return due if worth() == posted else [*due, (last, worth() - posted)]


OUTPUTS = st.builds(
    lambda name, value, depth, late, coinbase, mempool, decision: output(
        name,
        value,
        depth=depth,
        paid_at=TOO_LATE if late else IN_TIME,
        coinbase=coinbase,
        in_mempool=mempool and depth is None,
        decision=decision,
    ),
    st.sampled_from("abcdef"),
    st.sampled_from([0, 1, 546, 19_999, 20_000, 39_900, 40_000, 40_001, 1_000_000]),
    st.none() | st.integers(1, 5) | st.just(101),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, None, *Resolution]),
)
CHAINS = st.lists(OUTPUTS, max_size=6, unique_by=lambda o: o.outpoint)


@settings(max_examples=300, deadline=None)
@given(
    histories=st.lists(CHAINS, min_size=1, max_size=4),
    late=st.sampled_from(LatePolicy),
    excess=st.sampled_from(ExcessPolicy),
    tolerance=st.sampled_from([0, 100]),
    watch_only=st.booleans(),
    tiers=st.sampled_from([(), ((50_000, 4),), ((40_000, 4), (90_000, 5))]),
)
def test_the_ledger_follows_any_history(
    histories: list[list[OutputFact]],
    late: LatePolicy,
    excess: ExcessPolicy,
    tolerance: int,
    watch_only: bool,
    tiers: tuple[tuple[int, int], ...],
) -> None:
    """Whatever the chain does between two bookings: balanced, level after one round, idempotent."""
    promise = terms(late=late, excess=excess, tolerance_sat=tolerance, tiers=tiers)
    known = facts(promise=promise, watch_only=watch_only)
    for chain in histories:
        booked = {o.outpoint: o for o in known.outputs if o.booked}
        now = {o.outpoint: replace(o, booked=o.outpoint in booked) for o in chain}
        lost = [replace(o, height=None, in_mempool=False) for p, o in booked.items() if p not in now]
        known = replace(known, outputs=(*now.values(), *lost))
        due = transfers_due(known, "u1", TIP)
        for transfer in due:
            assert_balanced(transfer)
            assert transfer.kind is not REVERSAL or transfer.credits <= 0
            assert transfer.kind is not DEPOSIT or transfer.credits >= 0
        assert [(t.outpoint, t.credits) for t in due] == by_the_book(known)
        known = apply(known, due)
        assert transfers_due(known, "u1", TIP) == []
        hold = {None, Resolution.IGNORE, Resolution.REFUNDED} if late is LatePolicy.HOLD else set()
        counted = [
            o
            for o in known.outputs
            if o.booked and not o.set_aside and not (o.decision in hold and o.paid_at > promise.expires_at)
        ]
        full = credits_for(promise, sum(o.value_sat for o in counted))
        if not tiers or all(o.depth(TIP) >= o.needs_depth(5) for o in counted):
            assert known.credits_posted == full
        else:
            assert min(full, promise.credits) <= known.credits_posted <= full


TIERED = terms(tiers=((90_000, 4), (200_000, 6)))


@pytest.mark.parametrize(
    ("outputs", "credits"),
    [
        pytest.param([output("a", 90_000, depth=3)], 900, id="up to the first tier"),
        pytest.param([output("a", 90_100, depth=3)], 900, id="a little above: what the depth vouches for"),
        pytest.param([output("a", 90_100, depth=4)], 901, id="a little above, deep enough"),
        pytest.param([output("a", 4_000_000, depth=4)], 2_000, id="far above: up to the second tier"),
        pytest.param([output("a", 4_000_000, depth=6)], 40_000, id="far above, deep enough"),
        pytest.param([output("a", 80_000, depth=6), output("b", 80_000, depth=3)], 900, id="a second payment, shallow"),
        pytest.param([output("a", 80_000, depth=6), output("b", 80_000, depth=4)], 1_600, id="both deep"),
        pytest.param([output("a", 4_000_000, depth=6, coinbase=True)], 0, id="a coinbase is not even mature"),
    ],
)
def test_who_pays_a_small_price_with_a_large_sum_waits_for_what_is_on_top(
    outputs: list[OutputFact], credits: int
) -> None:
    known = facts(*outputs, promise=TIERED)
    assert sum(t.credits for t in transfers_due(known, "u1", TIP)) == credits


def test_the_depth_of_a_tier_brings_the_rest() -> None:
    shallow = facts(output("a", 100_000, depth=3), promise=TIERED)
    assert state_of(shallow, TIP).wake_height == TIP + 1
    known = apply(shallow, transfers_due(shallow, "u1", TIP))
    assert (known.credits_posted, state_of(known, TIP).status) == (900, Status.FORWARDED)
    assert state_of(known, TIP).wake_height == TIP + 1
    (rest,) = transfers_due(known, "u1", TIP + 1)
    assert (rest.kind, rest.credits) == (TransferKind.ADJUSTMENT, 100)
    done = apply(known, [rest])
    assert state_of(done, TIP + 1).wake_height is None
    # A reorganisation that leaves the coins in, less deep, takes nothing back; one that takes them out does.
    assert transfers_due(done, "u1", TIP - 1) == []
    lost = replace(done, outputs=tuple(replace(o, height=None) for o in done.outputs))
    assert [t.credits for t in transfers_due(lost, "u1", TIP)] == [-1_000]


def test_thousands_of_outputs_are_booked_without_comparing_each_with_each() -> None:
    """A stranger may send as many as fit into blocks. What is counted here is work, not time."""
    depths = 0

    class Counting(OutputFact):
        def depth(self, tip_height: int) -> int:
            nonlocal depths
            depths += 1
            return OutputFact.depth(self, tip_height)

    many = [output("a", 700, depth=3, vout=vout) for vout in range(2_000)]
    counting = [Counting(*(getattr(o, name) for name in OutputFact.__slots__)) for o in many]
    due = transfers_due(facts(*counting, promise=TIERED), "u1", TIP)
    assert (len(due), sum(t.credits for t in due)) == (2_000, 900)
    assert depths < 20 * len(many)


def test_late_excess_is_no_option_at_the_old_price() -> None:
    """Under `hold` a payment that was complete in time cannot be topped up at its price afterwards."""
    paid = facts(
        output("a", 40_000, depth=9, booked=True),
        output("b", 4_000_000, depth=3, paid_at=TOO_LATE),
        promise=HOLD,
        credits_posted=400,
        ever_credited=True,
    )
    (deposit,) = transfers_due(paid, "u1", TIP)
    assert (deposit.kind, deposit.credits) == (TransferKind.DEPOSIT, 0)
