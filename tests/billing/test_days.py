"""Days and months are those of the machine's zone, as they were when money was held."""

from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from patina.billing.days import later, local_day, month_of

NEW_YORK = ZoneInfo("America/New_York")
KIRITIMATI = timezone(timedelta(hours=14))


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-12-01T04:59:59.999Z", "2026-11-30"),
        ("2026-12-01T05:00:00.000Z", "2026-12-01"),
        # Clocks go back on 1 November: that day has 25 hours.
        ("2026-11-01T03:59:59.999Z", "2026-10-31"),
        ("2026-11-02T04:59:59.999Z", "2026-11-01"),
        # And forward on 8 March.
        ("2026-03-09T03:59:59.999Z", "2026-03-08"),
        ("2026-03-09T04:00:00.000Z", "2026-03-09"),
    ],
)
def test_the_edges_of_days(now: str, day: str) -> None:
    assert local_day(now, NEW_YORK) == day


def test_zones_far_away_are_in_another_month() -> None:
    now = "2026-12-31T10:00:00.000Z"
    assert month_of(local_day(now, KIRITIMATI)) == "2027-01"
    assert month_of(local_day(now, NEW_YORK)) == "2026-12"


def test_without_a_zone_it_is_the_systems() -> None:
    assert local_day("2026-06-15T12:00:00.000Z") in ("2026-06-15", "2026-06-16")


def test_times_later_on() -> None:
    assert later("2026-12-31T23:59:59.900Z", 720) == "2027-01-01T00:11:59.900Z"
