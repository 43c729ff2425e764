"""Tool calls inside a turn: checked, decided, run, answered, each step on disk and told."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from tests.flows.harness import calls, fake_tools, says, world

from patina.engine.context import PREAMBLE
from patina.model import commands, events, items
from patina.model.chat import Finished, ToolCallDelta, ToolOutcome
from patina.model.faults import McpFault
from patina.model.parts import Text, text_of
from patina.model.settings import ChatSettings, PermissionRule, PermissionSettings
from patina.permission.approvals import parse_approvals
from patina.permission.gate import PolicyGate
from patina.providers.scripted import Pause, Step

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
SEARCH = calls(("c1", "github__search", '{"query":"rust"}'))


async def test_a_call_is_run_and_its_result_goes_back_to_the_model() -> None:  # C-04, A-26, A-27
    async with world(SEARCH, says("Found."), tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("find rust")
        ended = await w.turn(conversation)
        assert ended.stop_reason == "stop"
        texts = [e.text for e in w.seen if isinstance(e, events.ToolStarted | events.ToolFinished)]
        assert texts == ["Using github.search...", "github.search completed"]
        first, second = w.driver.requests
        assert [tool.name for tool in first.tools] == ["github__delete", "github__search"]
        call, answer = second.messages[1:]
        assert call.parts[0].name == "github__search"  # type: ignore[union-attr]
        assert answer.answers[0].parts == (Text("results for rust"),)
        assert w.kinds() == [
            "conversation.created",
            "meta.changed",
            "message.added",
            "turn.started",
            "reply.started",
            "message.added",
            "permission.decided",
            "tool.started",
            "tool.finished",
            "reply.started",
            "message.added",
            "turn.ended",
        ]


async def test_calls_and_results_are_items_of_their_own() -> None:  # C-05, C-06
    async with world(SEARCH, says("Found."), tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("find rust")
        await w.turn(conversation)
        path = (await w.tree(conversation)).path()
        assert [type(item).__name__ for item in path] == [
            "Message",
            "Message",
            "Decision",
            "Call",
            "Result",
            "Message",
        ]
        assert path[1].parts[0].arguments == '{"query":"rust"}'  # type: ignore[union-attr]
        assert path[2].rule == "permissions.rules[4b625801]"  # type: ignore[union-attr]


async def test_the_call_is_on_disk_before_it_runs() -> None:
    seen: list[str] = []

    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        tree = await w.tree(conversation)
        seen.append(type(tree.path()[-1]).__name__)
        return ToolOutcome((Text("x"),))

    async with world(SEARCH, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
    assert seen == ["Call"]


async def test_the_system_prompt_lists_the_tools() -> None:  # A-25, C-08
    chat = ChatSettings(system="Base.")
    async with world(says("ok"), says("ok"), tools=fake_tools(), chat=chat) as w:
        conversation = w.send("with")
        await w.turn(conversation)
        w.send("without", conversation, servers=())
        await w.turn(conversation)
        with_tools, without = (request.system for request in w.driver.requests)
        assert without == "Base."
        assert with_tools == (
            f"Base.\n\n{PREAMBLE}\n\nAvailable tools:\n- github.delete: Delete a repository\n"
            "- github.search: Search GitHub repositories"
        )
        assert w.driver.requests[1].tools == ()


async def test_a_question_blocks_the_call_until_it_is_answered() -> None:  # C-17, C-19
    async with world(SEARCH, says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        asked = await w.until(events.PermissionAsked)
        assert (asked.item.server, asked.item.tool) == ("github", "search")
        assert asked.item.display_name == "GitHub"
        assert asked.item.options == ("allow_once", "allow_session", "deny")
        assert not [e for e in w.seen if isinstance(e, events.ToolStarted)]
        w.answer(asked, "allow_once")
        await w.until(events.ToolStarted)
        await w.turn(conversation)


async def test_a_denial_is_an_item_the_model_sees() -> None:  # C-19
    async with world(SEARCH, says("Then not."), tools=fake_tools()) as w:
        conversation = w.send("go")
        w.answer(await w.until(events.PermissionAsked), "deny", "Not today.")
        finished = await w.until(events.ToolFinished)
        assert (finished.item.status, finished.text) == ("denied", "github.search denied")
        ended = await w.turn(conversation)
        assert ended.stop_reason == "stop"
        told = w.driver.requests[-1].messages[-1].answers[0]
        assert told.status == "denied"
        assert text_of(told.parts) == "The user denied this call of github.search. Not today."
        assert w.tools.calls == []


async def test_a_grant_for_the_session_holds_in_this_conversation_only() -> None:  # C-18
    async with world(
        SEARCH, says("1"), SEARCH, says("2"), SEARCH, says("3"), tools=fake_tools()
    ) as w:
        conversation = w.send("go")
        w.answer(await w.until(events.PermissionAsked), "allow_session")
        await w.turn(conversation)
        w.send("again", conversation)
        await w.turn(conversation)
        decided = [e.item.rule for e in w.seen if isinstance(e, events.PermissionDecided)]
        assert decided == ["user", "session"]
        w.send("elsewhere")
        await w.until(events.PermissionAsked)


async def test_only_the_first_answer_counts() -> None:
    async with world(SEARCH, says("ok"), tools=fake_tools()) as w:
        w.send("go")
        asked = await w.until(events.PermissionAsked)
        w.answer(asked, "deny")
        w.answer(asked, "allow_once")
        failed = await w.until(events.CommandFailed)
        assert failed.ref == asked.item.id
        decided = [e.item.choice for e in w.seen if isinstance(e, events.PermissionDecided)]
        assert decided in ([], ["deny"])


async def test_a_tool_that_reports_an_error_has_failed() -> None:
    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        return ToolOutcome((Text("no such repository"),), is_error=True)

    async with world(SEARCH, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        w.send("go")
        finished = await w.until(events.ToolFinished)
        assert (finished.item.status, finished.text) == ("failed", "github.search failed")
        assert text_of(finished.item.parts) == "no such repository"


async def test_a_json_rpc_error_is_shown_and_told_to_the_model() -> None:  # A-30 C-21
    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        raise McpFault("github said: rate limited.", code="-32000")

    async with world(SEARCH, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        conversation = w.send("go")
        finished = await w.until(events.ToolFinished)
        assert text_of(finished.item.parts) == "github said: rate limited. (error -32000)"
        await w.turn(conversation)
        assert w.driver.requests[-1].messages[-1].answers[0].status == "failed"


async def test_a_code_in_words_is_for_programs() -> None:
    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        raise McpFault("Server github wants you to sign in.", hint="Sign in.", code="sign_in")

    async with world(SEARCH, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        w.send("go")
        finished = await w.until(events.ToolFinished)
        assert text_of(finished.item.parts) == "Server github wants you to sign in. Sign in."


async def test_a_tool_that_takes_too_long_times_out() -> None:
    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        await anyio.sleep_forever()
        raise AssertionError

    async with world(SEARCH, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.until(events.ToolStarted)
        await w.clock_has(1)
        w.clock.advance(29.9)
        w.clock.advance(0.1)
        finished = await w.until(events.ToolFinished)
        assert finished.item.status == "timed_out"
        assert finished.text == "github.search timed out after 30s"
        assert finished.item.duration_ms == 30_000
        assert (await w.turn(conversation)).stop_reason == "stop"


@pytest.mark.parametrize(
    ("alias", "arguments", "told"),
    [
        ("github__nothing", "{}", "There is no tool github__nothing."),
        ("github__search", '{"query":', "not valid JSON"),
        ("github__search", '{"query":1}', "query"),
        ("github__search", "[]", "object"),
    ],
)
async def test_a_call_that_cannot_be_run_is_answered_with_the_reason(
    alias: str, arguments: str, told: str
) -> None:
    async with world(calls(("c1", alias, arguments)), says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        finished = await w.until(events.ToolFinished)
        assert finished.item.status == "failed"
        assert told in text_of(finished.item.parts)
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert not [e for e in w.seen if isinstance(e, events.PermissionAsked)]


async def test_calls_of_one_message_run_side_by_side_and_answer_in_order() -> None:
    running = 0
    together = anyio.Event()

    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        nonlocal running
        running += 1
        if running == 3:
            together.set()
        await together.wait()
        return ToolOutcome((Text(arguments["query"]),))

    wanted = calls(*((f"c{n}", "github__search", f'{{"query":"{n}"}}') for n in range(3)))
    async with world(wanted, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        answers = w.driver.requests[-1].messages[-1].answers
        assert [text_of(answer.parts) for answer in answers] == ["0", "1", "2"]


async def test_call_ids_that_an_endpoint_leaves_out_or_repeats_are_made_unique() -> None:
    reply: list[Step] = [
        ToolCallDelta(0, "", "github__search", '{"query":"a"}'),
        ToolCallDelta(1, "x", "github__search", '{"query":"b"}'),
        ToolCallDelta(2, "x", "github__search", '{"query":"c"}'),
        Finished("tool_calls"),
    ]
    async with world(reply, says("ok"), tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        answers = w.driver.requests[-1].messages[-1].answers
        assert len({answer.call_id for answer in answers}) == 3
        assert [text_of(answer.parts)[-1] for answer in answers] == ["a", "b", "c"]


async def test_the_turn_ends_after_so_many_replies_with_every_call_answered() -> None:
    async with world(SEARCH, SEARCH, tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("go", max_replies=2)
        ended = await w.turn(conversation)
        assert ended.stop_reason == "max_turns"
        assert (await w.tree(conversation)).open_calls() is None
        assert len(w.tools.calls) == 1


async def test_the_turn_ends_after_so_many_calls() -> None:
    chat = ChatSettings(tool_calls=2)
    async with world(*[SEARCH] * 5, tools=fake_tools(), gate=ALLOW, chat=chat) as w:
        conversation = w.send("go")
        ended = await w.turn(conversation)
        assert ended.stop_reason == "tool_calls_limit"
        assert len(w.tools.calls) == 2
        assert (await w.tree(conversation)).open_calls() is None


async def test_approvals_of_the_run_answer_in_advance() -> None:
    gate = PolicyGate(PermissionSettings(), parse_approvals("deny"))
    async with world(SEARCH, says("ok"), tools=fake_tools(), gate=gate) as w:
        conversation = w.send("go")
        ended = await w.turn(conversation)
        assert ended.stop_reason == "stop"
        decided = next(e.item for e in w.seen if isinstance(e, events.PermissionDecided))
        assert (decided.choice, decided.rule) == ("deny", "--approve deny")


async def interrupted(conversation: str) -> commands.Interrupt:
    return commands.Interrupt(conversation=conversation, reason="Stop.")


async def test_an_interruption_while_a_tool_runs_answers_its_call() -> None:
    running, cancelled = anyio.Event(), anyio.Event()

    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        running.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    async with world(SEARCH, tools=fake_tools(search), gate=ALLOW) as w:
        conversation = w.send("go")
        with anyio.fail_after(5):
            await running.wait()
        w.engine.submit(await interrupted(conversation))
        ended = await w.turn(conversation)
        assert ended.stop_reason == "cancelled"
        assert cancelled.is_set()
        finished = [e.item for e in w.seen if isinstance(e, events.ToolFinished)]
        assert [item.status for item in finished] == ["interrupted"]


async def test_an_interruption_during_a_question_answers_its_call() -> None:
    async with world(SEARCH, says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        asked = await w.until(events.PermissionAsked)
        w.engine.submit(await interrupted(conversation))
        assert (await w.turn(conversation)).stop_reason == "cancelled"
        assert (await w.tree(conversation)).open_calls() is None
        w.answer(asked, "allow_once")
        assert (await w.until(events.CommandFailed)).ref == asked.item.id


async def test_an_interruption_while_the_model_speaks_keeps_what_it_said() -> None:
    async with world([*says("Hello")[:1], Pause.closed()]) as w:
        conversation = w.send("go")
        await w.until(events.TextDelta)
        w.engine.submit(await interrupted(conversation))
        assert (await w.turn(conversation)).stop_reason == "cancelled"
        answer = (await w.tree(conversation)).path()[-1]
        assert isinstance(answer, items.Message)
        assert (text_of(answer.parts), answer.partial) == ("He", True)


async def test_closing_the_engine_ends_its_turns_in_good_order() -> None:
    async with world([*says("Hello")[:1], Pause.closed()]) as w:
        conversation = w.send("go")
        await w.until(events.TextDelta)
    answer = (await w.tree(conversation)).path()[-1]
    assert isinstance(answer, items.Message)
    assert (text_of(answer.parts), answer.stop_reason) == ("He", "cancelled")
