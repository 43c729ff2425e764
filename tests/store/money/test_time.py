"""Clocks that jump, months that end, people who travel: a request's day is written down once."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.store.money.making import Now, ended, files, limit, opened

from patina.model.money import Entry
from patina.ports.ledger import OverLimit

pytestmark = pytest.mark.anyio


async def test_a_crash_between_hold_and_settle_counts_until_its_time_is_over(
    tmp_path: Path,
) -> None:
    now = Now()
    hold = now.hold("0.60")
    async with opened(tmp_path, now) as ledger:
        await ledger.reserve(hold, [limit("day")])
    # The process is gone. Another one:
    async with opened(tmp_path, now) as ledger:
        with pytest.raises(OverLimit) as over:
            await ledger.reserve(now.hold("0.41"), [limit("day")])
        assert over.value.standing.held == Decimal("0.6")
        now.on(minutes=13)
        with pytest.raises(OverLimit) as over:
            await ledger.reserve(now.hold("0.41"), [limit("day")])
        assert (over.value.standing.spent, over.value.standing.held) == (Decimal("0.6"), Decimal(0))
        await ledger.settle(ended(hold, "0.05"))
        await ledger.reserve(now.hold("0.41"), [limit("day")])


async def test_a_month_ends_at_local_midnight(tmp_path: Path) -> None:
    now = Now("2026-12-31T21:59:00+00:00", zone=2)
    month = [limit("month", "1"), limit("model", "1", "claude-sonnet-5")]
    async with opened(tmp_path, now) as ledger:
        last = now.hold("1")
        await ledger.reserve(last, month)
        with pytest.raises(OverLimit):
            await ledger.reserve(now.hold("0.1"), month)
        now.on(minutes=2)
        assert now.day == "2027-01-01"
        await ledger.reserve(now.hold("1"), month)
        await ledger.settle(ended(last, "0.5"))
        (old, _) = await ledger.standing(month, "2026-12-31")
        (new, _) = await ledger.standing(month, "2027-01-01")
    assert (old.spent, old.held) == (Decimal("0.5"), Decimal(0))
    assert (new.spent, new.held) == (Decimal(0), Decimal(1))
    assert [path.name[:7] for path in files(tmp_path)] == ["2026-12", "2027-01"]


async def test_a_move_to_another_time_zone_changes_no_day_that_was(tmp_path: Path) -> None:
    now = Now("2026-11-21T23:30:00+00:00", zone=9)
    async with opened(tmp_path, now) as ledger:
        tokyo = now.hold("0.6")
        await ledger.reserve(tokyo, [limit("day")])
        now.on(minutes=10)
        now.zone = -5
        new_york = now.hold("0.9")
        await ledger.reserve(new_york, [limit("day")])
        await ledger.settle(ended(tokyo, "0.5"))
        sums = await ledger.sums("day")
        (day,) = await ledger.standing([limit("day")], "2026-11-21")
    assert (tokyo.day, new_york.day) == ("2026-11-22", "2026-11-21")
    assert [(each.key, each.cost) for each in sums] == [("2026-11-22", Decimal("0.5"))]
    assert (day.spent, day.held) == (Decimal(0), Decimal("0.9"))
    async with opened(tmp_path, now, "another") as ledger:
        assert await ledger.sums("day") == sums


@pytest.mark.parametrize("hours", [-24 * 400, -2, 2, 24 * 400])
async def test_a_clock_that_jumps_frees_no_money(tmp_path: Path, hours: float) -> None:
    now = Now()
    limits = [limit("conversation", "1", "c")]
    hold = now.hold("0.6", conversation="c")
    async with opened(tmp_path, now) as ledger:
        await ledger.reserve(hold, limits)
        now.on(hours=hours)
        for _ in range(2):
            with pytest.raises(OverLimit) as over:
                await ledger.reserve(now.hold("0.5", conversation="c"), limits)
            standing = over.value.standing
            assert standing.spent + standing.held == Decimal("0.6")
            now.on(hours=-hours)
        (after,) = await ledger.settle(ended(hold, "0.2"))
        assert (after.spent, after.held) == (Decimal("0.2"), Decimal(0))
        await ledger.reserve(now.hold("0.5", conversation="c"), limits)


async def test_a_hold_of_a_wrong_clock_is_not_open_for_years(tmp_path: Path) -> None:
    now = Now("2099-01-01T00:00:00+00:00")
    async with opened(tmp_path, now) as ledger:
        await ledger.reserve(now.hold("0.6"), [])
        now.moment = Now().moment
        entries: list[Entry] = []
        await ledger.entries(entries.extend)
    assert [entry.outcome for entry in entries] == ["lost"]


async def test_a_later_correction_counts_although_the_clock_went_back(tmp_path: Path) -> None:
    now = Now()
    hold = now.hold("0.6")
    async with opened(tmp_path, now) as ledger:
        await ledger.reserve(hold, [])
        await ledger.settle(ended(hold, "0.1"))
        now.on(days=-3)
        await ledger.settle(ended(hold, "0.2"))
    async with opened(tmp_path, now, "anew") as ledger:
        (day,) = await ledger.sums("day")
    assert day.cost == Decimal("0.2")
