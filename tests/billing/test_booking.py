"""What is booked: the provider's word where that can be true, else an estimate that says so."""

from decimal import Decimal
from typing import Any

import pytest
from tests.flows.harness import priced

from patina.billing.booking import booked
from patina.billing.pricing import cost_of, worst_case
from patina.model.money import Tariff, Used, Wanted
from patina.model.usage import Usage

D = Decimal
TARIFF = priced("2", "10", factors={"batch": D("0.5")})
WANTED = Wanted(
    provider="near", model="one", purpose="chat", most_input=4_000, input=1_000, max_tokens=500
)
MOST = worst_case(4_000, 500, TARIFF)


def ended(**more: Any) -> Used:
    return Used(**{"outcome": "done", "output": 100, **more})


def test_usage_at_its_price_is_the_providers_word() -> None:
    found = booked(WANTED, TARIFF, MOST, ended(usage=Usage(1_200, 300)))
    assert (found.cost, found.estimated, found.source) == (D("0.0054"), False, "test")
    assert found.usage == Usage(1_200, 300)


def test_what_the_provider_says_it_costs_goes_before_all() -> None:
    found = booked(WANTED, TARIFF, MOST, ended(usage=Usage(1_200, 300), billed=D("0.0049")))
    assert (found.cost, found.estimated, found.source) == (D("0.0049"), False, "near")
    unpriced = booked(WANTED, Tariff(), None, ended(usage=Usage(1_200, 300), billed=D("0.0049")))
    assert unpriced.cost == D("0.0049")


@pytest.mark.parametrize("billed", ["-1", "NaN", "Infinity", "1000000"])
def test_a_bill_that_cannot_be_is_left_aside(billed: str) -> None:
    found = booked(WANTED, TARIFF, MOST, ended(usage=Usage(1_200, 300), billed=D(billed)))
    assert found.cost == D("0.0054")


@pytest.mark.parametrize(
    "usage",
    [
        None,
        Usage(),
        Usage(-5, 10),
        Usage(1_000, -3),
        Usage(1_000, 100, cache_read_tokens=2_000),
        Usage(1_000, 100, cache_read_tokens=-1),
        Usage(1_000, 100, cache_read_tokens=600, cache_write_tokens=600),
    ],
)
def test_missing_and_impossible_usage_is_estimated(usage: Usage | None) -> None:
    found = booked(WANTED, TARIFF, MOST, ended(usage=usage))
    assert found.estimated
    assert found.usage == Usage(1_000, 100)
    assert found.cost == cost_of(Usage(1_000, 100), TARIFF)


@pytest.mark.parametrize("usage", [Usage(18_001, 100), Usage(1_000, 1_401), Usage(10**15, 10**15)])
def test_absurd_usage_is_booked_at_the_worst_case(usage: Usage) -> None:
    found = booked(WANTED, TARIFF, MOST, ended(usage=usage))
    assert (found.cost, found.estimated) == (MOST, True)


def test_an_endpoint_that_ignores_the_bound_is_believed_where_so_much_came() -> None:
    found = booked(WANTED, TARIFF, MOST, ended(usage=Usage(1_000, 5_000), output=4_800))
    assert (found.cost, found.estimated) == (D("0.052"), False)


def test_what_came_counts_where_the_provider_was_cut_off() -> None:
    used = ended(outcome="cut", usage=Usage(1_200, 1), output=80)
    found = booked(WANTED, TARIFF, MOST, used)
    assert (found.usage, found.estimated) == (Usage(1_200, 80), True)


def test_what_never_left_costs_nothing_and_unknown_is_not_nothing() -> None:
    assert booked(WANTED, TARIFF, MOST, Used(outcome="void", sent=False)).cost == 0
    assert booked(WANTED, TARIFF, MOST, Used(outcome="failed", sent=False)).cost == 0
    found = booked(WANTED, Tariff(), None, ended(usage=Usage(1_200, 300)))
    assert (found.cost, found.usage) == (None, Usage(1_200, 300))


def test_tiers() -> None:
    half = booked(WANTED, TARIFF, MOST, ended(usage=Usage(1_200, 300), tier="batch"))
    assert (half.cost, half.estimated) == (D("0.0027"), False)
    other = booked(WANTED, TARIFF, MOST, ended(usage=Usage(1_200, 300), tier="golden"))
    assert (other.cost, other.estimated) == (D("0.0054"), True)


def test_local_models_cost_nothing() -> None:
    found = booked(WANTED, Tariff(local=True, source="local"), D(0), ended(usage=Usage(900, 90)))
    assert (found.cost, found.estimated, found.source) == (D(0), False, "local")


@pytest.mark.parametrize("usage", [Usage(1_000, 0), Usage(1_000, 5), Usage(1, 100)])
def test_far_less_than_what_went_and_came_is_not_believed(usage: Usage) -> None:
    found = booked(WANTED, TARIFF, MOST, ended(usage=usage))
    assert (found.usage, found.estimated) == (Usage(1_000, 100), True)


def test_a_little_less_than_our_estimate_is_the_providers_word() -> None:
    found = booked(WANTED, TARIFF, MOST, ended(usage=Usage(60, 7)))
    assert (found.usage, found.estimated) == (Usage(60, 7), False)
