"""Local days and months: what limits count by."""

from datetime import datetime, timedelta, tzinfo


def local_day(now: str, zone: tzinfo | None = None) -> str:
    """Return the day (YYYY-MM-DD) of `now` (UTC, ISO 8601) in `zone`; None is the system's."""
    return datetime.fromisoformat(now).astimezone(zone).date().isoformat()


def month_of(day: str) -> str:
    """Return the month (YYYY-MM) of a day."""
    return day[:7]


def later(now: str, seconds: float) -> str:
    """Return the time `seconds` after `now`, both UTC in ISO 8601 with milliseconds and "Z"."""
    moment = datetime.fromisoformat(now) + timedelta(seconds=seconds)
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"
