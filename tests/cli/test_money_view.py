"""Money in words: what every front end shows (M-12, M-19, M-20)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.model.money import Limit, LimitKind, Quote, Standing, Step, Sum, Tariff
from patina.model.usage import Cost
from patina.views import money

PRICED = Tariff(input=(Step(0, Decimal(1)),), output=(Step(0, Decimal(2)),))
LOCAL = Tariff(local=True)
AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=9)


def d(text: str) -> Decimal:
    return Decimal(text)


def standing(kind: LimitKind = "day", spent: str = "4.1", held: str = "0") -> Standing:
    return Standing(limit=Limit(kind=kind, amount=d("5.00")), spent=d(spent), held=d(held))


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "unknown"),
        (d("0"), "$0.00"),
        (d("0.000000000001"), "less than $0.01"),
        (d("0.0099999"), "less than $0.01"),
        (d("0.01"), "$0.01"),
        (d("0.015"), "$0.02"),
        (d("1234.565"), "$1,234.57"),
    ],
)
def test_amounts(amount: Decimal | None, text: str) -> None:
    assert money.amount_text(amount) == text
    about = f"about {text}" if text.startswith("$") else text
    assert money.about_text(amount) == about


def test_what_is_local_costs_nothing_and_what_is_unknown_never_does() -> None:
    assert money.amount_text(d("0"), local=True) == "$0.00 (local)"
    assert money.about_text(d("0"), local=True) == "$0.00 (local)"
    assert money.fine_text(d("0"), local=True) == "$0.00 (local)"
    for words in (money.amount_text, money.about_text, money.fine_text):
        assert words(None, local=True) == "unknown"
    assert money.most_text(None) == "unknown"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("5", "$5.00"),
        ("5.00", "$5.00"),
        ("0.0025", "$0.0025"),
        ("1E+3", "$1,000.00"),
        ("0", "$0.00"),
    ],
)
def test_limits_keep_what_they_have_below_a_cent(amount: str, text: str) -> None:
    assert money.exact_text(d(amount)) == text


def test_amounts_that_are_compared_have_two_figures() -> None:
    assert money.fine_text(d("0.00125")) == "$0.0013"
    assert money.fine_text(d("0.000000123456")) == "$0.00000012"
    assert money.fine_text(d("0.0125")) == "$0.01"
    assert money.fine_text(d("0")) == "$0.00"


@given(AMOUNTS)
def test_a_bound_is_never_shown_too_low(amount: Decimal) -> None:
    shown = d(money.most_text(amount).removeprefix("at most $").replace(",", ""))
    assert amount <= shown < amount + money.CENT


@given(AMOUNTS)
def test_only_nothing_is_shown_as_nothing(amount: Decimal) -> None:
    for words in (money.amount_text, money.fine_text):
        assert (words(amount) == "$0.00") is (amount == 0)


def test_the_cost_of_an_answer() -> None:
    assert money.cost_text(None) == "unknown"
    assert money.cost_text(Cost(d("0.0212"), "genai-prices")) == "$0.02"
    assert money.cost_text(Cost(d("0.0212"), "genai-prices", estimated=True)) == "about $0.02"
    assert money.cost_text(Cost(d("0.002"), "config", estimated=True)) == "less than $0.01"
    assert money.cost_text(Cost(d("0"), "local")) == "$0.00 (local)"
    assert money.cost_text(Cost(d("0"), "PROVIDER")) == "$0.00"


@pytest.mark.parametrize(
    ("total", "text"),
    [
        (Sum(key="", requests=3, cost=d("1.23")), "$1.23"),
        (Sum(key="", requests=3, cost=d("1.23"), estimated=1), "about $1.23"),
        (Sum(key="", requests=5, cost=d("1.23"), unknown=2), "$1.23 + 2 requests without a price"),
        (Sum(key="", requests=1, unknown=1), "1 request without a price"),
        (Sum(key="", requests=2, unknown=1), "$0.00 + 1 request without a price"),
        (Sum(key="", requests=2), "$0.00"),
    ],
)
def test_sums(total: Sum, text: str) -> None:
    assert money.sum_text(total) == text


def test_totals_say_how_many_requests_there_were() -> None:
    one = Sum(key="", requests=1, cost=d("0.5"))
    lines = money.totals([("this conversation", one), ("today", None), ("month", Sum(key=""))])
    assert lines == [
        "this conversation: $0.50 (1 request)",
        "today: no requests",
        "month: no requests",
    ]


def test_the_quote_before_sending() -> None:
    quote = Quote(likely=d("0.0184"), most=d("0.1021"), input=4120, max_tokens=8192, tariff=PRICED)
    assert (
        money.quote_text(quote) == "about $0.02, at most $0.11 (4,120 tokens in, up to 8,192 out)"
    )
    small = Quote(likely=d("0.001"), most=d("0.002"), input=1, max_tokens=1, tariff=PRICED)
    assert money.quote_text(small) == "less than $0.01, at most $0.01 (1 token in, up to 1 out)"
    unknown = Quote(input=4120, max_tokens=8192)
    assert money.quote_text(unknown) == "price unknown (4,120 tokens in, up to 8,192 out)"
    local = Quote(likely=d("0"), most=d("0"), input=4120, max_tokens=8192, tariff=LOCAL)
    assert money.quote_text(local) == "$0.00 (local), 4,120 tokens in, up to 8,192 out"


def test_only_dear_messages_are_quoted_unasked() -> None:
    assert money.is_dear(Quote(likely=d("0.10"), most=d("1")))
    assert not money.is_dear(Quote(likely=d("0.0999"), most=d("1")))
    assert not money.is_dear(Quote())


def test_the_running_cost() -> None:
    cost = Cost(d("0.0312"), "genai-prices", estimated=True)
    assert money.running_text(cost) == "about $0.03 so far"
    less = Cost(d("0.0001"), "genai-prices", estimated=True)
    assert money.running_text(less) == "less than $0.01 so far"


def test_the_context_meter() -> None:
    meter = money.context_meter(12_300, 128_000)
    assert (meter.text, meter.bar) == ("12,300 of 128,000 tokens (9%)", "█░░░░░░░░░")
    over = money.context_meter(200, 100)
    assert (over.text, over.bar, over.share) == ("200 of 100 tokens (200%)", "█" * 10, 1.0)
    unknown = money.context_meter(12_300, None)
    assert unknown.text == "12,300 tokens; how many the model takes is not known"
    assert (unknown.bar, unknown.share) == ("", None)


def test_the_bar_is_full_only_at_all() -> None:
    assert money.bar(0) == "░" * 10
    assert money.bar(0.0001) == "█" + "░" * 9
    assert money.bar(0.999) == "█" * 9 + "░"
    assert money.bar(1) == "█" * 10


def test_what_a_server_costs_with_each_request() -> None:
    cost = money.ServerCost(
        server="files",
        schemas=1204,
        results=310,
        schemas_cost=d("0.001505"),
        results_cost=d("0.0003875"),
    )
    assert money.server_text(cost) == (
        "files: tools 1,204 tokens ($0.0015), results 310 tokens ($0.00039) with every request"
    )
    local = money.ServerCost(server="db", schemas=12, schemas_cost=d("0"), local=True)
    assert money.server_text(local) == "db: tools 12 tokens ($0.00 (local)) with every request"
    unknown = money.ServerCost(server="db", results=1)
    assert money.server_text(unknown) == "db: results 1 token (unknown) with every request"
    assert money.server_text(money.ServerCost(server="db")) == "db: nothing with every request"


def test_what_the_next_message_would_cost_with_each_model() -> None:  # M-12
    def quote(likely: str, most: str) -> Quote:
        return Quote(likely=d(likely), most=d(most), tariff=PRICED)

    found = money.model_costs(
        [
            ("a/unknown", Quote()),
            ("b/dear", quote("0.51", "1.201")),
            ("c/cheap", quote("0.00124", "0.00891")),
            ("d/here", Quote(likely=d("0"), most=d("0"), tariff=LOCAL)),
        ]
    )
    assert [(one.model, one.text) for one in found] == [
        ("d/here", "$0.00 (local)"),
        ("c/cheap", "about $0.0012, at most $0.009"),
        ("b/dear", "about $0.51, at most $1.21"),
        ("a/unknown", "price unknown"),
    ]


def test_how_far_a_limit_is_used() -> None:
    view = money.limit_view(standing())
    assert view.text == "daily limit: $4.10 of $5.00 (82%)"
    assert (view.state, view.bar) == ("warning", "████████░░")
    held = money.limit_view(standing(spent="1", held="0.5"))
    assert held.text == "daily limit: $1.00 of $5.00, $0.50 reserved (30%)"
    assert held.state == "ok"
    reached = money.limit_view(standing("month", "5.00"))
    assert (reached.text, reached.state) == ("monthly limit: $5.00 of $5.00 (100%)", "reached")
    none = Standing(limit=Limit(kind="day", amount=d("0")), unknown=2)
    text = "daily limit: $0.00 of $0.00 (100%) + 2 requests without a price"
    assert money.limit_view(none).text == text
    assert money.limit_view(standing(spent="4.1"), warn_at=0.9).state == "ok"


@pytest.mark.parametrize(
    ("kind", "name", "called", "word"),
    [
        ("request", "", "limit of one request", "request"),
        ("turn", "01", "limit of one message", "turn"),
        ("conversation", "01", "limit of a conversation", "conversation"),
        ("day", "", "daily limit", "daily"),
        ("month", "", "monthly limit", "monthly"),
        ("model", "a/b", "monthly limit of a/b", "model:a/b"),
        ("provider", "a", "monthly limit of a", "provider:a"),
        ("budget", "01", "budget of this run", ""),
    ],
)
def test_the_names_of_limits(kind: LimitKind, name: str, called: str, word: str) -> None:
    limit = Limit(kind=kind, name=name, amount=d("1"))
    assert (money.limit_name(limit), money.limit_word(limit)) == (called, word)


def test_the_offer_to_raise() -> None:
    for word, amount, text in (
        ("daily", "6", "Raise the daily limit to $6.00 and send again"),
        ("conversation", "0.06", "Raise the limit of a conversation to $0.06 and send again"),
        ("model:a/b", "6", "Raise the monthly limit of a/b to $6.00 and send again"),
    ):
        assert money.raise_text(word, amount) == text
