"""What a server asks while a call runs: shown, answered once, recorded, and never for secrets."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from tests.flows.harness import calls, says, talking, world

from patina.model import commands, events, items
from patina.model.chat import TextDelta
from patina.model.faults import PermissionFault
from patina.model.ids import new_id
from patina.model.parts import Spoken, Text, text_of
from patina.model.questions import Answered, Asked, Sampling
from patina.model.settings import PermissionRule, PermissionSettings
from patina.model.tree import Tree
from patina.permission.gate import PolicyGate
from patina.ports.dialog import Dialog
from patina.providers.scripted import Pause, Step
from patina.views.conversation import rows

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
BOOK = calls(("c1", "travel__book", "{}"))
DAY = {
    "type": "object",
    "properties": {"day": {"type": "string", "format": "date", "title": "Day"}},
    "required": ["day"],
}
FORM = Asked(kind="form", text="Which day?", form=DAY)


async def asks_a_day(arguments: Mapping[str, Any], dialog: Dialog) -> str:
    answered = await dialog.ask(FORM)
    return f"{answered.action} {answered.content.get('day', '')}".strip()


def result(seen: list[events.AnyEvent]) -> items.Result:
    return next(e.item for e in reversed(seen) if isinstance(e, events.ToolFinished))


async def test_a_form_is_on_disk_before_it_is_shown_and_its_answer_goes_to_the_server() -> None:
    async with world(BOOK, says("Booked."), tools=talking(asks_a_day), gate=ALLOW) as w:
        conversation = w.send("book it")
        asked = await w.until(events.QuestionAsked)
        assert asked.item.asked == FORM
        assert (asked.item.server, asked.item.call_id) == ("travel", "c1")
        assert asked.item in (await w.tree(conversation)).path()
        w.give(asked, day="2026-12-01")
        answered = await w.until(events.QuestionAnswered)
        assert answered.item.question == asked.item.id
        assert answered.item.rule == "user"
        ended = await w.turn(conversation)
        assert ended.stop_reason == "stop"
        assert text_of(result(w.seen).parts) == "accept 2026-12-01"


async def test_the_transcript_replays_to_the_view_of_the_live_events() -> None:
    async with world(BOOK, says("Booked."), tools=talking(asks_a_day), gate=ALLOW) as w:
        conversation = w.send("book it")
        w.give(await w.until(events.QuestionAsked), day="2026-12-01")
        await w.turn(conversation)
        live = Tree(e.item for e in w.seen if hasattr(e, "item"))
        replayed = rows(await w.tree(conversation))
        assert rows(live) == replayed
        question = next(row for row in replayed if row.kind == "question")
        assert question.text == "Which day?\nday: 2026-12-01"
        assert (question.name, question.state) == ("travel", "accept")


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_declining_and_cancelling_give_no_values(action: Any) -> None:
    async with world(BOOK, says("ok"), tools=talking(asks_a_day), gate=ALLOW) as w:
        conversation = w.send("book it")
        w.give(await w.until(events.QuestionAsked), action, day="2026-12-01")
        await w.turn(conversation)
        assert text_of(result(w.seen).parts) == action


async def test_values_that_do_not_fit_leave_the_question_open() -> None:
    async with world(BOOK, says("ok"), tools=talking(asks_a_day), gate=ALLOW) as w:
        conversation = w.send("book it")
        asked = await w.until(events.QuestionAsked)
        w.give(asked, day="tomorrow")
        failed = await w.until(events.CommandFailed)
        assert failed.ref == asked.item.id
        assert failed.error.message == "Day must be a date such as 2026-12-31."
        w.give(asked, day="2026-12-01")
        w.give(asked, "decline")  # the first answer counts
        assert (await w.until(events.CommandFailed)).ref == asked.item.id
        await w.turn(conversation)
        assert text_of(result(w.seen).parts) == "accept 2026-12-01"


async def test_a_question_is_told_again_to_who_opens_the_conversation() -> None:
    async with world(BOOK, says("ok"), tools=talking(asks_a_day), gate=ALLOW) as w:
        conversation = w.send("book it")
        first = await w.until(events.QuestionAsked)
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        again = await w.until(events.QuestionAsked)
        assert again.item == first.item
        w.give(again, "decline")
        await w.turn(conversation)


async def test_an_interruption_closes_a_question_that_a_connection_asks() -> None:
    got: list[Answered] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as connection:

            async def on_connection(dialog: Dialog) -> None:
                got.append(await dialog.ask(FORM))
                got.append(await dialog.ask(FORM))  # after the end of the call

            async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
                connection.start_soon(on_connection, dialog)
                await anyio.sleep_forever()
                return ""

            async with world(BOOK, tools=talking(talk), gate=ALLOW) as w:
                conversation = w.send("book it")
                asked = await w.until(events.QuestionAsked)
                w.engine.submit(commands.Interrupt(conversation=conversation))
                answered = await w.until(events.QuestionAnswered)
                assert answered.item.question == asked.item.id
                assert answered.item.rule == "interrupted"
                ended = await w.turn(conversation)
                assert ended.stop_reason == "cancelled"
                assert result(w.seen).status == "interrupted"
                w.give(asked, day="2026-12-01")
                assert (await w.until(events.CommandFailed)).ref == asked.item.id
    assert got == [Answered(action="cancel"), Answered(action="cancel")]


async def test_a_question_that_its_server_withdraws_is_closed() -> None:
    async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
        with anyio.CancelScope() as asking:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(dialog.ask, FORM)
                await withdrawn.wait()
                asking.cancel()
        return "never mind"

    withdrawn = anyio.Event()
    async with world(BOOK, says("ok"), tools=talking(talk), gate=ALLOW) as w:
        conversation = w.send("book it")
        await w.until(events.QuestionAsked)
        withdrawn.set()
        answered = await w.until(events.QuestionAnswered)
        assert (answered.item.rule, answered.item.answered.action) == ("withdrawn", "cancel")
        await w.turn(conversation)
        assert result(w.seen).status == "completed"


def form(**properties: object) -> Asked:
    return Asked(kind="form", text="Please.", form={"type": "object", "properties": properties})


@pytest.mark.parametrize(
    ("asked", "rule", "said"),
    [
        (form(password={"type": "string"}), "no secrets", "password"),
        (form(a={"type": "string", "title": "API key"}), "no secrets", "secret"),
        (form(a={"type": "string", "format": "password"}), "no secrets", "secret"),
        (form(a={"type": "object"}), "bad form", "of the type 'object'"),
        (Asked(kind="form", text="x", form={"properties": {"\ud800": 1}}), "bad form", "no JSON"),
        (Asked(kind="form", text="x", form={"title": "x" * 600_000}), "too long", "too long"),
        (Asked(kind="url", text="x", url="http://example.org/"), "unsafe address", "encrypted"),
        (Asked(kind="url", text="x", url="javascript:alert(1)"), "unsafe address", "of the web"),
        (
            Asked(kind="url", text="x", url="https://" + "u:p" + "@a.org/"),
            "unsafe address",
            "password",
        ),
        (Asked(kind="url", text="x", url="https://a.org\\@b.org/"), "unsafe address", "no address"),
        (Asked(kind="url", text="x", url="https://[::1/"), "unsafe address", "cannot be read"),
    ],
)
async def test_what_may_not_be_asked_is_declined_unseen_and_told(
    asked: Asked, rule: str, said: str
) -> None:
    async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
        return (await dialog.ask(asked)).action

    async with world(BOOK, says("ok"), tools=talking(talk), gate=ALLOW) as w:
        conversation = w.send("book it")
        answered = await w.until(events.QuestionAnswered)
        assert (answered.item.rule, answered.item.question) == (rule, "")
        note = (await w.until(events.NoteAdded)).item
        assert note.level == "warning"
        assert said in note.text
        await w.turn(conversation)
        assert text_of(result(w.seen).parts) == "decline"
        assert not [e for e in w.seen if isinstance(e, events.QuestionAsked)]
        live = Tree(e.item for e in w.seen if hasattr(e, "item"))
        assert rows(live) == rows(await w.tree(conversation))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.org/login?x=1", "example.org"),
        ("http://127.0.0.1:8080/", "127.0.0.1"),
        ("http://localhost/", "localhost"),
        ("http://[::1]:1/", "::1"),
        ("https://b\u00fccher.example/", "xn--bcher-kva.example"),
    ],
)
async def test_a_page_is_shown_with_the_host_that_it_is_at(url: str, host: str) -> None:
    page = Asked(kind="url", text="Sign in.", url=url, host="bank.example")

    async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
        return (await dialog.ask(page)).action

    async with world(BOOK, says("ok"), tools=talking(talk), gate=ALLOW) as w:
        conversation = w.send("book it")
        asked = await w.until(events.QuestionAsked)
        assert asked.item.asked.host == host
        w.give(asked)
        await w.turn(conversation)
        assert text_of(result(w.seen).parts) == "accept"


async def test_a_server_that_asks_too_much_is_declined_and_that_is_told_once() -> None:
    actions: list[str] = []

    async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
        async def ask() -> None:
            actions.append((await dialog.ask(FORM)).action)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
        for _ in range(30):
            await ask()
        return "enough"

    async with world(BOOK, says("ok"), tools=talking(talk), gate=ALLOW) as w:
        conversation = w.send("book it")
        at_once = [await w.until(events.QuestionAsked) for _ in range(3)]
        assert len({event.item.id for event in at_once}) == 3
        for event in at_once:
            w.give(event, day="2026-12-01")
        for _ in range(15):
            w.give(await w.until(events.QuestionAsked), day="2026-12-01")
        await w.turn(conversation)
        assert len([e for e in w.seen if isinstance(e, events.QuestionAsked)]) == 18
        assert actions.count("accept") == 18
        assert actions.count("decline") == 17
        notes = [e.item.text for e in w.seen if isinstance(e, events.NoteAdded)]
        assert notes == ["travel asks too much; some of it was declined unseen."]


async def test_a_fork_has_the_questions_and_their_answers() -> None:
    async with world(BOOK, says("ok"), tools=talking(asks_a_day), gate=ALLOW) as w:
        source = w.send("book it")
        w.give(await w.until(events.QuestionAsked), day="2026-12-01")
        await w.turn(source)
        copy = new_id()
        w.engine.submit(commands.ForkConversation(conversation=copy, source=source))
        await w.until(events.NoteAdded, lambda e: e.conversation == copy)
        items_of = {}
        for conversation in (source, copy):
            path = (await w.tree(conversation)).path()
            question = next(i for i in path if isinstance(i, items.Question))
            answer = next(i for i in path if isinstance(i, items.Answer))
            assert answer.question == question.id
            assert question.message in [i.id for i in path]
            items_of[conversation] = question.id
        assert items_of[source] != items_of[copy]


PROMPT = Sampling(messages=(Spoken("user", (Text("Sum it up."),)),), max_tokens=50)


async def test_a_server_has_a_model_answer_and_the_model_of_the_turn_goes_on() -> None:
    async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
        return text_of((await dialog.sample("travel", PROMPT)).said.parts)

    async with world(BOOK, says("Short."), says("ok"), tools=talking(talk), gate=ALLOW) as w:
        conversation = w.send("book it")
        asked = await w.until(events.QuestionAsked)
        assert asked.item.asked.kind == "sampling"
        w.give(asked, max_tokens=0)
        assert (await w.until(events.CommandFailed)).ref == asked.item.id
        w.give(asked, messages={"0": "Sum it up, please."})
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert text_of(result(w.seen).parts) == "Short."
        assert text_of(w.driver.requests[1].messages[0].parts) == "Sum it up, please."
        live = Tree(e.item for e in w.seen if hasattr(e, "item"))
        assert rows(live) == rows(await w.tree(conversation))


async def test_a_model_that_answers_a_server_is_stopped_with_the_call_and_noted_before() -> None:
    refused: list[str] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as connection:

            async def on_connection(dialog: Dialog) -> None:
                try:
                    await dialog.sample("travel", PROMPT)
                except PermissionFault as fault:
                    refused.append(str(fault))

            async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
                connection.start_soon(on_connection, dialog)
                await anyio.sleep_forever()
                return ""

            sampled: list[Step] = [TextDelta("Sho"), Pause.closed()]
            tools = talking(talk)
            async with world(BOOK, sampled, says("ok"), tools=tools, gate=ALLOW) as w:
                conversation = w.send("book it")
                w.give(await w.until(events.QuestionAsked))
                await w.until(events.QuestionAnswered)
                while len(w.driver.requests) < 2:
                    await anyio.lowlevel.checkpoint()
                w.clock.advance(100_000)
                cancel = commands.CancelCall(conversation=conversation, call_id="c1")
                w.engine.submit(cancel)
                assert (await w.turn(conversation)).stop_reason == "stop"
    path = (await w.tree(conversation)).path()
    kinds = [type(item) for item in path]
    assert kinds.index(items.Note) < kinds.index(items.Result)
    assert result(w.seen).status == "interrupted"
    assert refused == ["The call for which travel asked a model has ended."]
