"""Limits hold: nothing is sent that could pass one, whoever asks and however many at once."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.flows.harness import World, calls, fake_tools, priced, says, world

from patina.engine.clock import ManualClock
from patina.model import commands, events
from patina.model.chat import Failed, Finished, TextDelta
from patina.model.faults import UNSENT, Failure
from patina.model.items import Ask, Decision, Result
from patina.model.money import Entry, Tariff
from patina.model.settings import BillingSettings, PermissionRule, PermissionSettings
from patina.model.usage import Usage
from patina.permission.gate import PolicyGate
from patina.providers.scripted import Pause, ScriptedDriver, Step
from patina.store.money.ledger import FileLedger
from patina.store.money.memory import MemoryLedger

pytestmark = pytest.mark.anyio

D = Decimal
# With 100 tokens of output a request may cost a bit over 0.10, and costs 0.10 with USED.
PRICES = {"fake/one": priced("100", "500"), "near/one": priced("100", "500")}
ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
USED = Usage(500, 100)
COST = D("0.1")


def answer(usage: Usage = USED) -> list[Step]:
    return [TextDelta("Hello"), Finished("stop", usage=usage)]


async def lines(w: World) -> list[Entry]:
    found: list[Entry] = []

    def take(entries: Sequence[Entry]) -> None:
        found.extend(entries)

    await w.services.meter.entries(take)
    return found


async def ask(
    w: World, conversation: str | None = None, model: str | None = None, **options: Any
) -> events.TurnEnded:
    """Say something that may cost a little over 0.10."""
    options = {"max_tokens": 100, **options}
    return await w.turn(w.send("Hi", conversation, model=model, **options))


def limited(ended: events.TurnEnded) -> tuple[str, str]:
    """The words of the limit that ended a turn, and its hint."""
    assert ended.error is not None, ended
    assert (ended.stop_reason, ended.error.kind) == ("error", "limit")
    return ended.error.message, ended.error.hint


@pytest.mark.parametrize(
    ("billing", "words", "hint"),
    [
        (BillingSettings(request_limit="0.05"), "limit per request of $0.05", "request 0.09"),
        (BillingSettings(turn_limit="0.05"), "limit per turn of $0.05", "turn 0.09"),
        (BillingSettings(conversation_limit="0.05"), "limit per conversation", "conversation 0.09"),
        (BillingSettings(daily_limit="0.05"), "daily limit of $0.05", "daily 0.09"),
        (BillingSettings(monthly_limit="0.05"), "monthly limit of $0.05", "monthly 0.09"),
        (
            BillingSettings(per_model_limits={"fake/one": "0.05"}),
            "monthly limit of $0.05 for fake/one",
            "model:fake/one 0.09",
        ),
        (
            BillingSettings(per_provider_limits={"fake": "0.05"}),
            "monthly limit of $0.05 for fake",
            "provider:fake 0.09",
        ),
    ],
)
async def test_what_may_cost_too_much_is_not_sent(
    billing: BillingSettings, words: str, hint: str
) -> None:  # M-15, M-20
    async with world(prices=PRICES, billing=billing) as w:
        message, raised = limited(await ask(w))
        assert words in message
        assert message.endswith("It was not sent.")
        assert raised == f"Raise it: patina limits set {hint}"
        assert (w.driver.requests, await lines(w)) == ([], [])


async def test_limits_count_what_was_spent_before() -> None:
    async with world(
        *[answer()] * 9, prices=PRICES, billing=BillingSettings(daily_limit="0.35")
    ) as w:
        for _ in range(3):
            assert (await ask(w)).stop_reason == "stop"
        message, _ = limited(await ask(w))
        assert "$0.30 is spent" in message
        assert len(w.driver.requests) == 3


async def test_limits_of_others_do_not_count() -> None:
    billing = BillingSettings(
        per_model_limits={"near/one": "0.05"}, per_provider_limits={"near": "0.05"}
    )
    async with world(answer(), prices=PRICES, billing=billing) as w:
        assert (await ask(w)).stop_reason == "stop"
        limited(await ask(w, model="near/one"))


async def test_each_conversation_and_turn_has_its_own() -> None:
    billing = BillingSettings(conversation_limit="0.15", turn_limit="0.15")
    async with world(*[answer()] * 3, prices=PRICES, billing=billing) as w:
        first = w.send("Hi", max_tokens=100)
        await w.turn(first)
        assert (await ask(w)).stop_reason == "stop"
        message, _ = limited(await ask(w, first))
        assert "per conversation" in message


async def test_local_models_are_under_no_limit_and_still_written_down() -> None:
    local = Tariff(local=True, source="local")
    async with world(
        answer(), prices={"fake/one": local}, billing=BillingSettings(daily_limit="0")
    ) as w:
        assert (await ask(w)).stop_reason == "stop"
        [line] = await lines(w)
        assert (line.cost, line.estimated) == (D(0), False)


async def test_a_turn_that_stops_in_the_middle_keeps_what_its_tools_did() -> None:
    used = Usage(3_000, 20)
    call = [*calls(("c1", "github__search", "{}"))[:-1], Finished("tool_calls", usage=used)]
    billing = BillingSettings(turn_limit="0.35")
    async with world(call, prices=PRICES, billing=billing, tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("Find it", max_tokens=100)
        message, hint = limited(await w.turn(conversation))
        assert "per turn" in message
        assert "limits set turn" in hint
        path = (await w.tree(conversation)).path()
        assert [item.status for item in path if isinstance(item, Result)] == ["completed"]
        assert path[-1].kind == "limit"  # type: ignore[union-attr]
        # Once the limit is raised it goes on where it stopped.
        assert (await w.tree(conversation)).open_calls() is None


async def test_a_budget_is_that_of_its_run() -> None:
    async with world(*[answer()] * 3, prices=PRICES) as w:
        budget: dict[str, Any] = {"budget": D("0.15"), "run": "r1"}
        assert (await ask(w, **budget)).stop_reason == "stop"
        message, hint = limited(await ask(w, **budget))
        assert "the budget of $0.15 for this run" in message
        assert hint == "Give the run more: --budget 0.2"
        assert (await ask(w, budget=D("0.15"), run="r2")).stop_reason == "stop"


async def test_a_budget_needs_a_price() -> None:
    async with world(billing=BillingSettings(on_unknown_price="allow")) as w:
        message, _ = limited(await ask(w, budget=D(100)))
        assert "Nobody knows what fake/one costs, and a budget needs a price" in message
        assert w.driver.requests == []


async def test_titles_and_summaries_are_under_limits_too() -> None:
    long: list[Step] = [TextDelta("word " * 400), Finished("stop", usage=USED)]
    billing = BillingSettings(daily_limit="0.30")
    async with world(long, answer(), prices=PRICES, billing=billing) as w:
        conversation = w.send("Hi", max_tokens=100)
        await w.turn(conversation)
        for command in (
            commands.TitleConversation(conversation=conversation),
            commands.RegenerateReply(conversation=conversation),
        ):
            w.engine.submit(command)
            if isinstance(command, commands.TitleConversation):
                failed = await w.until(events.CommandFailed)
                assert (failed.command, failed.error.kind) == ("conversation.title", "limit")
            else:
                limited(await w.turn(conversation))
        w.send("Go on", conversation, max_tokens=20)
        assert (await w.turn(conversation)).stop_reason == "stop"
        w.engine.submit(commands.SummariseConversation(conversation=conversation))
        failed = await w.until(events.CommandFailed)
        assert (failed.command, failed.error.kind) == ("conversation.summarise", "limit")
        assert len(w.driver.requests) == 2


@pytest.mark.parametrize("files", [False, True])
async def test_fifty_at_once_stay_within_the_cap(files: bool, tmp_path: Path) -> None:  # M-34
    gate = Pause.closed()
    driver = ScriptedDriver([lambda _: [TextDelta("Hi"), gate, Finished("stop", usage=USED)]] * 50)
    clock = ManualClock()
    ledger = FileLedger(tmp_path, tmp_path / "state", "d", now=clock.now) if files else None
    billing = BillingSettings(daily_limit="1")
    async with world(
        driver=driver, prices=PRICES, billing=billing, clock=clock, ledger=ledger
    ) as w:
        for _ in range(50):
            w.send("Hi", max_tokens=100)
        ended = 0
        while ended < 50 - driver.running or not driver.running:
            await w.until(events.TurnEnded)
            ended += 1
        assert 5 <= driver.running == len(driver.requests)
        gate.passed.set()
        while ended < 50:
            await w.until(events.TurnEnded)
            ended += 1
        found = await lines(w)
        assert len(found) == len(driver.requests)
        spent = sum(line.cost or 0 for line in found)
        held = sum(line.held or 0 for line in found)
        assert spent == COST * len(found)
        assert held <= 1
        # What was there was usable: one more would not have fitted.
        assert held + (found[0].held or 0) > 1
    if ledger is not None:
        await ledger.aclose()


async def test_money_of_requests_that_never_left_comes_back() -> None:
    away: list[Step] = [Failed(Failure("network", "Away.", code=UNSENT))]
    billing = BillingSettings(daily_limit="0.15")
    replies = [*[away] * 5, answer()]
    async with world(*replies, prices=PRICES, billing=billing) as w:
        for _ in range(5):
            assert (await ask(w)).error == Failure("network", "Away.", code=UNSENT)
        assert (await ask(w)).stop_reason == "stop"


def alerts(w: World) -> list[events.LimitWarned | events.LimitReached]:
    return [e for e in w.seen if isinstance(e, events.LimitWarned | events.LimitReached)]


async def test_a_warning_comes_once_and_then_the_stop() -> None:  # M-20
    billing = BillingSettings(daily_limit="0.5")
    async with world(*[answer()] * 9, prices=PRICES, billing=billing) as w:
        for _ in range(4):
            await ask(w)
        [warned] = alerts(w)
        assert isinstance(warned, events.LimitWarned)
        assert (warned.share, warned.spent, warned.period) == (D("0.8"), D("0.4"), "2026-01-01")
        assert warned.text == "$0.40 of the daily limit of $0.50 is spent."
        await ask(w)
        limited(await ask(w))
        limited(await ask(w))
        _, reached = alerts(w)
        assert isinstance(reached, events.LimitReached)
        assert (reached.spent, reached.period) == (D("0.5"), "2026-01-01")
        assert reached.hint == "Raise it: patina limits set daily 0.6"


async def test_another_process_does_not_warn_again() -> None:
    ledger = MemoryLedger(now=ManualClock().now)
    billing = BillingSettings(monthly_limit="0.2", warn_at=0.5)
    for expected in (1, 0):
        async with world(answer(), answer(), prices=PRICES, billing=billing, ledger=ledger) as w:
            if expected:
                await ask(w)
            limited(await ask(w, max_tokens=400))
            warned = [e for e in alerts(w) if isinstance(e, events.LimitWarned)]
            assert len(warned) == expected


async def test_a_limit_that_is_only_held_is_not_reached() -> None:
    gate = Pause.closed()
    billing = BillingSettings(daily_limit="0.15")
    async with world(
        [TextDelta("Hi"), gate, Finished("stop", usage=Usage(1, 1))],
        answer(),
        prices=PRICES,
        billing=billing,
    ) as w:
        first = w.send("Hi", max_tokens=100)
        with anyio.fail_after(5):
            await gate.reached.wait()
        message, _ = limited(await ask(w))
        assert "held for requests that are under way" in message
        assert alerts(w) == []
        gate.passed.set()
        await w.turn(first)
        assert (await ask(w)).stop_reason == "stop"


async def test_a_day_ends_and_a_month() -> None:
    clock = ManualClock()  # 2026-01-01T00:00:00Z
    clock.advance(31 * 86_400 - 1)
    billing = BillingSettings(daily_limit="0.15", monthly_limit="0.25")
    async with world(*[answer()] * 5, prices=PRICES, billing=billing, clock=clock) as w:
        assert (await ask(w)).stop_reason == "stop"
        limited(await ask(w))
        clock.advance(1)
        assert (await ask(w)).stop_reason == "stop"
        clock.advance(86_400)
        assert (await ask(w)).stop_reason == "stop"
        clock.advance(86_400)
        message, _ = limited(await ask(w))
        assert "monthly" in message
        assert [line.day for line in await lines(w)] == ["2026-01-31", "2026-02-01", "2026-02-02"]


async def test_a_clock_that_goes_back_moves_no_money() -> None:
    clock = ManualClock()
    clock.advance(86_400 + 60)
    billing = BillingSettings(daily_limit="0.15")
    gate = Pause.closed()
    slow: list[Step] = [TextDelta("Hi"), gate, Finished("stop", usage=USED)]
    async with world(slow, answer(), prices=PRICES, billing=billing, clock=clock) as w:
        conversation = w.send("Hi", max_tokens=100)
        with anyio.fail_after(5):
            await gate.reached.wait()
        clock.advance(-120)
        gate.passed.set()
        await w.turn(conversation)
        [line] = await lines(w)
        assert line.day == "2026-01-02"  # that of its hold
        assert (await ask(w)).stop_reason == "stop"


LIMITED = BillingSettings(daily_limit="5")


async def asked(w: World) -> events.PermissionAsked:
    return await w.until(events.PermissionAsked, lambda event: event.item.kind == "price")


async def test_a_person_is_asked_where_nobody_knows_the_price() -> None:
    async with world(answer(), answer(), billing=LIMITED) as w:
        conversation = w.send("Hi")
        question = await asked(w)
        ask_item = question.item
        assert (ask_item.display_name, ask_item.options) == (
            "fake/one",
            ("allow_once", "allow_session", "deny"),
        )
        assert ask_item.reason == (
            "Nobody knows what fake/one costs, and the daily limit of $5.00 applies. "
            "It was not sent."
        )
        assert w.driver.requests == []
        w.answer(question, "allow_once")
        assert (await w.turn(conversation)).stop_reason == "stop"
        path = (await w.tree(conversation)).path()
        assert [type(item) for item in path[1:3]] == [Ask, Decision]
        # Once is once.
        w.send("Again", conversation)
        w.answer(await asked(w), "deny", "too dear")
        message, hint = limited(await w.turn(conversation))
        assert "Nobody knows what fake/one costs" in message
        assert hint.endswith("patina config set billing.on_unknown_price allow")
        assert len(w.driver.requests) == 1


async def test_always_is_for_the_conversation_and_its_titles() -> None:
    async with world(*[answer()] * 4, billing=LIMITED) as w:
        conversation = w.send("Hi")
        w.answer(await asked(w), "allow_session")
        await w.turn(conversation)
        w.send("Again", conversation)
        assert (await w.turn(conversation)).stop_reason == "stop"
        w.engine.submit(commands.TitleConversation(conversation=conversation))
        await w.until(events.MetaChanged, lambda event: bool(event.item.title))
        other = w.send("Hi")
        w.answer(await asked(w), "deny")
        limited(await w.turn(other))
        assert [line.cost for line in await lines(w)] == [None] * 3


async def test_the_question_can_be_interrupted() -> None:
    async with world(billing=LIMITED) as w:
        conversation = w.send("Hi")
        await asked(w)
        w.engine.submit(commands.Interrupt(conversation=conversation))
        assert (await w.turn(conversation)).stop_reason == "cancelled"
        assert w.driver.requests == []


async def test_an_unknown_price_may_be_allowed_or_refused() -> None:
    billing = BillingSettings(daily_limit="5", on_unknown_price="allow")
    async with world(answer(), billing=billing) as w:
        assert (await ask(w)).stop_reason == "stop"
    async with world(billing=BillingSettings(on_unknown_price="refuse")) as w:
        message, _ = limited(await ask(w))
        assert "billing.on_unknown_price is refuse" in message
        assert w.driver.requests == []


async def test_without_a_limit_nobody_is_asked() -> None:
    async with world(says("Hello")) as w:
        assert (await ask(w)).stop_reason == "stop"


async def test_a_limit_that_is_used_up_stops_what_has_no_price() -> None:
    billing = BillingSettings(daily_limit="0.1", on_unknown_price="allow")
    prices = {"fake/one": PRICES["fake/one"]}
    async with world(answer(), prices=prices, billing=billing) as w:
        assert (await ask(w, max_tokens=20)).stop_reason == "stop"  # costs 0.10
        message, _ = limited(await ask(w, model="other/one"))
        assert "is used up" in message


async def test_a_quote_names_the_limit_that_would_stop_it() -> None:
    async with world(prices=PRICES, billing=BillingSettings(request_limit="0.05")) as w:
        quote = await w.engine.quote("", (), "fake/one")
        assert quote.blocked is not None
        assert quote.blocked.limit.kind == "request"
