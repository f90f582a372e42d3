"""Which coins travel, together with which, and at what price."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.coin import Coin
from payments.forward import DUST_SAT, ForwardRules, fee_for
from payments.model import OutPoint
from payments.sweep_plan import Plan, plan

RULES = ForwardRules(max_feerate=Decimal(50), target_blocks=6, min_sat=1_000, max_fee_share=Decimal(5))
HOUR = 3_600_000
NOW = 100 * HOUR


def vsize_of(inputs: int) -> int:
    """Eleven bytes and an output of 31; 68 for each input of P2WPKH."""
    return 42 + 68 * inputs


def coin(number: int, value_sat: int, waited: int = 0) -> Coin:
    return Coin(OutPoint(f"{number:064x}", 0), value_sat, number, b"", f"p{number}", number, NOW - waited)


def decide(*coins: Coin, feerate: str | None = "2", rules: ForwardRules = RULES, at_once: bool = False) -> Plan:
    return plan(coins, None if feerate is None else Decimal(feerate), rules, vsize_of, NOW, at_once=at_once)


def fees(made: Plan) -> list[int]:
    return [batch.fee_sat for batch in made.batches]


def reasons(made: Plan) -> list[str]:
    return [entry.reason for entry in made.held]


@pytest.mark.parametrize(
    "value, feerate, fee, words",
    [
        pytest.param(40_000, "2", 220, "", id="usual"),
        pytest.param(40_000, "1.001", 111, "", id="rounded up"),
        pytest.param(40_000, "0.1", 11, "", id="below one"),
        pytest.param(999, "0.5", 0, "forwarding.min_sat = 1000", id="too little"),
        pytest.param(1_000, "4.13", 0, "forwarding.max_fee_share = 5 %", id="too dear for it"),
        pytest.param(40_000, "50.1", 0, "forwarding.max_feerate = 50", id="above the cap"),
        pytest.param(4_400, "2", 220, "", id="just the share"),
        pytest.param(4_399, "2", 0, "forwarding.max_fee_share", id="one satoshi less"),
    ],
)
def test_what_is_worth_sending(value: int, feerate: str, fee: int, words: str) -> None:
    made = decide(coin(1, value), feerate=feerate)
    assert fees(made) == ([fee] if fee else [])
    assert all(words in reason for reason in reasons(made))
    assert len(made.held) == (0 if fee else 1)


def test_without_an_estimate_nothing_goes() -> None:
    made = decide(coin(1, 40_000), coin(2, 10**9), feerate=None)
    assert reasons(made) == ["the node has no fee estimate yet"] * 2


def test_what_is_due_goes_together_oldest_first() -> None:
    made = decide(coin(1, 40_000), coin(2, 30_000, waited=5), coin(3, 20_000, waited=9))
    (batch,) = made.batches
    assert [c.payment_id for c in batch.coins] == ["p3", "p2", "p1"]
    assert (batch.value_sat, batch.fee_sat) == (90_000, fee_for(vsize_of(3), Decimal(2)))


def test_a_full_batch_is_followed_by_another() -> None:
    made = decide(*(coin(n, 40_000, waited=9 - n) for n in range(5)), rules=replace(RULES, batch_max_inputs=2))
    assert [[c.payment_number for c in batch.coins] for batch in made.batches] == [[0, 1], [2, 3], [4]]


def test_a_coin_waits_for_company_until_its_window_is_over() -> None:
    rules = replace(RULES, batch_window_ms=HOUR, batch_max_inputs=3)
    young = [coin(1, 40_000, waited=HOUR - 1), coin(2, 40_000)]
    made = decide(*young, rules=rules)
    assert made.batches == ()
    assert "forwarding.batch_window_minutes = 60" in reasons(made)[0]
    assert len(decide(*young, rules=rules, at_once=True).batches[0].coins) == 2, "the operator does not wait"
    assert len(decide(coin(1, 40_000, waited=HOUR), coin(2, 40_000), rules=rules).batches[0].coins) == 2
    assert len(decide(*young, coin(3, 40_000), rules=rules).batches[0].coins) == 3, "it is full"


def test_a_coin_that_does_not_pay_for_its_input_stays_and_goes_when_it_is_cheap() -> None:
    dust, small, good = coin(1, 600), coin(2, 2_500), coin(3, 100_000)
    dear = decide(dust, small, good, feerate="10")
    assert [c.payment_number for c in dear.batches[0].coins] == [3]
    assert "would not pay for an input of 680 sat (dust)" in reasons(dear)[0]
    assert "cost 680 of its 2500 sat" in reasons(dear)[1]
    cheap = decide(dust, small, good, feerate="0.4")
    assert len(cheap.batches[0].coins) == 3


def test_after_the_deadline_the_share_does_not_count_but_the_cap_does() -> None:
    old = coin(1, 10_000, waited=RULES.deadline_ms)
    assert fees(decide(replace(old, since=old.since + 1), feerate="20")) == []
    assert fees(decide(old, feerate="20")) == [2_200]
    assert fees(decide(old, feerate="50")) == [5_500]
    assert fees(decide(old, feerate="51")) == []
    assert "dust" in reasons(decide(coin(2, 1_000, waited=RULES.deadline_ms), feerate="7"))[0]


def test_the_hot_balance_stays() -> None:
    rules = replace(RULES, hold_sat=50_000)
    made = decide(coin(1, 40_000, waited=3), coin(2, 30_000, waited=2), coin(3, 20_000, waited=1), rules=rules)
    assert [c.payment_number for c in made.batches[0].coins] == [1]
    assert [(entry.coin.payment_number, entry.kept) for entry in made.held] == [(2, True), (3, True)]
    assert decide(coin(1, 49_999), rules=rules).batches == ()
    assert decide(coin(1, 50_000), coin(2, 50_000), rules=replace(rules, hold_sat=0)).held == ()


COINS = st.lists(st.tuples(st.integers(1, 200_000), st.integers(0, 100 * HOUR)), max_size=30)


@given(
    COINS,
    st.decimals("0.1", 60, places=2),
    st.decimals("0.1", 20, places=1),
    st.integers(1, 8),
    st.integers(0, 300_000),
    st.integers(0, 50 * HOUR),
)
def test_no_coin_is_lost_and_no_limit_exceeded(
    given_coins: list[tuple[int, int]], feerate: Decimal, share: Decimal, most: int, hold: int, window: int
) -> None:
    rules = replace(
        RULES, max_fee_share=share, batch_max_inputs=most, hold_sat=hold, batch_window_ms=window, deadline_ms=60 * HOUR
    )
    coins = [coin(number, value, waited) for number, (value, waited) in enumerate(given_coins)]
    made = plan(coins, feerate, rules, vsize_of, NOW)
    going = [c for batch in made.batches for c in batch.coins]
    staying = [entry.coin for entry in made.held]
    assert sorted(going + staying, key=lambda c: c.payment_number) == coins
    assert not going or sum(c.value_sat for c in staying) >= hold
    assert all(entry.reason for entry in made.held)
    for batch in made.batches:
        assert 1 <= len(batch.coins) <= most
        assert batch.fee_sat == fee_for(vsize_of(len(batch.coins)), feerate)
        assert feerate <= rules.max_feerate
        assert batch.value_sat - batch.fee_sat >= DUST_SAT
        assert batch.value_sat >= rules.min_sat
        if not any(NOW - c.since >= rules.deadline_ms for c in batch.coins):
            assert batch.fee_sat * 100 <= share * batch.value_sat
