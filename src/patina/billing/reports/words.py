"""Amounts, numbers and remarks as a report words them."""

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from patina.billing.reports.periods import Period
from patina.billing.reports.shape import TIMES, Figures, Forecast, Row, Table
from patina.ports.ledger import GroupBy

UNKNOWN: Final = "unknown"
DELETED: Final = "(deleted)"
_NONE: Final = {
    "conversation": "(no conversation)",
    "server": "(no server)",
    "source": "(no price)",
}
_STEPS: Final = (("k", 1_000), ("M", 1_000_000), ("B", 1_000_000_000), ("T", 10**12))
# From here on, cents are enough.
_LARGE: Final = Decimal(100)


def dollars(amount: Decimal | None, places: int | None = None) -> str:
    """Return an amount in words: "$1,234.50", "<$0.0001", "unknown".

    With `places` after the point; without, two from a dollar on, else four.
    """
    if amount is None:
        return UNKNOWN
    if places is None:
        places = 2 if not amount or amount >= 1 else 4
    least = Decimal(1).scaleb(-places)
    if 0 < amount < least:
        return f"<${least:f}"
    return f"${amount.quantize(least, ROUND_HALF_UP):,f}"


def places_for(total: Decimal | None) -> int:
    """Return how many digits the amounts of a column have that comes to `total`."""
    return 2 if total is not None and (not total or total >= _LARGE) else 4


def short(number: int) -> str:
    """Return a count of tokens in at most five signs or so: "812", "12.3k", "4.1M"."""
    for sign, size in _STEPS:
        if number < 1_000:
            break
        if number < size * 999.5 or sign == _STEPS[-1][0]:
            value = number / size
            return f"{value:.0f}{sign}" if value >= 99.95 else f"{value:.1f}{sign}"
    return str(number)


def percent(share: Decimal | None) -> str:
    """Return a share in words; "" where there is none."""
    if share is None:
        return ""
    if 0 < share < Decimal("0.005"):
        return "<1%"
    return f"{(share * 100).quantize(Decimal(1), ROUND_HALF_UP)}%"


def count(number: int, thing: str) -> str:
    """Return "1 request" or "1,200 requests"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def label(by: GroupBy, key: str, titles: Mapping[str, str] | None = None) -> str:
    """Return what a key is called. `titles` are those of the conversations that there are."""
    if not key:
        return _NONE.get(by, UNKNOWN)
    if by == "conversation" and titles is not None:
        return titles.get(key, DELETED)
    return key


def rest_label(table: Table) -> str:
    """Return what the rows are called that are left out."""
    return f"({table.left_out:,} {'earlier' if table.by in TIMES else 'others'})"


def note(row: Row) -> str:
    """Return what is to be known of a row: "12 without a price, 3 estimated"; "" for nothing."""
    notes = [f"{row.unknown:,} without a price"] if row.unknown else []
    notes += [f"{row.estimated:,} estimated"] if row.estimated else []
    return ", ".join(notes)


def remarks(figures: Figures) -> tuple[str, ...]:
    """Return sentences about what the figures do not say."""
    found = []
    if figures.unknown:
        one = figures.unknown == 1
        found.append(
            f"{count(figures.unknown, 'request')} without a price: what {'it' if one else 'they'}"
            " cost is unknown, and in no sum."
        )
    if figures.estimated:
        verb = "is" if figures.estimated == 1 else "are"
        found.append(
            f"{count(figures.estimated, 'request')} {verb} estimated: the provider did not say all."
        )
    if figures.forecast:
        found.append(foreseen(figures.forecast))
    return tuple(found)


def summary(figures: Figures) -> str:
    """Return the figures as one sentence or two."""
    asked = count(figures.requests, "request")
    tokens = f"{asked} with {short(figures.tokens)} tokens"
    if figures.spent is None:
        return f"What was spent is unknown: {tokens}."
    text = f"{dollars(figures.spent)} in {tokens}."
    if figures.dearest:
        text += f" Dearest model: {figures.dearest}, {dollars(figures.dearest_cost)}."
    return text


def foreseen(forecast: Forecast) -> str:
    """Return the sentence of a forecast."""
    return (
        f"Forecast: about {dollars(forecast.amount, 2)} by {day_text(forecast.until)}, at"
        f" {dollars(forecast.per_day)} a day as before."
    )


def period_text(over: Period) -> str:
    """Return a period in words."""
    if not over.since:
        return f"everything until {day_text(over.until)}"
    if over.since == over.until:
        return day_text(over.since)
    return f"{day_text(over.since)} to {day_text(over.until)}"


def day_text(day: str) -> str:
    """Return a day as "3 Nov 2026"."""
    when = date.fromisoformat(day)
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}"


def point_text(point: str) -> str:
    """Return a day as "3 Nov", a month as "Nov 2026"."""
    month = _MONTHS[int(point[5:7]) - 1]
    return f"{int(point[8:10])} {month}" if point[8:] else f"{month} {point[:4]}"


# Not the system's: a report reads the same everywhere.
_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)
