"""Asks the ledger for what a whole report shows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from patina.billing.reports import shape
from patina.billing.reports.lines import matches
from patina.billing.reports.periods import Period, month_end
from patina.billing.reports.shape import Chart, Figures, Forecast, Table
from patina.model.money import Entry, Sum
from patina.ports.ledger import GroupBy, Ledger

# What a report has a table of, in this order.
TABLES: Final[tuple[GroupBy, ...]] = ("model", "provider", "purpose", "conversation", "server")
_NOT_COUNTED: Final = ("held", "void")


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
        sums = models if by == "model" else await ledger.sums(by, over.since, over.until, **only)
        # Most requests are for no server, and most people have none that asks.
        if by != "server" or any(each.key for each in sums):
            tables.append(shape.table(by, sums, limit))
    prices = Prices(only)
    await ledger.entries(prices.add, over.since, over.until)
    return Report(
        period=over,
        only=only,
        figures=shape.figures(totals, models, foreseen),
        chart=shape.chart(over, totals, shown, foreseen),
        tables=tuple(tables),
        sources=prices.found(),
    )


async def foresee(
    ledger: Ledger, over: Period, today: str, only: Mapping[str, str]
) -> Forecast | None:
    """Return the forecast of this month, where the period has `today` and the month's past."""
    first = f"{today[:7]}-01"
    if not over.has(today) or over.since > first or over.until > month_end(today):
        return None
    return shape.forecast(await ledger.sums("day", first, today, **only), today)


class Prices:
    """Adds up entries by the source of their price."""

    def __init__(self, only: Mapping[str, str]) -> None:
        self._only = only
        self._sums: dict[tuple[str, str], tuple[int, Decimal]] = {}

    def add(self, entries: Sequence[Entry]) -> None:
        """Take some entries in."""
        sums, only = self._sums, self._only
        for entry in entries:
            if entry.cost is None or entry.outcome in _NOT_COUNTED:
                continue
            if only and not matches(entry, only):
                continue
            key = (entry.source, entry.price_date)
            requests, cost = sums.get(key, (0, Decimal(0)))
            sums[key] = (requests + 1, cost + entry.cost)

    def found(self) -> tuple[PriceSource, ...]:
        """Return the sources, the one with most requests first."""
        merged: dict[str, PriceSource] = {}
        for (source, day), (requests, cost) in sorted(self._sums.items()):
            known = merged.get(source)
            merged[source] = PriceSource(
                source=source,
                first=(known.first if known else "") or day,
                last=day,
                requests=requests + (known.requests if known else 0),
                cost=cost + (known.cost if known else 0),
            )
        return tuple(sorted(merged.values(), key=lambda each: (-each.requests, each.source)))
