"""Every request is paid for: held before it leaves, booked whatever becomes of it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import anyio
import pytest
from tests.flows.harness import World, calls, fake_tools, priced, talking, world

from patina.engine.clock import ManualClock
from patina.engine.paying import TELL_EVERY
from patina.mcp.fake import FakeTools
from patina.model import commands, events
from patina.model.chat import ChatRequest, Failed, Finished, TextDelta, ThinkingDelta
from patina.model.faults import UNSENT, Failure, FaultKind
from patina.model.items import Message, ReplyStart
from patina.model.money import Entry
from patina.model.parts import Spoken, Text
from patina.model.questions import Sampling
from patina.model.settings import PermissionRule, PermissionSettings, ServerSettings
from patina.model.usage import Cost, Usage
from patina.permission.gate import PolicyGate
from patina.ports.dialog import Dialog
from patina.providers.scripted import Pause, Step
from patina.store.money.memory import MemoryLedger

pytestmark = pytest.mark.anyio

D = Decimal
PRICES = {"fake/one": priced("2", "10"), "near/one": priced("1", "5")}
ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
USED = Usage(1_000, 200)
COST = D("0.004")


def answer(text: str = "Hello", usage: Usage | None = USED, **more: Any) -> list[Step]:
    return [TextDelta(text), Finished("stop", usage=usage, **more)]


async def lines(w: World) -> list[Entry]:
    """The ledger, oldest first."""
    found: list[Entry] = []

    def take(entries: Sequence[Entry]) -> None:
        found.extend(entries)

    await w.services.meter.entries(take)
    return found


async def test_each_request_has_a_line_with_purpose_tokens_and_cost() -> None:  # M-14
    call = [*calls(("c1", "github__search", '{"query": "x"}'))[:-1]]
    call.append(Finished("tool_calls", usage=Usage(900, 50)))
    async with world(call, answer(), prices=PRICES, tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("Find x")
        await w.turn(conversation)
        first, second = await lines(w)
        assert (first.purpose, first.usage, first.cost) == ("chat", Usage(900, 50), D("0.0023"))
        assert (second.purpose, second.usage, second.cost) == ("tools", USED, COST)
        tree = await w.tree(conversation)
        asked, *answers = [item for item in tree.path() if isinstance(item, Message)]
        for line in (first, second):
            assert (line.conversation, line.turn) == (conversation, asked.id)
            assert (line.provider, line.model, line.outcome) == ("fake", "one", "done")
            assert (line.source, line.price_date, line.estimated) == ("test", "2026-01-01", False)
            assert line.held is not None
            assert line.cost is not None
            assert line.cost < line.held
        assert [item.cost for item in answers] == [
            Cost(D("0.0023"), "test"),
            Cost(COST, "test"),
        ]
        starts = [
            item
            for item in (await w.services.journal.read(conversation)).items
            if isinstance(item, ReplyStart)
        ]
        assert [item.hold for item in starts] == [first.id, second.id]


async def samples(arguments: object, dialog: Dialog) -> str:
    await dialog.sample("travel", Sampling(messages=(Spoken("user", (Text("Hi"),)),), max_tokens=9))
    return "done"


async def test_whoever_asks_a_model_is_in_the_ledger() -> None:
    book = [*calls(("c1", "travel__book", "{}"))[:-1], Finished("tool_calls", usage=USED)]
    async with world(
        book,
        answer("Grüezi"),
        answer("Booked"),
        answer("A title"),
        answer("Again"),
        answer("More"),
        answer("short"),
        prices=PRICES,
        tools=talking(samples),
        gate=ALLOW,
        servers={"travel": ServerSettings(sampling="allow")},
    ) as w:
        conversation = w.send("Book it")
        await w.turn(conversation)
        w.engine.submit(commands.TitleConversation(conversation=conversation))
        await w.until(events.MetaChanged, lambda event: bool(event.item.title))
        w.engine.submit(commands.RegenerateReply(conversation=conversation))
        await w.turn(conversation)
        w.send("And then?", conversation)
        await w.turn(conversation)
        w.engine.submit(commands.SummariseConversation(conversation=conversation))
        await w.until(events.NoteAdded, lambda event: event.item.covers is not None)
        found = await lines(w)
        assert [(line.purpose, line.server) for line in found] == [
            ("chat", ""),
            ("sampling", "travel"),
            ("tools", ""),
            ("title", ""),
            ("retry", ""),
            ("chat", ""),
            ("summary", ""),
        ]
        assert {line.conversation for line in found} == {conversation}
        assert all(line.cost == COST for line in found)
        assert len(w.driver.requests) == len(found)
        assert found[1].turn == found[0].turn


async def test_deleting_a_conversation_keeps_its_money() -> None:
    async with world(answer(), prices=PRICES) as w:
        conversation = w.send("Hi")
        await w.turn(conversation)
        w.engine.submit(commands.EraseConversation(conversation=conversation))
        await w.until(events.ConversationErased)
        [line] = await lines(w)
        assert (line.conversation, line.cost) == (conversation, COST)


async def test_without_usage_the_estimate_says_so() -> None:
    async with world(answer("Hello " * 100, usage=None), prices=PRICES) as w:
        conversation = w.send("Hi " * 500)
        await w.turn(conversation)
        [line] = await lines(w)
        assert line.estimated
        assert 300 < line.usage.input_tokens < 700
        assert 100 <= line.usage.output_tokens <= 200
        said = [item for item in (await w.tree(conversation)).path() if isinstance(item, Message)]
        assert said[-1].cost == Cost(line.cost or D(-1), "test", estimated=True)


@pytest.mark.parametrize("usage", [Usage(-1, 5), Usage(10, 2, cache_read_tokens=99)])
async def test_usage_that_cannot_be_does_no_harm(usage: Usage) -> None:
    async with world(answer(usage=usage), prices=PRICES) as w:
        await w.turn(w.send("Hi"))
        [line] = await lines(w)
        assert line.estimated
        assert (line.cost or 0) > 0


async def test_absurd_usage_is_booked_at_what_was_held() -> None:
    async with world(answer(usage=Usage(10**9, 10**9)), prices=PRICES) as w:
        await w.turn(w.send("Hi"))
        [line] = await lines(w)
        assert (line.cost, line.estimated) == (line.held, True)


async def test_an_unknown_price_is_unknown_and_not_nothing() -> None:
    async with world(answer()) as w:
        conversation = w.send("Hi")
        await w.turn(conversation)
        [line] = await lines(w)
        assert (line.cost, line.held, line.usage) == (None, None, USED)
        [total] = await w.services.meter.sums("model")
        assert (total.cost, total.unknown) == (D(0), 1)


async def test_the_providers_own_figure_and_its_tier() -> None:
    billed = answer(billed=D("0.0031"), tier="priority")
    async with world(billed, prices=PRICES) as w:
        await w.turn(w.send("Hi"))
        [line] = await lines(w)
        assert (line.cost, line.source, line.tier) == (D("0.0031"), "fake", "priority")


async def test_an_interrupted_answer_costs_what_came_of_it() -> None:
    gate = Pause.closed()
    long: list[Step] = [ThinkingDelta("Well. " * 50), TextDelta("Hello " * 100), gate]
    async with world(long, prices=PRICES) as w:
        conversation = w.send("Hi")
        with anyio.fail_after(5):
            await gate.reached.wait()
        w.engine.submit(commands.Interrupt(conversation=conversation))
        await w.turn(conversation)
        [line] = await lines(w)
        assert (line.outcome, line.estimated) == ("cancelled", True)
        assert 200 <= line.usage.output_tokens <= 300
        assert line.usage.input_tokens > 0


@pytest.mark.parametrize(
    ("failure", "outcome", "costs"),
    [
        (Failure("network", "Away.", code=UNSENT), "void", False),
        (Failure("auth", "No.", status=401), "void", False),
        (Failure("rate_limit", "Slow.", status=429), "failed", False),
        (Failure("server", "Broken.", status=500), "failed", False),
        (Failure("network", "It may have begun."), "failed", True),
        (Failure("timeout", "Slow."), "cut", True),
        (Failure("cut", "Gone."), "cut", True),
    ],
)
async def test_failures_cost_what_a_provider_may_ask_for(
    failure: Failure, outcome: str, costs: bool
) -> None:
    async with world([Failed(failure)], prices=PRICES) as w:
        await w.turn(w.send("Hi"))
        [line] = await lines(w)
        assert (line.outcome, bool(line.cost)) == (outcome, costs)
        standing = await w.services.meter.sums("day")
        assert bool(standing) == (outcome != "void")


@pytest.mark.parametrize("kind", ["server", "rate_limit", "content_filter"])
async def test_what_came_before_a_failure_costs(kind: FaultKind) -> None:
    reply: list[Step] = [TextDelta("Hello " * 10), Failed(Failure(kind, "x"), usage=Usage(50, 1))]
    async with world(reply, prices=PRICES) as w:
        await w.turn(w.send("Hi"))
        [line] = await lines(w)
        assert (line.outcome, line.usage.input_tokens) == ("failed", 50)
        assert line.usage.output_tokens >= 10


async def test_a_driver_that_errs_leaves_no_hold_open() -> None:
    def broken(request: ChatRequest) -> list[Step]:
        raise ZeroDivisionError

    from patina.providers.scripted import ScriptedDriver

    async with world(driver=ScriptedDriver([broken]), prices=PRICES) as w:
        await w.turn(w.send("Hi"))
        [line] = await lines(w)
        assert line.outcome == "failed"


async def test_the_cost_so_far_is_told_while_an_answer_comes() -> None:
    clock = ManualClock()
    gates = [Pause.closed() for _ in range(3)]
    reply: list[Step] = [TextDelta("Hello " * 50)]
    for gate in gates:
        reply += [gate, TextDelta("Hello " * 50), TextDelta("Hello")]
    reply.append(Finished("stop", usage=USED))
    async with world(reply, prices=PRICES, clock=clock) as w:
        conversation = w.send("Hi")
        for gate in gates:
            with anyio.fail_after(5):
                await gate.reached.wait()
            clock.advance(TELL_EVERY)
            gate.passed.set()
        await w.turn(conversation)
        told = [event for event in w.seen if isinstance(event, events.CostChanged)]
        assert len(told) == 3  # one for each quarter of a second
        amounts = [event.cost.amount for event in told]
        assert amounts == sorted(amounts)
        assert all(event.cost.estimated for event in told)
        final = [event for event in w.seen if isinstance(event, events.MessageAdded)][-1]
        assert {event.item_id for event in told} == {final.item.id}


async def test_nothing_is_told_where_nobody_knows_the_price() -> None:
    clock = ManualClock()
    gate = Pause.closed()
    async with world([TextDelta("a"), gate, TextDelta("b"), Finished("stop")], clock=clock) as w:
        conversation = w.send("Hi")
        with anyio.fail_after(5):
            await gate.reached.wait()
        clock.advance(1)
        gate.passed.set()
        await w.turn(conversation)
        assert not [event for event in w.seen if isinstance(event, events.CostChanged)]


async def test_what_was_counted_makes_the_next_hold_smaller() -> None:
    ledger = MemoryLedger(now=ManualClock().now)
    long = "word " * 4_000
    replies = [answer(usage=Usage(4_100, 10)), answer(usage=Usage(4_120, 10))]
    async with world(*replies, prices=PRICES, ledger=ledger) as w:
        conversation = w.send(long)
        await w.turn(conversation)
        w.send("And?", conversation)
        await w.turn(conversation)
        first, second = (line.held for line in await lines(w))
        assert first is not None
        assert second is not None
        # 20,000 bytes against 4,100 tokens that the provider had counted.
        assert first - second > D("0.02")


async def test_a_quote_says_what_a_message_would_cost() -> None:  # M-12
    async with world(answer(usage=Usage(1_000, 5)), prices=PRICES, tools=FakeTools()) as w:
        quote = await w.engine.quote("", (Text("Hi " * 1_000),), "fake/one")
        assert quote.likely is not None
        assert quote.most is not None
        assert D("0.005") < quote.likely < D("0.01")
        assert quote.likely < quote.most < D("0.1")
        assert (quote.max_tokens, quote.blocked) == (8192, None)
        unknown = await w.engine.quote("", (Text("Hi"),), "other/one")
        assert (unknown.likely, unknown.most) == (None, None)
        conversation = w.send("Hi")
        await w.turn(conversation)
        later = await w.engine.quote(conversation, (Text("More"),))
        assert 1_000 <= later.input < 1_100
        assert len(w.driver.requests) == 1
