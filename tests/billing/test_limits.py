"""Limits: which ones a request is under, and what is said where one stops it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.billing.limits import (
    all_limits,
    limit_words,
    limits_of,
    period_of,
    raise_hint,
    raised,
    refusal,
)
from patina.model.money import Limit, LimitKind, Standing, Wanted
from patina.model.settings import BillingSettings

D = Decimal
ALL = BillingSettings(
    request_limit="0.10",
    turn_limit="0.50",
    conversation_limit="2",
    daily_limit="5.00",
    monthly_limit="50.00",
    per_model_limits={"openai/gpt-5.2": "10", "gpt-4": "1"},
    per_provider_limits={"openai": "20"},
)


def wanted(**more: Any) -> Wanted:
    known: dict[str, Any] = {
        "provider": "openai",
        "model": "gpt-5.2",
        "purpose": "chat",
        "most_input": 100,
        "input": 50,
        "max_tokens": 100,
        "conversation": "c",
        "turn": "t",
    }
    return Wanted(**known | more)


def limit(kind: LimitKind = "day", amount: str = "5.00", name: str = "") -> Limit:
    return Limit(kind=kind, amount=D(amount), name=name)


def test_a_request_is_under_all_that_cover_it_the_narrowest_first() -> None:  # M-15, M-20
    found = [(one.kind, one.name) for one in limits_of(wanted(budget=D(1), run="r"), ALL)]
    assert found == [
        ("request", ""),
        ("turn", "t"),
        ("budget", "r"),
        ("conversation", "c"),
        ("model", "openai/gpt-5.2"),
        ("provider", "openai"),
        ("day", ""),
        ("month", ""),
    ]
    others = limits_of(wanted(provider="near", model="one", conversation="", turn=""), ALL)
    assert [one.kind for one in others] == ["request", "day", "month"]
    assert limits_of(wanted(), BillingSettings()) == ()


def test_a_model_may_be_named_without_its_provider() -> None:
    found = limits_of(wanted(model="gpt-4"), ALL)
    assert ("model", "gpt-4") in [(one.kind, one.name) for one in found]


def test_a_budget_without_a_run_is_that_of_the_turn() -> None:
    found = limits_of(wanted(budget=D(1)), BillingSettings())
    assert found == (limit("budget", "1", "t"),)


def test_what_can_be_looked_at_without_a_request() -> None:
    assert [one.kind for one in all_limits(ALL, "c")] == [
        *("day", "month", "provider", "model", "model", "conversation")
    ]
    assert "conversation" not in [one.kind for one in all_limits(ALL)]


@pytest.mark.parametrize(
    ("kind", "period"),
    [("day", "2026-11-22"), ("month", "2026-11"), ("model", "2026-11"), ("turn", "")],
)
def test_periods(kind: LimitKind, period: str) -> None:
    assert period_of(limit(kind), "2026-11-22") == period


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("day", "", "the daily limit of $5.00"),
        ("month", "", "the monthly limit of $5.00"),
        ("turn", "t", "the limit per turn of $5.00"),
        ("model", "a/b", "the monthly limit of $5.00 for a/b"),
        ("budget", "r", "the budget of $5.00 for this run"),
    ],
)
def test_limits_in_words(kind: LimitKind, name: str, words: str) -> None:
    assert limit_words(limit(kind, name=name)) == words


def test_a_refusal_names_the_limit_what_is_spent_what_is_held_and_what_is_needed() -> None:
    standing = Standing(limit=limit(), spent=D("4.50"), held=D("0.30"))
    message, hint = refusal(standing, D("0.39"))
    assert message == (
        "This request may cost $0.39, and the daily limit of $5.00 has $0.20 left: $4.50 is "
        "spent, $0.30 held for requests that are under way. It was not sent."
    )
    assert hint == "Raise it: patina limits set daily 6"


def test_a_refusal_of_one_request_alone() -> None:
    message, hint = refusal(Standing(limit=limit("request", "0.10")), D("0.39"))
    assert message == (
        "This request may cost $0.39, more than the limit per request of $0.10. It was not sent."
    )
    assert hint == "Raise it: patina limits set request 0.4"


def test_what_nobody_knows_is_said() -> None:
    standing = Standing(limit=limit(), spent=D(5), unknown=3)
    message, _ = refusal(standing, None)
    assert message.startswith("The daily limit of $5.00 is used up: $5.00 is spent, and 3 requests")
    one, _ = refusal(Standing(limit=limit(), spent=D(5), unknown=1), None)
    assert "and 1 request cost nobody knows what" in one


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("month", "", "Raise it: patina limits set monthly 6"),
        ("conversation", "c", "Raise it: patina limits set conversation 6"),
        ("model", "a/b:free", "Raise it: patina limits set model:a/b:free 6"),
        ("model", "a/$(x) y", "Raise it: patina limits set 'model:a/$(x) y' 6"),
        ("provider", "a", "Raise it: patina limits set provider:a 6"),
        ("budget", "r", "Give the run more: --budget 6"),
    ],
)
def test_the_raise_can_be_run(kind: LimitKind, name: str, hint: str) -> None:
    assert raise_hint(Standing(limit=limit(kind, name=name), spent=D(5)), D("0.19")) == hint


@pytest.mark.parametrize(
    ("amount", "spent", "needed", "to"),
    [
        *[("5", "5", "0.19", "6"), ("0.05", "0.05", "0.002", "0.06"), ("12", "12", "0.30", "13")],
        *[("100", "100", "23", "130"), ("1", "0", "0.5", "2"), ("0", "0", "0.00001", "0.01")],
    ],
)
def test_raises_are_round(amount: str, spent: str, needed: str, to: str) -> None:
    standing = Standing(limit=limit(amount=amount), spent=D(spent))
    assert raised(standing, D(needed)) == D(to)


amounts = st.decimals(0, 100_000, places=6, allow_nan=False)


@given(amounts, amounts, amounts, amounts)
def test_after_the_raise_the_request_passes(
    amount: Decimal, spent: Decimal, held: Decimal, needed: Decimal
) -> None:
    standing = Standing(limit=Limit(kind="day", amount=amount), spent=spent, held=held)
    to = raised(standing, needed)
    assert to > amount
    assert spent + held + needed <= to
    assert to <= max((spent + held + needed) * 2, amount * 2, D("0.03"))
