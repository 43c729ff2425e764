"""The bounds of the tool loop: rounds, time, repetition; and what helps a call to go well."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from tests.flows.harness import World, calls, fake_tools, says, talking, world
from tests.flows.test_questions import FORM

from patina.mcp.fake import FakeTools
from patina.model import commands, events, items
from patina.model.chat import ToolOutcome
from patina.model.faults import McpFault
from patina.model.ids import new_id
from patina.model.parts import Text, text_of
from patina.model.settings import ChatSettings, PermissionRule, PermissionSettings
from patina.permission.gate import PolicyGate
from patina.ports.dialog import Dialog
from patina.providers.scripted import Pause
from patina.store.memory import MemoryJournal
from patina.views.tool_card import finished_card

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))


def search(query: str) -> Any:
    return calls(("c1", "github__search", f'{{"query":"{query}"}}'))


STEPS = [search(str(number)) for number in range(8)]


def told(w: World) -> list[str]:
    return [text_of(answer.parts) for answer in w.driver.requests[-1].messages[-1].answers]


def chat(**bounds: Any) -> ChatSettings:
    return ChatSettings(**{"turn_time": 0.0, **bounds})


async def rounds_asked(w: World) -> events.PermissionAsked:
    return await w.until(events.PermissionAsked, lambda event: event.item.kind == "rounds")


async def test_after_so_many_replies_a_person_is_asked_whether_to_go_on() -> None:
    replies = [*STEPS[:5], says("Done.")]
    async with world(*replies, tools=fake_tools(), gate=ALLOW, chat=chat(rounds=2)) as w:
        conversation = w.send("go")
        first = await rounds_asked(w)
        assert len(w.driver.requests) == 2
        assert first.item.options == ("allow_once", "deny")
        assert first.item in (await w.tree(conversation)).path()
        w.answer(first, "allow_once")
        w.answer(await rounds_asked(w), "allow_once")
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert len(w.tools.calls) == 5


async def test_who_says_no_ends_the_turn_with_every_call_answered() -> None:
    async with world(*STEPS, tools=fake_tools(), gate=ALLOW, chat=chat(rounds=2)) as w:
        conversation = w.send("go")
        asked = await rounds_asked(w)
        w.answer(asked, "deny", arguments="")
        ended = await w.turn(conversation)
        assert ended.stop_reason == "max_turns"
        assert (await w.tree(conversation)).open_calls() is None
        assert len(w.tools.calls) == 1
        w.answer(asked, "allow_once")
        assert (await w.until(events.CommandFailed)).ref == asked.item.id


@pytest.mark.parametrize("bounds", [{"rounds": 0}, {"rounds": 2, "options": 20}])
async def test_nobody_is_asked_where_the_bound_is_off_or_was_given(bounds: dict[str, int]) -> None:
    given = bounds.pop("options", None)
    replies = [*STEPS[:5], says("Done.")]
    async with world(*replies, tools=fake_tools(), gate=ALLOW, chat=chat(**bounds)) as w:
        conversation = w.send("go", max_replies=given)
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert "permission.asked" not in w.kinds()


async def test_an_interruption_ends_the_question_about_the_turn() -> None:
    async with world(*STEPS, tools=fake_tools(), gate=ALLOW, chat=chat(rounds=1)) as w:
        conversation = w.send("go")
        await rounds_asked(w)
        w.engine.submit(commands.Interrupt(conversation=conversation))
        assert (await w.turn(conversation)).stop_reason == "cancelled"
        assert (await w.tree(conversation)).open_calls() is None


@pytest.mark.parametrize("choice", ["allow_once", "deny"])
async def test_the_question_about_the_turn_outlives_a_restart(choice: Any) -> None:
    journal = MemoryJournal()
    bounds = chat(rounds=1)
    async with world(*STEPS, tools=fake_tools(), gate=ALLOW, chat=bounds, journal=journal) as w:
        conversation = w.send("go")
        before = await rounds_asked(w)
    replies = says("Done.")
    async with world(replies, tools=fake_tools(), gate=ALLOW, chat=bounds, journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        again = await rounds_asked(w)
        assert again.item == before.item
        w.answer(again, choice)
        ended = await w.turn(conversation)
        assert ended.stop_reason == ("stop" if choice == "allow_once" else "max_turns")
        assert len(w.tools.calls) == (choice == "allow_once")


async def test_a_turn_ends_when_its_time_is_over() -> None:
    replies = [[*says("Hello")[:1], Pause.closed()]]
    async with world(*replies, chat=chat(turn_time=60.0)) as w:
        conversation = w.send("go")
        await w.until(events.TextDelta)
        w.clock.advance(60)
        ended = await w.turn(conversation)
        assert ended.stop_reason == "error"
        assert ended.error is not None
        assert ended.error.kind == "timeout"
        assert ended.error.message == "The turn was ended: it took over 60 seconds."
        path = (await w.tree(conversation)).path()
        assert isinstance(path[-1], items.Note)
        assert text_of(path[-2].parts) == "He"  # type: ignore[union-attr]


async def test_a_call_that_runs_when_the_time_is_over_is_answered() -> None:
    async def hang(_: Mapping[str, Any]) -> ToolOutcome:
        await anyio.sleep_forever()
        raise AssertionError

    tools = FakeTools()
    tools.add("a.hang", hang, timeout=1000.0)
    wanted = calls(("c1", "a__hang", "{}"))
    async with world(wanted, tools=tools, gate=ALLOW, chat=chat(turn_time=60.0)) as w:
        conversation = w.send("go")
        await w.until(events.ToolStarted)
        await w.clock_has(2)
        w.clock.advance(60)
        finished = await w.until(events.ToolFinished)
        assert finished.item.status == "interrupted"
        assert (await w.turn(conversation)).stop_reason == "error"
        assert tools.cancelled == ["a.hang"]


async def test_the_time_of_people_does_not_count() -> None:
    async def talk(_: Mapping[str, Any], dialog: Dialog) -> str:
        return (await dialog.ask(FORM)).action

    wanted = calls(("c1", "travel__book", "{}"))
    async with world(wanted, says("ok"), tools=talking(talk), chat=chat(turn_time=60.0)) as w:
        conversation = w.send("go")
        asked = await w.until(events.PermissionAsked)
        w.clock.advance(1000)
        w.answer(asked, "allow_once")
        form = await w.until(events.QuestionAsked)
        w.clock.advance(1000)
        w.give(form, "decline")
        assert (await w.turn(conversation)).stop_reason == "stop"


async def test_the_third_identical_call_in_a_row_is_not_run() -> None:
    same = [
        calls(("c1", "github__search", '{"query": "a"}')),
        calls(("c1", "github__search", '{"query":"a"}')),
    ]
    replies = [*same, *same, says("Enough.")]
    async with world(*replies, tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        assert len(w.tools.calls) == 2
        answers = [text_of(m.answers[0].parts) for m in w.driver.requests[-1].messages if m.answers]
        assert answers[:2] == ["results for a"] * 2
        assert answers[2] == answers[3]
        assert "third time in a row" in answers[2]


async def test_a_call_whose_result_changes_may_go_on() -> None:
    count = 0

    def counting(_: Mapping[str, Any]) -> str:
        nonlocal count
        count += 1
        return str(count)

    replies = [search("a")] * 5
    async with world(*replies, says("ok"), tools=fake_tools(counting), gate=ALLOW) as w:
        await w.turn(w.send("go"))
        assert len(w.tools.calls) == 5


async def test_a_call_between_others_may_be_repeated() -> None:
    edit = [calls(("c1", "github__delete", f'{{"n":{n}}}')) for n in range(4)]
    replies = [step for one in edit for step in (one, search("a"))]
    async with world(*replies, says("ok"), tools=fake_tools(), gate=ALLOW) as w:
        await w.turn(w.send("go"))
        assert len(w.tools.calls) == 8


async def test_transient_failures_may_be_repeated() -> None:
    def away(_: Mapping[str, Any]) -> str:
        raise McpFault("Server github is away.", code="away")

    replies = [search("a")] * 4
    async with world(*replies, says("ok"), tools=fake_tools(away), gate=ALLOW) as w:
        await w.turn(w.send("go"))
        assert len(w.tools.calls) == 4


async def test_the_next_turn_begins_to_count_anew() -> None:
    replies = [search("a"), search("a"), says("1"), search("a"), says("2")]
    async with world(*replies, tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        w.send("again", conversation)
        await w.turn(conversation)
        assert len(w.tools.calls) == 3


async def test_a_call_that_failed_for_the_moment_is_tried_again() -> None:
    working = False

    def flaky(arguments: Mapping[str, Any]) -> str:
        if arguments["query"] == "b" and not working:
            raise McpFault("Server github is away.", code="away")
        return f"results for {arguments['query']}"

    two = calls(
        ("c1", "github__search", '{"query":"a"}'), ("c2", "github__search", '{"query":"b"}')
    )
    tools = fake_tools(flaky)
    async with world(two, says("Half."), says("Whole."), tools=tools, gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        failed = next(
            e.item for e in w.seen if isinstance(e, events.ToolFinished) and e.item.retriable
        )
        card = finished_card(failed)
        assert (card.text, card.mark, card.result_id) == (
            "github.search failed",
            "error",
            failed.id,
        )
        working = True
        w.engine.submit(commands.RetryCall(conversation=conversation, result_id=failed.id))
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert w.tools.calls[2:] == [("github.search", {"query": "b"})]
        assert told(w) == ["results for a", "results for b"]
        tree = await w.tree(conversation)
        said = [item for item in tree.path() if isinstance(item, items.Message)]
        assert [text_of(item.parts) for item in said] == ["go", "", "Whole."]
        assert failed.id in tree  # the branch before is still there
        usages = [n.usage for n in tree.nodes() if isinstance(n, items.Message) and n.usage]
        assert len(usages) <= 3  # that of the copied message is not counted twice


@pytest.mark.parametrize("known", [True, False])
async def test_only_what_may_pass_is_tried_again(known: bool) -> None:
    async with world(search("a"), says("ok"), tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("go")
        finished = await w.until(events.ToolFinished)
        assert not finished.item.retriable
        await w.turn(conversation)
        identifier = finished.item.id if known else new_id()
        w.engine.submit(commands.RetryCall(conversation=conversation, result_id=identifier))
        assert (await w.until(events.CommandFailed)).ref == identifier


async def test_a_timed_out_call_keeps_its_bound_and_may_be_tried_again() -> None:
    async def hang(_: Mapping[str, Any]) -> ToolOutcome:
        await anyio.sleep_forever()
        raise AssertionError

    tools = FakeTools()
    tools.add("a.hang", hang, timeout=45.0)
    async with world(calls(("c1", "a__hang", "{}")), says("ok"), tools=tools, gate=ALLOW) as w:
        w.send("go")
        await w.until(events.ToolStarted)
        await w.clock_has(1)
        w.clock.advance(45)
        finished = await w.until(events.ToolFinished)
        card = finished_card(finished.item)
        assert card.text == finished.text == "a.hang timed out after 45s"
        assert (card.duration_ms, card.retriable) == (45_000, True)


KINDS = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "enum": ["open", "closed"]},
        "limit": {"type": "integer", "minimum": 1},
        "since": {"type": "string", "format": "date"},
        "labels": {"type": "array", "items": {"$ref": "#/$defs/label"}},
    },
    "required": ["state", "limit", "labels"],
    "$defs": {"label": {"type": "string", "examples": ["bug"]}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ('{"state":"all","limit":1,"labels":[]}', '`$.state`: must be one of ["open","closed"]'),
        ('{"state":"open","limit":"1","labels":[]}', "`$.limit`: must be of type integer"),
        ('{"state":"open","limit":1}', 'the required ["labels"] is missing'),
        ('{"state":"open","limit":1,"labels":[],"page":2}', '["page"] is not known'),
        ("{", "not valid JSON"),
    ],
)
async def test_arguments_that_do_not_fit_are_told_with_some_that_do(
    arguments: str, wrong: str
) -> None:
    tools = FakeTools()
    tools.add("github.issues", lambda _: "x", schema=KINDS)
    wanted = calls(("c1", "github__issues", arguments))
    async with world(wanted, says("ok"), tools=tools, gate=ALLOW) as w:
        await w.turn(w.send("go"))
        assert wrong in told(w)[0]
        assert told(w)[0].endswith('For example: {"state":"open","limit":1,"labels":["bug"]}')
        assert w.tools.calls == []


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("github__serch", "Did you mean github__search?"),
        ("search", "Did you mean github__search?"),
        ("github.search_", "Did you mean github__search?"),
        ("weather", "Call one that is listed."),
    ],
)
async def test_a_tool_that_is_not_there_is_answered_with_close_names(name: str, close: str) -> None:
    async with world(calls(("c1", name, "{}")), says("ok"), tools=fake_tools()) as w:
        await w.turn(w.send("go"))
        assert told(w) == [f"There is no tool {name}. {close}"]


def test_an_example_is_made_of_any_schema() -> None:
    from patina.engine.repairing import repair_hint

    tools = FakeTools()
    deep: dict[str, Any] = {"type": "object", "properties": {}, "required": ["a"]}
    deep["properties"]["a"] = {"$ref": "#"}
    odd: list[dict[str, Any]] = [{}, {"type": ["object"]}, {"properties": {"a": {"anyOf": []}}}]
    for schema in (deep, *odd):
        tool = tools.add("a.b", lambda _: "", schema=schema)
        words = repair_hint(tool, McpFault("Wrong.", hint="Once more."), _taking)
        assert words.startswith("Wrong. Once more.")


def _taking(arguments: str) -> Text:
    return Text(arguments)
