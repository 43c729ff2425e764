"""Reports: from the ledger's sums to what is shown."""

import csv
from decimal import Decimal
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.billing.making import ENTRIES, GONE, TALK, TODAY, entry, fill

from patina.billing.reports import lines, shape, words
from patina.billing.reports.bars import bar
from patina.billing.reports.collect import Report, collect
from patina.billing.reports.periods import Period, days_of, months_of, period
from patina.model.money import Entry, Sum
from patina.model.usage import Usage
from patina.ports.ledger import GroupBy
from patina.store.money.memory import MemoryLedger

NOVEMBER = Period("2026-11-01", TODAY)


async def report(over: Period = NOVEMBER, limit: int = 20, **only: str) -> Report:
    ledger = MemoryLedger()
    await fill(ledger)
    return await collect(ledger, over, TODAY, only, limit)


# M-19
@pytest.mark.anyio
async def test_the_figures() -> None:
    figures = (await report()).figures
    assert figures.spent == Decimal("2.25002")
    assert figures.requests == 7
    assert figures.tokens == 7 * 1200
    assert (figures.dearest, figures.dearest_cost) == ("openai/gpt-5.2", Decimal("2.00002"))
    assert (figures.unknown, figures.estimated) == (2, 2)


@pytest.mark.anyio
async def test_each_table_comes_to_the_same() -> None:
    found = await report()
    assert [table.by for table in found.tables] == [
        "model", "provider", "purpose", "conversation", "server",
    ]  # fmt: skip
    for table in found.tables:
        assert table.total.cost == sum(row.cost or 0 for row in table.rows) == Decimal("2.25002")
        assert table.total.requests == sum(row.requests for row in table.rows) == 7
        assert table.total.unknown == 2
        assert sum(row.share or 0 for row in table.rows) == pytest.approx(1)


@pytest.mark.anyio
async def test_what_has_no_price_is_unknown_and_never_nothing() -> None:
    (models, *_) = (await report()).tables
    costs = {row.key: row.cost for row in models.rows}
    assert costs["nobody/new"] is None
    assert costs["ollama/llama3.2"] == 0
    (row,) = [row for row in models.rows if row.key == "nobody/new"]
    assert row.share is None
    assert words.note(row) == "2 without a price, 1 estimated"
    assert words.dollars(row.cost) == "unknown"


@pytest.mark.anyio
async def test_where_nothing_has_a_price_the_sum_is_unknown() -> None:
    found = await report(model="nobody/new")
    assert found.figures.spent is None
    assert words.summary(found.figures).startswith("What was spent is unknown: 2 requests")
    assert found.tables[0].total.cost is None


def test_an_empty_time_is_nothing_spent() -> None:
    assert shape.figures((), ()) == shape.Figures()
    assert shape.table("day", ()) == shape.Table(by="day", total=shape.Row())
    assert words.summary(shape.Figures()) == "$0.00 in 0 requests with 0 tokens."


@pytest.mark.anyio
async def test_a_limit_keeps_the_money_of_what_it_leaves_out() -> None:
    table = (await report(limit=1)).tables[0]
    assert [row.key for row in table.rows] == ["openai/gpt-5.2"]
    assert table.rest is not None
    assert (table.left_out, table.rest.requests, table.rest.unknown) == (3, 4, 2)
    assert table.rest.cost == Decimal("0.25")
    assert words.rest_label(table) == "(3 others)"


def test_of_days_the_last_are_kept() -> None:
    days = [Sum(key=f"2026-11-0{n}", requests=1, cost=Decimal(n)) for n in range(1, 6)]
    table = shape.table("day", days, 2)
    assert [row.key for row in table.rows] == ["2026-11-04", "2026-11-05"]
    assert words.rest_label(table) == "(3 earlier)"
    assert table.total.cost == 15


# -- chart and forecast


@pytest.mark.anyio
async def test_the_chart_stacks_up_to_what_each_day_cost() -> None:
    chart = (await report()).chart
    assert (chart.points[0], chart.points[-1]) == ("2026-11-01", "2026-11-30")
    assert [series.name for series in chart.series] == [
        "openai/gpt-5.2",
        "anthropic/claude-sonnet-5",
    ]
    third = chart.points.index("2026-11-03")
    assert sum(series.values[third] for series in chart.series) == Decimal("1.25")
    assert chart.unknown[third] == 2
    assert not any(chart.planned[:10])
    assert chart.highest == Decimal("1.25")


@pytest.mark.anyio
async def test_models_beyond_the_colours_are_one_series() -> None:
    ledger = MemoryLedger()
    await fill(ledger, tuple(entry(TODAY, f"p/m{n}", str(n)) for n in range(1, 10)))
    found = (await collect(ledger, Period(TODAY, TODAY), TODAY, {}, 20)).chart
    assert [series.name for series in found.series] == [
        *(f"p/m{n}" for n in range(9, 3, -1)),
        shape.OTHERS,
    ]
    assert found.series[-1].values == (Decimal(6),)


@pytest.mark.anyio
async def test_a_long_time_has_a_bar_for_each_month() -> None:
    chart = (await report(Period("", TODAY))).chart
    assert chart.points == ("2026-10", "2026-11")
    assert chart.series[0].values == (Decimal("2.5"), Decimal("2.00002"))
    assert not any(chart.planned)


def test_the_forecast_is_the_mean_of_the_days_that_are_over() -> None:
    days = [
        Sum(key="2026-11-01", requests=1, cost=Decimal(6)),
        Sum(key="2026-11-04", requests=1, cost=Decimal(1)),
    ]
    found = shape.forecast(days, "2026-11-04")
    assert found is not None
    # 6 in three days is 2 a day: 1 more today, 26 days ahead.
    assert found.per_day == 2
    assert found.amount == 6 + 1 + 1 + 26 * 2
    assert found.until == "2026-11-30"
    chart = shape.chart(Period("2026-11-01", "2026-11-04"), days, {}, found)
    assert chart.planned[:4] == tuple(map(Decimal, (0, 0, 0, 1)))
    assert chart.planned[4:] == (Decimal(2),) * 26
    assert sum(chart.planned) + 7 == found.amount


@pytest.mark.parametrize("today", ["2026-11-01", "2026-12-04"])
def test_there_is_no_forecast_without_a_past(today: str) -> None:
    assert shape.forecast([Sum(key="2026-11-01", requests=1, cost=Decimal(6))], today) is None


@pytest.mark.anyio
async def test_there_is_no_forecast_of_a_time_that_is_over() -> None:
    assert (await report(Period("2026-10-01", "2026-10-31"))).figures.forecast is None
    assert (await report(Period("2026-11-05", TODAY))).figures.forecast is None


@pytest.mark.anyio
async def test_where_prices_come_from() -> None:
    first, second = (await report()).sources
    assert (first.source, first.first, first.last) == ("genai-prices", "2026-10-01", "2026-10-01")
    assert (first.requests, first.cost) == (4, Decimal("2.25002"))
    assert (second.source, second.requests, second.cost) == ("local", 1, Decimal(0))


# -- periods


@pytest.mark.parametrize(
    ("by", "since", "until", "expected"),
    [
        ("day", None, None, ("2026-11-01", TODAY)),
        ("month", None, None, ("2025-12-01", TODAY)),
        ("day", "2026-10-02", None, ("2026-10-02", TODAY)),
        ("day", None, "2026-10", ("", "2026-10-31")),
        ("day", "2024-02", "2024-02", ("2024-02-01", "2024-02-29")),
        ("day", "2025", "2025", ("2025-01-01", "2025-12-31")),
        ("day", "yesterday", "today", ("2026-11-10", TODAY)),
        ("day", "30d", None, ("2026-10-12", TODAY)),
        ("day", "all", None, ("", TODAY)),
    ],
)
def test_periods(
    by: GroupBy, since: str | None, until: str | None, expected: tuple[str, str]
) -> None:
    assert period(by, since, until, TODAY) == Period(*expected)


@pytest.mark.parametrize(
    "text", ["", " ", "2026-13", "2026-02-30", "0000-01-01", "999999d", "x", "20261101", "٢٠٢٦"]
)
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no day|ends"):
        period("day", text or "-", None, TODAY)
    with pytest.raises(ValueError, match="ends"):
        period("day", "2026-11-02", "2026-11-01", TODAY)


def test_days_and_months_have_no_gaps() -> None:
    assert days_of("2024-02-28", "2024-03-01") == ("2024-02-28", "2024-02-29", "2024-03-01")
    assert months_of("2025-11-30", "2026-02-01") == ("2025-11", "2025-12", "2026-01", "2026-02")


# -- words


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0", "$0.00"),
        ("0.00001", "<$0.0001"),
        ("0.01235", "$0.0124"),
        ("1", "$1.00"),
        ("1234.567", "$1,234.57"),
        ("1E-30", "<$0.0001"),
    ],
)
def test_dollars(amount: str, expected: str) -> None:
    assert words.dollars(Decimal(amount)) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0"), (999, "999"), (1_000, "1.0k"), (99_949, "99.9k"), (99_950, "100k"),
     (999_499, "999k"), (999_500, "1.0M"), (1_240_000_000, "1.2B"), (7 * 10**15, "7000T")],
)  # fmt: skip
def test_short_numbers(number: int, expected: str) -> None:
    assert words.short(number) == expected


@given(st.integers(0, 10**15))
def test_short_numbers_are_short(number: int) -> None:
    assert len(words.short(number)) <= 5


@given(st.decimals(0, 1000, places=4), st.decimals("0.0001", 1000, places=4), st.integers(1, 60))
def test_bars_fit_and_are_seen(part: Decimal, whole: Decimal, width: int) -> None:
    for ascii_only in (False, True):
        drawn = bar(part, whole, width, ascii_only=ascii_only)
        assert len(drawn) <= width
        assert bool(drawn) == (part > 0)
        assert drawn.isascii() or not ascii_only
        assert part < whole or len(drawn) == width


def test_titles_and_what_has_none() -> None:
    titles = {TALK: "A title"}
    assert words.label("conversation", TALK, titles) == "A title"
    assert words.label("conversation", GONE, titles) == "(deleted)"
    assert words.label("conversation", "", titles) == "(no conversation)"
    assert words.label("conversation", GONE, None) == GONE
    assert words.label("server", "", titles) == "(no server)"


# -- CSV


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text, newline="")))


def test_csv_has_every_field_of_an_entry() -> None:
    fields = {name for name in Entry.__struct_fields__ if name != "usage"}
    assert {field for field in lines.COLUMNS.values() if field} == fields
    assert {name for name, field in lines.COLUMNS.items() if not field} == set(
        Usage.__struct_fields__
    )


def test_csv_read_back_is_what_was_written() -> None:
    rows = read(lines.header() + lines.lines(ENTRIES))
    assert len(rows) == len(ENTRIES)
    for row, each in zip(rows, ENTRIES, strict=True):
        assert (row["id"], row["at"], row["day"]) == (each.id, each.at, each.day)
        assert (Decimal(row["cost"]) if row["cost"] else None) == each.cost
        assert int(row["input_tokens"]) == each.usage.input_tokens
        assert row["estimated"] == str(each.estimated).lower()
        assert row["session_id"] == each.conversation
        assert row["first_token_ms"] == ""


def test_csv_amounts_have_no_exponent() -> None:
    (row,) = read(lines.header() + lines.lines([entry(TODAY, "a/b", "1E-12")]))
    assert row["cost"] == "0.000000000001"


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\u200b=1",
        "\n=1",
        "\uff1d1+1",
        '=HYPERLINK("http://x")',
    ],
)
def test_csv_text_is_no_formula(name: str) -> None:
    (row,) = read(lines.header() + lines.lines([entry(TODAY, f"p/{name}", "1", server=name)]))
    assert row["model"].startswith("'")
    assert row["server"].startswith("'")
    assert row["model"].lstrip("'").strip() == name.strip("\t\r\n\u200b")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_csv_of_any_text_is_one_line(name: str) -> None:
    text = lines.header() + lines.lines([entry(TODAY, "p/m", "1", tier=name)])
    assert text.count("\n") == 2
    assert "\x1b" not in text
    (row,) = read(text)
    assert not row["tier"].startswith(("=", "+", "-", "@"))


def test_narrowing_is_as_the_ledger_does_it() -> None:
    only = {"model": "openai/gpt-5.2", "conversation": GONE}
    assert [each.day for each in ENTRIES if lines.matches(each, only)] == ["2026-11-03"]
