"""Local days from one to another, from what a person writes."""

import re
from calendar import monthrange
from datetime import date, timedelta
from typing import Final

from msgspec import Struct

from patina.ports.ledger import GroupBy

ALL: Final = "all"
_TODAY: Final = ("today", "yesterday")
_YEAR: Final = re.compile(r"\d{4}", re.ASCII)
_MONTH: Final = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_DAYS: Final = re.compile(r"(\d{1,5})d", re.ASCII)
_MONTHS_SHOWN: Final = 12


class Period(Struct, frozen=True):
    """Local days (YYYY-MM-DD), both included. `since` "" is as far back as there is anything."""

    since: str
    until: str

    def has(self, day: str) -> bool:
        """Whether `day` is among them."""
        return self.since <= day <= self.until


def period(by: GroupBy, since: str | None, until: str | None, today: str) -> Period:
    """Return the days that are meant.

    Each end is a day (YYYY-MM-DD), a whole month (YYYY-MM) or year (YYYY), "today", "yesterday",
    some days ago ("30d"), or for the first one "all". Without ends it is this month, or by months
    the last twelve; without the last one, until today. Raises `ValueError` with a sentence.
    """
    now = date.fromisoformat(today)
    last = today if not until else _day(until, now, last=True)
    if since == ALL or (until and not since):
        first = ""
    elif since:
        first = _day(since, now, last=False)
    else:
        first = _months_back(now, _MONTHS_SHOWN - 1 if by == "month" else 0)
    if first > last:
        raise ValueError(f"The period ends ({last}) before it begins ({first}).")
    return Period(first, last)


def days_of(first: str, last: str) -> tuple[str, ...]:
    """Return all days from `first` to `last`."""
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    return tuple(
        (begin + timedelta(number)).isoformat() for number in range((end - begin).days + 1)
    )


def months_of(first: str, last: str) -> tuple[str, ...]:
    """Return all months (YYYY-MM) from that of the day `first` to that of `last`."""
    year, month = int(first[:4]), int(first[5:7])
    found = []
    while (name := f"{year:04}-{month:02}") <= last[:7]:
        found.append(name)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    return tuple(found)


def month_end(day: str) -> str:
    """Return the last day of the month of `day`."""
    year, month = int(day[:4]), int(day[5:7])
    return f"{day[:7]}-{monthrange(year, month)[1]:02}"


def _day(text: str, today: date, *, last: bool) -> str:
    try:
        if text in _TODAY:
            return (today - timedelta(_TODAY.index(text))).isoformat()
        if ago := _DAYS.fullmatch(text):
            return (today - timedelta(int(ago[1]))).isoformat()
        if _YEAR.fullmatch(text):
            return date.fromisoformat(f"{text}-12-31" if last else f"{text}-01-01").isoformat()
        if month := _MONTH.fullmatch(text):
            first = date(int(month[1]), int(month[2]), 1).isoformat()
            return month_end(first) if last else first
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            return date.fromisoformat(text).isoformat()
    except (ValueError, OverflowError):
        pass  # a form that is known, but no day that there is
    raise ValueError(f"{text[:40]!r} is no day.")


def _months_back(today: date, months: int) -> str:
    number = today.year * 12 + today.month - 1 - months
    return f"{number // 12:04}-{number % 12 + 1:02}-01"
