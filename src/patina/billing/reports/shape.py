"""From the sums of the ledger to what a report shows. Pure: the terminal, the PDF and the window
draw the same shapes.

Unknown is never zero: where no request has a price, a cost is None.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from patina.billing.reports.periods import Period, days_of, month_end, months_of
from patina.model.money import Sum, Top
from patina.model.usage import Usage
from patina.ports.ledger import GroupBy

TIMES: Final = ("day", "month")
# Models that have a colour of their own in a chart; the rest are one series.
SERIES: Final = 6
OTHERS: Final = "others"
# Above, a chart has a bar for each month.
MOST_DAYS: Final = 400


class Row(Struct, frozen=True, kw_only=True):
    """One line of a table: the requests under `key`.

    `cost` is that of all that have a price, None where none has; `share` its part of all that was
    spent (0 to 1), None where nothing was. `unknown` counts requests without a price, `estimated`
    those whose tokens or price are not the provider's word.
    """

    key: str = ""
    requests: int = 0
    usage: Usage = Usage()
    cost: Decimal | None = Decimal(0)
    share: Decimal | None = None
    unknown: int = 0
    estimated: int = 0
    duration_ms: int = 0


class Table(Struct, frozen=True, kw_only=True):
    """Rows by `by`. `rest` is all that is not among them, `left_out` how many rows that are;
    `total` is everything.
    """

    by: GroupBy
    rows: tuple[Row, ...] = ()
    rest: Row | None = None
    left_out: int = 0
    total: Row = Row()


class Forecast(Struct, frozen=True, kw_only=True):
    """What the month of `today` will come to if its other days cost what its past ones did.

    `per_day` is their mean; `until` is the last day of the month. Requests without a price are
    not in it.
    """

    amount: Decimal
    per_day: Decimal
    today: str
    until: str


class Figures(Struct, frozen=True, kw_only=True):
    """The figures on top of a report. `spent` None: not one request has a price."""

    spent: Decimal | None = Decimal(0)
    requests: int = 0
    usage: Usage = Usage()
    dearest: str = ""
    dearest_cost: Decimal | None = None
    unknown: int = 0
    estimated: int = 0
    forecast: Forecast | None = None

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return self.usage.input_tokens + self.usage.output_tokens


class Series(Struct, frozen=True):
    """What one model cost at each of a chart's points, in USD."""

    name: str
    values: tuple[Decimal, ...]


class Chart(Struct, frozen=True, kw_only=True):
    """Stacked bars. `points` are days (YYYY-MM-DD) or months (YYYY-MM) without gaps; each of the
    others has a value for each of them.

    `planned` is what is foreseen to come on top (to be drawn apart: it was not spent), `unknown`
    counts requests without a price.
    """

    points: tuple[str, ...] = ()
    series: tuple[Series, ...] = ()
    planned: tuple[Decimal, ...] = ()
    unknown: tuple[int, ...] = ()

    @property
    def highest(self) -> Decimal:
        """The height of the highest bar, in USD."""
        columns = zip(self.planned, *(series.values for series in self.series), strict=True)
        return max((sum(column, Decimal(0)) for column in columns), default=Decimal(0))


def table(by: GroupBy, sums: Sequence[Sum], limit: int | None = None) -> Table:
    """Return a table of `sums`, in their order: of days and months the last `limit`, else the
    first.
    """
    shown: Sequence[Sum] = sums
    left: Sequence[Sum] = ()
    if limit is None or len(sums) <= limit:
        pass
    elif by in TIMES:
        shown, left = sums[-limit:], sums[:-limit]
    else:
        shown, left = sums[:limit], sums[limit:]
    return _table(by, shown, left, len(left))


def top_table(by: GroupBy, top: Top) -> Table:
    """Return a table of the dearest; the others are one row."""
    return _table(by, top.sums, (top.rest,) if top.left else (), top.left)


def _table(by: GroupBy, shown: Sequence[Sum], left: Sequence[Sum], left_out: int) -> Table:
    total = _row("", (*shown, *left), None)
    spent = total.cost or Decimal(0)
    if spent:
        total = replace(total, share=Decimal(1))
    return Table(
        by=by,
        rows=tuple(_row(each.key, (each,), spent) for each in shown),
        rest=_row("", left, spent) if left_out else None,
        left_out=left_out,
        total=total,
    )


def figures(
    sums: Iterable[Sum], models: Iterable[Sum], foreseen: Forecast | None = None
) -> Figures:
    """Return the figures of `sums` (by anything), whose requests are those of `models`, too."""
    total = _row("", tuple(sums), None)
    dearest = max(models, key=lambda each: each.cost, default=None)
    named = dearest is not None and dearest.cost > 0
    return Figures(
        spent=total.cost,
        requests=total.requests,
        usage=total.usage,
        dearest=dearest.key if dearest is not None and named else "",
        dearest_cost=dearest.cost if dearest is not None and named else None,
        unknown=total.unknown,
        estimated=total.estimated,
        forecast=foreseen,
    )


def forecast(days: Iterable[Sum], today: str) -> Forecast | None:
    """Return what the month of `today` will come to, given the sums of its days.

    None where no day of the month is over, or nothing was spent on those that are.
    """
    month = today[:7]
    past = sum((each.cost for each in days if month <= each.key < today), Decimal(0))
    spent = sum((each.cost for each in days if each.key == today), Decimal(0))
    over = int(today[8:10]) - 1
    if not over or not past:
        return None
    until = month_end(today)
    mean = past / over
    ahead = mean * (int(until[8:10]) - int(today[8:10])) + max(mean - spent, Decimal(0))
    return Forecast(amount=past + spent + ahead, per_day=mean, today=today, until=until)


def step_of(over: Period) -> GroupBy:
    """Return what the bars of a chart of these days stand for: days, or months of a long time."""
    return "day" if over.since and len(days_of(over.since, over.until)) <= MOST_DAYS else "month"


def chart(
    over: Period,
    totals: Sequence[Sum],
    models: Mapping[str, Sequence[Sum]],
    foreseen: Forecast | None = None,
) -> Chart:
    """Return the chart of a time.

    `totals` are its sums by `step_of(over)`, `models` those of some models by the same; what is
    left of the totals is one series more. With `foreseen` it goes on to the end of that month.
    """
    by_day = step_of(over) == "day"
    first = over.since or (totals[0].key if totals else over.until)
    last = max(over.until, foreseen.until) if foreseen and by_day else over.until
    points = days_of(first, last) if by_day else months_of(first, last)
    columns = {name: _costs(points, sums) for name, sums in models.items()}
    rest = list(_costs(points, totals))
    for values in columns.values():
        rest = [left - value for left, value in zip(rest, values, strict=True)]
    if any(rest):
        columns[OTHERS] = tuple(rest)
    missing = {each.key: each.unknown for each in totals}
    spent = {each.key: each.cost for each in totals}
    return Chart(
        points=points,
        series=tuple(Series(name, values) for name, values in columns.items() if any(values)),
        planned=tuple(_planned(point, spent, foreseen if by_day else None) for point in points),
        unknown=tuple(missing.get(point, 0) for point in points),
    )


def _planned(point: str, spent: Mapping[str, Decimal], foreseen: Forecast | None) -> Decimal:
    if foreseen is None or not foreseen.today <= point <= foreseen.until:
        return Decimal(0)
    return max(foreseen.per_day - spent.get(point, Decimal(0)), Decimal(0))


def _costs(points: Sequence[str], sums: Iterable[Sum]) -> tuple[Decimal, ...]:
    costs = {each.key: each.cost for each in sums}
    return tuple(costs.get(point, Decimal(0)) for point in points)


def _row(key: str, sums: Sequence[Sum], spent: Decimal | None) -> Row:
    requests = sum(each.requests for each in sums)
    unknown = sum(each.unknown for each in sums)
    known = not requests or unknown < requests
    cost = sum((each.cost for each in sums), Decimal(0)) if known else None
    return Row(
        key=key,
        requests=requests,
        usage=reduce(add, (each.usage for each in sums), Usage()),
        cost=cost,
        share=cost / spent if spent and cost is not None else None,
        unknown=unknown,
        estimated=sum(each.estimated for each in sums),
        duration_ms=sum(each.duration_ms for each in sums),
    )
