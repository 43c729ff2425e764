"""Tokens times prices: exact, never less for more, and never more than what was said before."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.billing.pricing import cost_of, knows_tier, worst_case
from patina.model.money import Step, Tariff
from patina.model.usage import Usage

COUNTS = st.integers(0, 2_000_000)
AMOUNTS = st.decimals(0, 1000, places=6)


@st.composite
def steps(draw: st.DrawFn, *, least: int = 0) -> tuple[Step, ...]:
    """Prices that do not fall as requests grow: such is what providers publish."""
    count = draw(st.integers(least, 3))
    places = sorted(draw(st.sets(st.integers(1, 1_500_000), min_size=2, max_size=2)))
    prices = sorted(draw(st.lists(AMOUNTS, min_size=count, max_size=count)))
    return tuple(map(Step, [0, *places], prices))


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    return Tariff(
        input=draw(steps(least=1)),
        output=draw(steps(least=1)),
        cache_read=draw(steps()),
        cache_write=draw(steps()),
        per_request=draw(AMOUNTS),
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    sent = draw(COUNTS)
    read = draw(st.integers(0, sent))
    return Usage(sent, draw(COUNTS), read, draw(st.integers(0, sent - read)))


def cost(usage: Usage, tariff: Tariff) -> Decimal:
    amount = cost_of(usage, tariff)
    assert amount is not None
    return amount


@given(usages(), tariffs(), COUNTS, COUNTS)
def test_what_was_said_before_is_never_passed(  # M-20
    usage: Usage, tariff: Tariff, more_input: int, more_output: int
) -> None:
    most = worst_case(usage.input_tokens + more_input, usage.output_tokens + more_output, tariff)
    assert most is not None
    assert most >= cost(usage, tariff)


@given(usages(), tariffs(), COUNTS, COUNTS)
def test_more_tokens_never_cost_less(
    usage: Usage, tariff: Tariff, more_input: int, more_output: int
) -> None:
    more = Usage(
        usage.input_tokens + more_input,
        usage.output_tokens + more_output,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
    )
    assert cost(more, tariff) >= cost(usage, tariff)
    one = worst_case(usage.input_tokens, usage.output_tokens, tariff)
    other = worst_case(more.input_tokens, more.output_tokens, tariff)
    assert one is not None
    assert other is not None
    assert other >= one


@given(st.lists(usages(), max_size=20), tariffs())
def test_sums_are_exact(many: list[Usage], tariff: Tariff) -> None:  # M-14
    """No digit is lost: what all cost is the sum of what each costs, in any order."""
    costs = [cost(usage, tariff) for usage in many]
    assert sum(costs, Decimal(0)) == sum(reversed(costs), Decimal(0))
    assert all(Decimal(str(amount)) == amount for amount in costs)


FLAT = Tariff(
    input=(Step(0, Decimal(2)),),
    output=(Step(0, Decimal(8)),),
    factors={"batch": Decimal("0.5")},
    services={
        "priority": Tariff(input=(Step(0, Decimal(4)),), output=(Step(0, Decimal(10)),)),
    },
)


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        (Usage(1_000_000, 0), "2"),
        (Usage(0, 1_000_000), "8"),
        (Usage(1, 1), "0.00001"),
        # What is cached costs what other input does where nobody says more.
        (Usage(1_000_000, 0, 600_000, 400_000), "2"),
        # Counts that cannot be are taken as far as they can.
        (Usage(-5, -5, -5, -5), "0"),
        (Usage(100, 0, 500, 500), "0.0002"),
    ],
)
def test_costs(usage: Usage, amount: str) -> None:
    assert cost_of(usage, FLAT) == Decimal(amount)


@pytest.mark.parametrize(
    ("sent", "price"), [(0, 1), (1, 1), (200_000, 1), (200_001, 3), (900_000, 3), (900_001, 5)]
)
def test_a_step_counts_for_all_tokens_of_a_request(sent: int, price: int) -> None:
    places = (Step(0, Decimal(1)), Step(200_000, Decimal(3)), Step(900_000, Decimal(5)))
    tariff = Tariff(input=places, output=places)
    assert cost_of(Usage(sent, 1_000_000), tariff) == price + price * Decimal(sent) / 1_000_000


@pytest.mark.parametrize(
    ("tier", "amount", "known"),
    [("", 10, True), ("batch", 5, True), ("priority", 14, True), ("scale", 10, False)],
)
def test_services_have_prices_of_their_own(tier: str, amount: int, known: bool) -> None:
    assert cost_of(Usage(1_000_000, 1_000_000), FLAT, tier) == amount
    assert knows_tier(FLAT, tier) == known


def test_what_nobody_knows_is_never_nothing() -> None:
    for tariff in (Tariff(), Tariff(input=FLAT.input), Tariff(output=FLAT.output)):
        assert cost_of(Usage(1, 1), tariff) is None
        assert worst_case(1, 1, tariff) is None
    free = Tariff(local=True)
    assert cost_of(Usage(9, 9), free) == 0
    assert worst_case(9, 9, free) == 0
    assert knows_tier(free, "anything")


def test_writing_a_cache_may_be_the_dearest() -> None:
    tariff = Tariff(
        input=(Step(0, Decimal(3)),),
        output=(Step(0, Decimal(15)),),
        cache_write=(Step(0, Decimal("3.75")),),
        per_request=Decimal("0.01"),
    )
    assert worst_case(1_000_000, 1000, tariff) == Decimal("3.775")
