"""What every ledger promises, run on each of them."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.store.money.making import Now, ended, limit

from patina.model.ids import new_id
from patina.model.money import Entry, Hold, Sum
from patina.model.usage import Usage
from patina.ports.ledger import Ledger, OverLimit
from patina.store.money.ledger import FileLedger
from patina.store.money.memory import MemoryLedger

pytestmark = pytest.mark.anyio

DAY = "2026-11-21"


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture(params=["file", "memory"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path, now: Now) -> AsyncIterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger(now=now)
        return
    async with FileLedger(tmp_path / "data", tmp_path / "state", now=now) as ledger:
        yield ledger


async def all_of(ledger: Ledger, since: str = "", until: str = "") -> list[Entry]:
    found: list[Entry] = []
    await ledger.entries(found.extend, since, until)
    return found


async def spend(ledger: Ledger, now: Now, cost: str | None = "0.04", **values: Any) -> Hold:
    hold = now.hold(**values)
    await ledger.reserve(hold, [])
    await ledger.settle(ended(hold, cost))
    return hold


async def test_a_hold_counts_until_it_is_settled(ledger: Ledger, now: Now) -> None:
    limits = [limit("day"), limit("month", "5")]
    hold = now.hold("0.10")
    day, month = await ledger.reserve(hold, limits)
    assert (day.spent, day.held, day.limit) == (Decimal(0), Decimal("0.10"), limits[0])
    assert (month.spent, month.held, month.limit) == (Decimal(0), Decimal("0.10"), limits[1])
    day, _ = await ledger.settle(ended(hold, "0.0400000001"))
    assert (day.spent, day.held, day.unknown) == (Decimal("0.0400000001"), Decimal(0), 0)
    assert (await ledger.standing(limits, DAY))[0] == day


async def test_a_hold_that_would_pass_a_limit_is_not_written(ledger: Ledger, now: Now) -> None:
    """M-15, M-20, M-34."""
    limits = [limit("month", "9"), limit("day", "0.30")]
    for _ in range(3):
        await ledger.reserve(now.hold("0.10"), limits)
    before = await ledger.standing(limits, DAY)
    with pytest.raises(OverLimit) as over:
        await ledger.reserve(now.hold("0.000000000001"), limits)
    assert over.value.standing == before[1]
    assert over.value.standing.held == Decimal("0.30")
    assert await ledger.standing(limits, DAY) == before
    assert len(await all_of(ledger)) == 3


async def test_a_limit_can_be_used_up_to_the_last_unit(ledger: Ledger, now: Now) -> None:
    limits = [limit("day", "0.3")]
    for amount in ("0.1", "0.1", "0.099999999999", "0.000000000001"):
        await ledger.reserve(now.hold(amount), limits)
    (day,) = await ledger.standing(limits, DAY)
    assert day.held == Decimal("0.3")


async def test_a_hold_is_never_rounded_down(ledger: Ledger, now: Now) -> None:
    with pytest.raises(OverLimit):
        await ledger.reserve(now.hold("0.10000000000001"), [limit("request", "0.1")])


async def test_each_limit_counts_what_it_is_for(ledger: Ledger, now: Now) -> None:
    """M-15."""
    ours = {"conversation": new_id(), "turn": new_id(), "run": "run"}
    hold = now.hold(**ours)
    await ledger.reserve(hold, [])
    await ledger.settle(ended(hold))
    await ledger.reserve(now.hold(conversation=ours["conversation"], model="other"), [])
    await ledger.reserve(now.hold(provider="openai"), [])
    limits = [
        limit("day"),
        limit("month"),
        limit("provider", name="anthropic"),
        limit("model", name="anthropic/claude-sonnet-5"),
        limit("model", name="claude-sonnet-5"),
        limit("conversation", name=ours["conversation"]),
        limit("turn", name=ours["turn"]),
        limit("budget", name="run"),
        limit("budget", name="another"),
        limit("turn"),
        limit("request"),
    ]
    found = await ledger.standing(limits, DAY)
    assert [str(each.spent) for each in found] == ["0.04"] * 8 + ["0"] * 3
    held = ["0.2", "0.2", "0.1", "0", "0.1", "0.1", "0", "0", "0", "0", "0"]
    assert [str(each.held) for each in found] == held


async def test_a_limit_of_one_request_is_for_that_alone(ledger: Ledger, now: Now) -> None:
    await spend(ledger, now)
    hold = now.hold("0.10")
    (own,) = await ledger.reserve(hold, [limit("request", "0.10")])
    assert (own.spent, own.held) == (Decimal(0), Decimal("0.1"))
    (own,) = await ledger.settle(ended(hold))
    assert (own.spent, own.held) == (Decimal("0.04"), Decimal(0))
    with pytest.raises(OverLimit):
        await ledger.reserve(now.hold("0.11"), [limit("request", "0.10")])


async def test_an_unknown_price_is_never_zero(ledger: Ledger, now: Now) -> None:
    limits = [limit("day", "0.10")]
    hold = now.hold(None)
    (day,) = await ledger.reserve(hold, limits)
    assert (day.spent, day.held, day.unknown) == (Decimal(0), Decimal(0), 1)
    (day,) = await ledger.settle(ended(hold, None))
    assert (day.spent, day.held, day.unknown) == (Decimal(0), Decimal(0), 1)
    (entry,) = await all_of(ledger)
    assert entry.cost is None
    assert entry.held is None
    (total,) = await ledger.sums("model")
    assert (total.requests, total.cost, total.unknown) == (1, Decimal(0), 1)
    await ledger.reserve(now.hold("0.10"), limits)
    with pytest.raises(OverLimit):
        await ledger.reserve(now.hold(None), limits)
    await ledger.reserve(now.hold("0"), limits)


async def test_what_was_void_costs_nothing_and_is_in_no_sum(ledger: Ledger, now: Now) -> None:
    hold = now.hold()
    limits = [limit("day", "0.10")]
    await ledger.reserve(hold, limits)
    (day,) = await ledger.settle(ended(hold, "0.05", outcome="void", usage=Usage()))
    assert (day.spent, day.held, day.unknown) == (Decimal(0), Decimal(0), 0)
    assert await ledger.sums("day") == ()
    assert [entry.outcome for entry in await all_of(ledger)] == ["void"]
    await ledger.reserve(now.hold(), limits)


async def test_settling_again_corrects(ledger: Ledger, now: Now) -> None:
    hold = now.hold()
    await ledger.reserve(hold, [limit("day")])
    for cost in ("0.09", "0.01", "0.03"):
        (day,) = await ledger.settle(ended(hold, cost))
        assert (day.spent, day.held) == (Decimal(cost), Decimal(0))
    (total,) = await ledger.sums("purpose")
    assert (total.requests, total.cost) == (1, Decimal("0.03"))


async def test_a_hold_whose_end_nobody_saw_costs_its_worst_case(ledger: Ledger, now: Now) -> None:
    hold = now.hold("0.10")
    unpriced = now.hold(None)
    await ledger.reserve(hold, [limit("day")])
    await ledger.reserve(unpriced, [])
    now.on(minutes=13)
    (day,) = await ledger.standing([limit("day")], DAY)
    assert (day.spent, day.held, day.unknown) == (Decimal("0.1"), Decimal(0), 1)
    entries = {entry.id: entry for entry in await all_of(ledger)}
    assert entries[hold.id].outcome == "lost"
    assert entries[hold.id].cost == Decimal("0.1")
    assert entries[hold.id].estimated
    assert entries[unpriced.id].cost is None
    (total,) = await ledger.sums("day")
    assert (total.requests, total.unknown, total.estimated) == (2, 1, 2)
    (day,) = await ledger.settle(ended(hold, "0.02"))
    assert (day.spent, day.unknown) == (Decimal("0.02"), 1)
    assert {entry.outcome for entry in await all_of(ledger)} == {"done", "lost"}


async def test_an_entry_comes_back_as_it_was(ledger: Ledger, now: Now) -> None:
    """M-14: all that a record of usage has."""
    hold = now.hold(
        conversation=new_id(), turn=new_id(), server="files", run="r", purpose="sampling"
    )
    await ledger.reserve(hold, [])
    entry = ended(
        hold, "0.012345678901", estimated=True, tier="batch", first_token_ms=321, outcome="cut"
    )
    await ledger.settle(entry)
    assert await all_of(ledger) == [entry]


async def test_an_end_without_a_hold_counts(ledger: Ledger, now: Now) -> None:
    entry = ended(now.hold())
    assert await ledger.settle(entry) == ()
    assert await all_of(ledger) == [entry]
    (day,) = await ledger.standing([limit("day")], DAY)
    assert day.spent == Decimal("0.04")


async def test_the_day_is_that_of_the_hold(ledger: Ledger, now: Now) -> None:
    hold = now.hold()
    await ledger.reserve(hold, [])
    now.on(days=20)
    await ledger.settle(replace(ended(hold), day=now.day))
    (total,) = await ledger.sums("month")
    assert total.key == "2026-11"


async def test_sums_by_everything(ledger: Ledger, now: Now) -> None:
    """M-19."""
    first, second = sorted((new_id(), new_id()))
    await spend(ledger, now, "0.04", conversation=first)
    await spend(ledger, now, "0.50", conversation=second, model="claude-opus-5")
    now.on(days=30)
    await spend(ledger, now, "0.06", conversation=first, server="files", purpose="sampling")
    await spend(ledger, now, None, conversation=second, provider="openai", model="gpt-6")

    async def keys(by: Any, *days: str, **only: str) -> list[tuple[str, int, str, int]]:
        found = await ledger.sums(by, *days, **only)
        return [
            (each.key, each.requests, str(each.cost.normalize()), each.unknown) for each in found
        ]

    assert await keys("day") == [("2026-11-21", 2, "0.54", 0), ("2026-12-21", 2, "0.06", 1)]
    assert await keys("month") == [("2026-11", 2, "0.54", 0), ("2026-12", 2, "0.06", 1)]
    assert await keys("provider") == [("anthropic", 3, "0.6", 0), ("openai", 1, "0", 1)]
    assert await keys("model") == [
        ("anthropic/claude-opus-5", 1, "0.5", 0),
        ("anthropic/claude-sonnet-5", 2, "0.1", 0),
        ("openai/gpt-6", 1, "0", 1),
    ]
    assert await keys("conversation") == [(second, 2, "0.5", 1), (first, 2, "0.1", 0)]
    assert await keys("server") == [("", 3, "0.54", 1), ("files", 1, "0.06", 0)]
    assert await keys("purpose") == [("chat", 3, "0.54", 1), ("sampling", 1, "0.06", 0)]
    assert await keys("day", "2026-11-22") == [("2026-12-21", 2, "0.06", 1)]
    assert await keys("day", "", "2026-12-20") == [("2026-11-21", 2, "0.54", 0)]
    assert await keys("model", "2026-12-21", "2026-12-21", conversation=first) == [
        ("anthropic/claude-sonnet-5", 1, "0.06", 0)
    ]
    assert await keys("conversation", model="anthropic/claude-sonnet-5") == [(first, 2, "0.1", 0)]
    assert await keys("month", provider="openai") == [("2026-12", 1, "0", 1)]
    assert await keys("month", turn="none") == []
    total = Sum(
        key="anthropic",
        requests=3,
        usage=Usage(3000, 600, 900, 300, 150),
        cost=Decimal("0.6"),
        duration_ms=3600,
    )
    assert (await ledger.sums("provider"))[0] == total
    with pytest.raises(TypeError, match="narrowed"):
        await ledger.sums("day", colour="red")


async def test_sums_by_the_source_of_the_price(ledger: Ledger, now: Now) -> None:
    """M-19: whose prices, and of when."""
    for cost, source, day in (
        ("0.04", "genai-prices 0.2.3", "2026-11-01"),
        ("0.05", "genai-prices 0.2.3", "2026-11-02"),
        ("0.06", "genai-prices 0.2.3", "2026-11-02"),
        ("0.30", "openai", ""),
        (None, "", ""),
    ):
        hold = now.hold()
        await ledger.reserve(hold, [])
        await ledger.settle(replace(ended(hold, cost), source=source, price_date=day))
    hold = now.hold()
    await ledger.reserve(hold, [])
    await ledger.settle(ended(hold, "0.09"))
    await ledger.settle(replace(ended(hold, "0.08"), source="settings", price_date=""))
    found = await ledger.sums("source")
    assert [(each.key, each.requests, str(each.cost), each.unknown) for each in found] == [
        ("openai", 1, "0.3", 0),
        ("genai-prices 0.2.3 2026-11-02", 2, "0.11", 0),
        ("settings", 1, "0.08", 0),
        ("genai-prices 0.2.3 2026-11-01", 1, "0.04", 0),
        ("", 1, "0", 1),
    ]
    (entry,) = [entry for entry in await all_of(ledger) if entry.source == "openai"]
    assert entry.price_date == ""


async def test_the_dearest_and_the_rest(ledger: Ledger, now: Now) -> None:
    """M-19."""
    talks = sorted(new_id() for _ in range(5))
    for number, talk in enumerate(talks):
        await spend(ledger, now, f"0.0{number // 2 + 1}", conversation=talk)
        await spend(ledger, now, "0.000000000001", conversation=talk, provider="openai")
    await spend(ledger, now, None, conversation=talks[1], provider="openai")
    every = await ledger.sums("conversation")
    top = await ledger.top("conversation", 2)
    assert top.sums == every[:2]
    assert [each.key for each in top.sums] == [talks[4], talks[2]]
    assert top.left == 3
    assert (top.rest.key, top.rest.requests, top.rest.unknown) == ("", 7, 1)
    assert top.rest.cost == sum(each.cost for each in every[2:])
    assert top.rest.usage == Usage(7000, 1400, 2100, 700, 350)
    assert (await ledger.top("conversation", 5)).sums == every
    assert (await ledger.top("conversation", 5)).left == 0
    one = await ledger.top("conversation", 1, provider="openai")
    assert (one.sums[0].requests, one.left, one.rest.requests) == (1, 4, 5)
    assert one.rest.unknown == 1
    assert (await ledger.top("day", 3, "2027-01-01")).sums == ()
    assert (await ledger.top("model", 1)).sums == (await ledger.sums("model"))[:1]
    with pytest.raises(TypeError, match="narrowed"):
        await ledger.top("day", 1, colour="red")


async def test_sums_that_no_database_can_hold_are_still_sums(ledger: Ledger, now: Now) -> None:
    """A price that is a million times too high must not end the ledger."""
    for number in range(190):
        hold = now.hold("100000", model=f"m{number % 3}", conversation="c", run="r", turn="t")
        await ledger.reserve(hold, [])
        await ledger.settle(ended(hold, "100000"))
    least = Decimal(9_000_000)
    for by in ("day", "provider", "conversation", "model", "purpose", "source"):
        (total, *_) = await ledger.sums(by)
        assert total.cost >= Decimal(6_000_000)
        assert (await ledger.top(by, 1)).sums[0].cost == total.cost
    (total,) = await ledger.sums("provider", run="r")
    assert total.cost == 190 * 100_000
    limits = [limit(kind) for kind in ("day", "month")]
    limits += [limit("conversation", name="c"), limit("turn", name="t"), limit("budget", name="r")]
    for standing in await ledger.standing(limits, DAY):
        assert standing.spent >= least
    with pytest.raises(OverLimit):
        await ledger.reserve(now.hold("0.01"), limits)


async def test_sums_of_a_turn_and_of_a_run(ledger: Ledger, now: Now) -> None:
    await spend(ledger, now, "0.01", turn="t", run="r")
    await spend(ledger, now, "0.02", turn="t", purpose="tools")
    await spend(ledger, now, "0.04")
    (total,) = await ledger.sums("provider", turn="t")
    assert (total.requests, total.cost) == (2, Decimal("0.03"))
    (total,) = await ledger.sums("purpose", run="r")
    assert (total.requests, total.cost) == (1, Decimal("0.01"))


async def test_entries_come_oldest_first_in_pages(ledger: Ledger, now: Now) -> None:
    holds = []
    for _ in range(3):
        holds += [(await spend(ledger, now)).id for _ in range(3)]
        now.on(days=1)
    for _ in range(600):
        hold = now.hold("0")
        await ledger.reserve(hold, [])
    pages: list[int] = []
    await ledger.entries(lambda page: pages.append(len(page)))
    assert sum(pages) == 609
    assert max(pages) <= 500
    assert [entry.id for entry in await all_of(ledger, "", "2026-11-23")] == holds
    assert [entry.id for entry in await all_of(ledger, "2026-11-22", "2026-11-22")] == holds[3:6]
    assert await all_of(ledger, "2027-01-01") == []


async def test_the_user_is_told_once(ledger: Ledger) -> None:
    day = limit("day", "1.0")
    share = Decimal("0.8")
    assert await ledger.told(day, DAY, share)
    assert not await ledger.told(limit("day", "1.0"), DAY, Decimal("0.80"))
    assert await ledger.told(day, "2026-11-22", share)
    assert await ledger.told(limit("day", "2"), DAY, share)
    assert await ledger.told(day, DAY, Decimal(1))
    assert await ledger.told(limit("model", name="a"), "2026-11", share)
    assert await ledger.told(limit("model", name="b"), "2026-11", share)
    assert not await ledger.told(limit("model", name="b"), "2026-11", share)


@pytest.mark.parametrize("amount", ["1e-999999", "123456.7", "1e999999"])
async def test_absurd_amounts_are_bounded(ledger: Ledger, now: Now, amount: str) -> None:
    hold = now.hold(amount)
    await ledger.reserve(hold, [])
    await ledger.settle(ended(hold, amount))
    (total,) = await ledger.sums("day")
    assert Decimal(0) <= total.cost <= Decimal(100_000)
    with pytest.raises(OverLimit):
        await ledger.reserve(now.hold(amount), [limit("day", "1e-13")])


async def test_negative_and_huge_numbers_of_tokens_are_bounded(ledger: Ledger, now: Now) -> None:
    hold = now.hold()
    await ledger.reserve(hold, [])
    await ledger.settle(ended(hold, "-3", usage=Usage(-5, 10**40, -1, 3, 4), duration_ms=-1))
    (total,) = await ledger.sums("day")
    assert total.usage == Usage(0, 10**12, 0, 3, 4)
    assert (total.cost, total.duration_ms) == (Decimal(0), 0)


async def test_what_is_no_amount_or_day_is_refused(ledger: Ledger, now: Now) -> None:
    for wrong in (
        now.hold("NaN"),
        now.hold("Infinity"),
        now.hold(day="../../etc"),
        now.hold(day="2026-1-1"),
        now.hold(day="2026-13-01"),
        now.hold(day="2026-11-00"),
        now.hold(day="٢٠٢٦-11-21"),
        now.hold(expires="soon"),
    ):
        with pytest.raises(ValueError, match=r"no |Invalid"):
            await ledger.reserve(wrong, [])
    with pytest.raises(ValueError, match="no amount"):
        await ledger.settle(ended(now.hold(), "NaN"))
    assert await all_of(ledger) == []
