"""The money gate: zones, cancelling, a ledger that fails, conversations that are not kept."""

from collections.abc import Sequence
from datetime import timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.config.support import Home
from tests.flows.harness import FakeTariffs, priced
from tests.permission.test_following import running

from patina.billing.meter import LedgerMeter
from patina.engine.clock import ManualClock
from patina.model.events import LimitReached, LimitWarned
from patina.model.faults import LimitFault, StoreFault
from patina.model.money import Entry, Hold, Limit, Standing, Used, Wanted
from patina.model.settings import BillingSettings
from patina.model.usage import Cost, Usage
from patina.store.money.memory import MemoryLedger

pytestmark = pytest.mark.anyio
D = Decimal
DONE = Used(outcome="done", usage=Usage(1_000, 100), output=100)
COST = D("0.002")  # of it


def wanted(**more: Any) -> Wanted:
    known: dict[str, Any] = {
        "provider": "near",
        "model": "one",
        "purpose": "chat",
        "most_input": 2_000,
        "input": 1_000,
        "max_tokens": 100,
        "conversation": "c",
        "turn": "t",
    }
    return Wanted(**known | more)


class Slow(MemoryLedger):
    """A ledger whose writing can be held up, and can fail."""

    def __init__(self) -> None:
        super().__init__(now=ManualClock().now)
        self.reached = anyio.Event()
        self.go_on = anyio.Event()
        self.go_on.set()
        self.full = False

    async def reserve(self, hold: Hold, limits: Sequence[Limit]) -> tuple[Standing, ...]:
        self.reached.set()
        await self.go_on.wait()
        return await super().reserve(hold, limits)

    async def settle(self, entry: Entry) -> tuple[Standing, ...]:
        if self.full:
            raise StoreFault("The disk is full.")
        return await super().settle(entry)

    async def told(self, limit: Limit, period: str, share: Decimal) -> bool:
        if self.full:
            raise StoreFault("The disk is full.")
        return await super().told(limit, period, share)


def meter(
    ledger: MemoryLedger,
    billing: BillingSettings | None = None,
    clock: ManualClock | None = None,
    zone: tzinfo | None = None,
    told: list[LimitWarned | LimitReached] | None = None,
    **more: Any,
) -> LedgerMeter:
    limits = billing or BillingSettings()
    heard: list[LimitWarned | LimitReached] = told if told is not None else []
    tariffs = FakeTariffs({"near/one": priced("1", "10")})
    return LedgerMeter(
        ledger, tariffs, clock or ManualClock(), lambda: limits, zone, heard.append, **more
    )


async def lines(meter: LedgerMeter) -> list[Entry]:
    found: list[Entry] = []

    def take(entries: Sequence[Entry]) -> None:
        found.extend(entries)

    await meter.entries(take)
    return found


async def test_days_are_those_of_the_zone() -> None:
    clock = ManualClock()  # 2026-01-01T00:00:00Z
    ledger = MemoryLedger(now=clock.now)
    west = meter(ledger, clock=clock, zone=timezone(timedelta(hours=-5)))
    east = meter(ledger, clock=clock, zone=timezone(timedelta(hours=9)))
    for one in (west, east):
        await one.settle(await one.hold(wanted()), DONE)
    assert [line.day for line in await lines(west)] == ["2025-12-31", "2026-01-01"]


async def test_a_zone_that_changes_moves_nothing_that_was_spent() -> None:
    clock = ManualClock()
    ledger = MemoryLedger(now=clock.now)
    west = meter(ledger, clock=clock, zone=timezone(timedelta(hours=-5)))
    held = await west.hold(wanted())
    await west.settle(held, DONE)
    east = meter(
        ledger,
        BillingSettings(daily_limit="0.004", monthly_limit="0.004"),
        clock,
        timezone(timedelta(hours=9)),
    )
    assert [one.spent for one in await east.standing()] == [D(0), D(0)]
    assert (await lines(east))[0].day == "2025-12-31"


async def test_a_hold_that_is_cancelled_meanwhile_is_not_left_open() -> None:
    ledger = Slow()
    ledger.go_on = anyio.Event()
    gate = meter(ledger)
    held: list[str] = []

    async def work() -> None:
        held.append(await gate.hold(wanted()))
        try:
            await anyio.sleep_forever()
        finally:
            await gate.settle(held[0], Used(outcome="void", sent=False))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await ledger.reached.wait()
            tasks.cancel_scope.cancel()
            ledger.go_on.set()
    [line] = await lines(gate)
    assert line.outcome == "void"


async def test_what_cannot_be_booked_keeps_its_worst_case_and_its_answer() -> None:
    ledger = Slow()
    gate = meter(ledger)
    held = await gate.hold(wanted())
    ledger.full = True
    assert await gate.settle(held, DONE) == Cost(COST, "test")
    ledger.full = False
    [line] = await lines(gate)
    assert (line.outcome, line.held) == ("held", D("0.003"))
    assert await gate.settle(held, DONE) is None  # once is enough


async def test_a_warning_that_cannot_be_written_down_stops_nothing() -> None:
    ledger = Slow()
    told: list[LimitWarned | LimitReached] = []
    gate = meter(ledger, BillingSettings(daily_limit="0.004", warn_at=0.1), told=told)
    await gate.settle(await gate.hold(wanted()), DONE)
    assert len(told) == 1
    ledger.full = True
    with pytest.raises(LimitFault):
        await gate.hold(wanted())
    assert len(told) == 1


async def test_conversations_that_are_not_kept_have_their_limit_and_no_name() -> None:
    ledger = MemoryLedger(now=ManualClock().now)
    gate = meter(ledger, BillingSettings(conversation_limit="0.004"), kept=False)
    await gate.settle(await gate.hold(wanted()), DONE)
    with pytest.raises(LimitFault, match="limit per conversation"):
        await gate.hold(wanted())
    await gate.settle(await gate.hold(wanted(conversation="other")), DONE)
    assert [line.conversation for line in await lines(gate)] == ["", ""]


async def test_what_is_running_costs_its_input_and_what_came() -> None:
    gate = meter(MemoryLedger(now=ManualClock().now))
    held = await gate.hold(wanted())
    assert gate.running(held, 50) == Cost(D("0.0015"), "test", estimated=True)
    await gate.settle(held, DONE)
    assert gate.running(held, 50) is None


async def test_a_quote_writes_nothing() -> None:
    ledger = MemoryLedger(now=ManualClock().now)
    gate = meter(ledger, BillingSettings(daily_limit="0.0035"))
    quote = await gate.quote(wanted())
    assert (quote.likely, quote.most, quote.blocked) == (COST, D("0.003"), None)
    await gate.settle(await gate.hold(wanted()), DONE)
    blocked = (await gate.quote(wanted())).blocked
    assert blocked is not None
    assert (blocked.limit.kind, blocked.spent) == ("day", COST)
    assert len(await lines(gate)) == 1


async def test_limits_of_the_file_are_followed_while_patina_runs(tmp_path: Path) -> None:
    home = Home(tmp_path)
    async with running(home) as (app, _):
        assert await app.meter.standing() == ()
        home.write('[billing]\ndaily_limit = "5.00"\n')

        async def limits() -> list[str]:
            return [one.limit.kind for one in await app.meter.standing()]

        with anyio.fail_after(10):
            while await limits() != ["day"]:
                await anyio.lowlevel.checkpoint()


async def test_requests_at_once_share_the_limit_of_a_conversation_that_is_not_kept() -> None:
    ledger = Slow()
    ledger.go_on = anyio.Event()
    gate = meter(ledger, BillingSettings(conversation_limit="0.005"), kept=False)
    refused: list[LimitFault] = []
    held: list[str] = []

    async def send() -> None:
        try:
            held.append(await gate.hold(wanted()))
        except LimitFault as fault:
            refused.append(fault)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await ledger.reached.wait()
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            ledger.go_on.set()
        assert (len(held), len(refused)) == (1, 1)
        await gate.settle(held[0], Used(outcome="void", sent=False))
        await gate.hold(wanted())  # what was held is free again


async def test_a_price_that_changes_meanwhile_changes_nothing_that_was_held() -> None:
    tariffs = FakeTariffs({"near/one": priced("1", "10")})
    clock = ManualClock()
    gate = LedgerMeter(MemoryLedger(now=clock.now), tariffs, clock)
    first = await gate.hold(wanted())
    tariffs.known["near/one"] = priced("2", "20")
    assert await gate.settle(first, DONE) == Cost(COST, "test")
    assert await gate.settle(await gate.hold(wanted()), DONE) == Cost(2 * COST, "test")


async def test_a_limit_that_was_lowered_below_what_is_spent_stops_all() -> None:
    settings = BillingSettings(daily_limit="1")
    clock = ManualClock()
    gate = LedgerMeter(
        MemoryLedger(now=clock.now),
        FakeTariffs({"near/one": priced("1", "10")}),
        clock,
        lambda: settings,
    )
    under_way = await gate.hold(wanted())
    await gate.settle(await gate.hold(wanted()), DONE)
    settings = BillingSettings(daily_limit="0.001")
    with pytest.raises(LimitFault) as caught:
        await gate.hold(wanted())
    assert "$0.00 left" in str(caught.value)
    assert await gate.settle(under_way, DONE) == Cost(COST, "test")  # it left before
