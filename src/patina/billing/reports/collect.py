"""Asks the ledger for what a whole report shows."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from patina.billing.reports import shape
from patina.billing.reports.periods import Period, month_end
from patina.billing.reports.shape import Chart, Figures, Forecast, Table
from patina.model.money import Sum
from patina.ports.ledger import GroupBy, Ledger

# What a report has a table of, in this order.
TABLES: Final[tuple[GroupBy, ...]] = ("model", "provider", "purpose", "conversation", "server")
_DATED: Final = re.compile(r"(.*?) ?(\d{4}-\d{2}-\d{2})", re.ASCII | re.DOTALL)


class PriceSource(Struct, frozen=True, kw_only=True):
    """Whose prices were used: how many requests, of which days the prices are, what came of it."""

    source: str
    first: str
    last: str
    requests: int
    cost: Decimal


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a report shows. `titles` are those of the conversations that there are;
    None where nobody could tell.
    """

    period: Period
    only: Mapping[str, str] = {}
    figures: Figures = Figures()
    chart: Chart = Chart()
    tables: tuple[Table, ...] = ()
    sources: tuple[PriceSource, ...] = ()
    titles: Mapping[str, str] | None = None


async def collect(
    ledger: Ledger, over: Period, today: str, only: Mapping[str, str], limit: int
) -> Report:
    """Return the report of a period, without titles. Each table has at most `limit` rows."""
    step = shape.step_of(over)
    totals = await ledger.sums(step, over.since, over.until, **only)
    models = await ledger.sums("model", over.since, over.until, **only)
    shown: dict[str, Sequence[Sum]] = {}
    for each in models[: shape.SERIES]:
        if each.cost:
            narrowed = {**only, "model": each.key}
            shown[each.key] = await ledger.sums(step, over.since, over.until, **narrowed)
    foreseen = await foresee(ledger, over, today, only)
    tables = []
    for by in TABLES:
        found = shape.top_table(by, await ledger.top(by, limit, over.since, over.until, **only))
        # Most requests are for no server, and most people have none that asks.
        if by != "server" or found.left_out or any(row.key for row in found.rows):
            tables.append(found)
    sources = await ledger.sums("source", over.since, over.until, **only)
    return Report(
        period=over,
        only=only,
        figures=shape.figures(totals, models, foreseen),
        chart=shape.chart(over, totals, shown, foreseen),
        tables=tuple(tables),
        sources=sources_of(sources),
    )


async def foresee(
    ledger: Ledger, over: Period, today: str, only: Mapping[str, str]
) -> Forecast | None:
    """Return the forecast of this month, where the period has `today` and the month's past."""
    first = f"{today[:7]}-01"
    if not over.has(today) or over.since > first or over.until > month_end(today):
        return None
    return shape.forecast(await ledger.sums("day", first, today, **only), today)


def sources_of(sums: Sequence[Sum]) -> tuple[PriceSource, ...]:
    """Return sums by source as the sources, the one with most requests first.

    What has no price has no source either.
    """
    merged: dict[str, PriceSource] = {}
    for each in sorted(sums, key=lambda one: one.key):
        priced = each.requests - each.unknown
        if not priced:
            continue
        dated = _DATED.fullmatch(each.key)
        source, day = (dated[1], dated[2]) if dated else (each.key, "")
        known = merged.get(source)
        merged[source] = PriceSource(
            source=source,
            first=(known.first if known else "") or day,
            last=day,
            requests=priced + (known.requests if known else 0),
            cost=each.cost + (known.cost if known else 0),
        )
    return tuple(sorted(merged.values(), key=lambda each: (-each.requests, each.source)))
