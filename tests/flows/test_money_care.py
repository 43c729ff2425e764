"""What endpoints do that do not keep to what was agreed, and what they do not tell."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import anyio
import pytest
from tests.flows.harness import Register, World, priced, says, world

from patina.engine.clock import ManualClock
from patina.engine.coming import OVER, OVER_TOKENS, UNSEEN
from patina.model import commands, events
from patina.model.chat import ChatRequest, Failed, Finished, ModelInfo, TextDelta
from patina.model.faults import Failure
from patina.model.items import Message
from patina.model.money import Entry
from patina.model.parts import text_of
from patina.model.settings import BillingSettings
from patina.model.usage import Usage
from patina.providers.scripted import Pause, ScriptedDriver, Step
from patina.store.money.memory import MemoryLedger

pytestmark = pytest.mark.anyio
D = Decimal
PRICES = {"fake/one": priced("2", "10")}
MOST = 200


async def lines(w: World) -> list[Entry]:
    found: list[Entry] = []

    def take(entries: Sequence[Entry]) -> None:
        found.extend(entries)

    await w.services.meter.entries(take)
    return found


async def interrupted_after(seconds: float, info: ModelInfo | None = None, **options: Any) -> Entry:
    """The line of a request that was interrupted after so long without a word."""
    clock, gate = ManualClock(), Pause.closed()
    infos = {} if info is None else {"fake/one": info}
    async with world([gate], prices=PRICES, clock=clock, infos=infos) as w:
        # Long enough that what is known of the model is looked up.
        conversation = w.send("word " * 3_000, **options)
        with anyio.fail_after(5):
            await gate.reached.wait()
        clock.advance(seconds)
        w.engine.submit(commands.Interrupt(conversation=conversation))
        await w.turn(conversation)
        [line] = await lines(w)
        return line


async def test_reasoning_that_nobody_saw_is_booked_where_it_was_broken_off() -> None:
    line = await interrupted_after(10.0)
    assert (line.outcome, line.estimated) == ("cancelled", True)
    assert line.usage.output_tokens == 10 * UNSEEN
    assert line.cost is not None
    assert line.cost > D("0.025")


async def test_unseen_reasoning_is_never_more_than_was_held() -> None:
    line = await interrupted_after(3_600.0, max_tokens=500)
    assert line.usage.output_tokens == 500
    assert line.held is not None
    assert line.cost is not None
    assert line.cost <= line.held


@pytest.mark.parametrize("seconds", [0.5, 20.0])
async def test_who_does_not_think_is_not_charged_for_it(seconds: float) -> None:
    info = ModelInfo("fake", "one", thinking=False if seconds > 1 else None)
    line = await interrupted_after(seconds, info)
    assert line.usage.output_tokens == 0


async def test_unseen_reasoning_counts_where_the_connection_broke_too() -> None:
    clock, gate = ManualClock(), Pause.closed()
    reply: list[Step] = [TextDelta("Hi"), gate, Failed(Failure("cut", "Gone."))]
    async with world(reply, prices=PRICES, clock=clock) as w:
        conversation = w.send("Hi")
        with anyio.fail_after(5):
            await gate.reached.wait()
        clock.advance(4.0)
        gate.passed.set()
        await w.turn(conversation)
        [line] = await lines(w)
        assert 4 * UNSEEN <= line.usage.output_tokens < 4 * UNSEEN + 5


def endless(pieces: int) -> list[Step]:
    return [*(TextDelta("Hello world. ") for _ in range(pieces)), Finished("stop")]


async def test_an_endpoint_that_writes_far_more_than_it_may_is_stopped() -> None:
    driver = ScriptedDriver([endless(20_000)])
    async with world(driver=driver, prices=PRICES) as w:
        conversation = w.send("Hi", max_tokens=MOST)
        ended = await w.turn(conversation)
        assert ended.error is not None
        assert (ended.error.kind, "may" in ended.error.message) == ("cut", True)
        assert driver.running == 0
        [line] = await lines(w)
        bound = OVER * MOST + OVER_TOKENS
        assert (line.outcome, line.estimated) == ("cut", True)
        assert bound < line.usage.output_tokens < 1.2 * bound
        said = [item for item in (await w.tree(conversation)).path() if isinstance(item, Message)]
        assert text_of(said[-1].parts).startswith("Hello world. Hello")


@pytest.mark.parametrize("prices", [None, {"fake/one": priced("0", "0", local=True)}])
async def test_what_costs_nothing_may_write_on(prices: dict[str, object] | None) -> None:
    async with world(endless(2_000), prices=prices) as w:  # type: ignore[arg-type]
        ended = await w.turn(w.send("Hi", max_tokens=MOST))
        assert ended.error is None


class Generous(ScriptedDriver):
    """A driver that lets answers be longer than they were asked for."""

    def most_output(self, request: ChatRequest) -> int:
        return request.max_tokens + 1_000


async def test_what_a_driver_will_ask_for_is_what_is_held() -> None:
    register = Register()
    async with world(driver=Generous([says("Hi")]), meter=register) as w:
        await w.turn(w.send("Hi", max_tokens=MOST))
        assert [one.max_tokens for one in register.held] == [MOST + 1_000]
    async with world(driver=Generous(), prices=PRICES) as w:
        assert (await w.engine.quote("", (), "fake/one")).max_tokens == 8192 + 1_000


async def test_a_warning_is_told_once_whoever_comes_after() -> None:
    ledger = MemoryLedger(now=ManualClock().now)
    warned = 0
    for _ in range(3):  # one process after the other
        reply: list[Step] = [TextDelta("Hi"), Finished("stop", usage=Usage(100, 100))]
        billing = BillingSettings(daily_limit="0.0125", warn_at=0.05)
        async with world(reply, prices=PRICES, ledger=ledger, billing=billing) as w:
            await w.turn(w.send("Hi", max_tokens=MOST))
            warned += sum(isinstance(event, events.LimitWarned) for event in w.seen)
    assert warned == 1


async def test_a_count_that_cannot_be_does_not_bound_what_follows() -> None:
    """Some count only what was not in their cache."""
    replies: list[list[Step]] = [
        [TextDelta("Hi"), Finished("stop", usage=Usage(3, 1))] for _ in range(2)
    ]
    async with world(*replies, prices=PRICES) as w:
        conversation = w.send("word " * 4_000)
        await w.turn(conversation)
        w.send("And?", conversation)
        await w.turn(conversation)
        first, second = await lines(w)
        assert first.estimated
        assert first.held is not None
        assert second.held is not None
        assert second.held > first.held
