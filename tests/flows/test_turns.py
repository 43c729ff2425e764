"""One message to its answer: commands in, events out, the journal first."""

from collections.abc import AsyncGenerator

import anyio
import pytest
from tests.flows.harness import World, says, world

from patina.engine.host import KEPT
from patina.model import commands, events, items
from patina.model.chat import (
    ChatRequest,
    Failed,
    Finished,
    Retrying,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
)
from patina.model.faults import Failure
from patina.model.ids import new_id
from patina.model.parts import Text, Thinking, text_of
from patina.model.usage import Usage
from patina.providers.scripted import Pause, ScriptedDriver, Step

pytestmark = pytest.mark.anyio


async def test_a_message_is_answered_and_everything_is_in_the_journal() -> None:
    async with world(says("Hello you.")) as w:
        conversation = w.send("Hi")
        ended = await w.turn(conversation)
        assert ended.stop_reason == "stop"
        assert w.kinds() == [
            "conversation.created",
            "meta.changed",
            "message.added",
            "turn.started",
            "reply.started",
            "message.added",
            "turn.ended",
        ]
        path = (await w.tree(conversation)).path()
        assert [
            (item.role, text_of(item.parts)) for item in path if isinstance(item, items.Message)
        ] == [
            ("user", "Hi"),
            ("assistant", "Hello you."),
        ]


async def test_sequence_numbers_ascend_over_all_conversations() -> None:
    async with world(says("a"), says("b")) as w:
        one = w.send("1")
        await w.turn(one)
        two = w.send("2")
        await w.turn(two)
        numbers = [event.seq for event in w.seen]
        assert numbers == sorted(set(numbers))


async def test_the_history_of_earlier_turns_is_sent() -> None:
    async with world(says("one"), says("two")) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        request = w.driver.requests[-1]
        assert [text_of(message.parts) for message in request.messages] == [
            "first",
            "one",
            "second",
        ]


async def test_a_command_that_is_sent_twice_is_carried_out_once() -> None:
    async with world(says("one"), says("two")) as w:
        message_id = new_id()
        conversation = w.send("hi", message_id=message_id)
        w.send("hi", conversation, message_id)
        await w.turn(conversation)
        w.send("next", conversation)
        await w.turn(conversation)
        asked = [
            event
            for event in w.seen
            if isinstance(event, events.MessageAdded) and event.item.role == "user"
        ]
        assert [text_of(event.item.parts) for event in asked] == ["hi", "next"]


async def test_a_message_that_arrives_during_a_turn_waits_for_its_end() -> None:
    gate = Pause.closed()
    async with world(gated(gate, "one"), says("two")) as w:
        conversation = w.send("first")
        await w.until(events.TextDelta)
        w.send("second", conversation)
        gate.passed.set()
        await w.turn(conversation)
        await w.turn(conversation)
        roles = [
            (event.item.role, text_of(event.item.parts))
            for event in w.seen
            if isinstance(event, events.MessageAdded)
        ]
        assert roles == [
            ("user", "first"),
            ("assistant", "one"),
            ("user", "second"),
            ("assistant", "two"),
        ]


def gated(gate: Pause, text: str) -> list[Step]:
    return [TextDelta(text[:1]), gate, TextDelta(text[1:]), Finished("stop")]


async def test_conversations_run_at_once_and_nothing_of_one_reaches_another() -> None:  # P-07
    gates = [Pause.closed() for _ in range(20)]
    async with world(*[gated(gate, f"answer {n}") for n, gate in enumerate(gates)]) as w:
        started: dict[str, int] = {}
        for n in range(20):
            conversation = w.send(f"question {n}")
            delta = await w.until(events.TextDelta)
            assert delta.conversation == conversation
            started[conversation] = n
        for gate in reversed(gates):  # the last begun ends first
            gate.passed.set()
        for _ in range(20):
            await w.until(events.TurnEnded)
        for conversation, n in started.items():
            said = [
                text_of(item.parts)
                for item in (await w.tree(conversation)).path()
                if isinstance(item, items.Message)
            ]
            assert said == [f"question {n}", f"answer {n}"]


async def test_a_subscription_to_one_conversation_hears_only_that_one() -> None:
    async with world(says("a"), says("b")) as w:
        mine, other = new_id(), new_id()
        with w.engine.subscribe(mine) as heard:
            w.send("x", other)
            await w.turn(other)
            w.send("y", mine)
            await w.turn(mine)
        with anyio.fail_after(5):
            assert {event.conversation async for event in heard} == {mine}


async def test_a_failure_keeps_the_partial_answer_and_leaves_a_note() -> None:
    cut = Failure("cut", "It was cut off.", "Ask again.")
    async with world([TextDelta("half"), Failed(cut)]) as w:
        conversation = w.send("go")
        ended = await w.turn(conversation)
        assert (ended.stop_reason, ended.error) == ("error", cut)
        path = (await w.tree(conversation)).path()
        partial, note = path[-2:]
        assert isinstance(partial, items.Message)
        assert (text_of(partial.parts), partial.partial) == ("half", True)
        assert isinstance(note, items.Note)
        assert (note.kind, note.hint) == ("cut", "Ask again.")


async def test_a_stream_that_just_stops_is_cut() -> None:
    async with world(driver=Stops()) as w:
        conversation = w.send("go")
        ended = await w.turn(conversation)
        assert ended.error is not None
        assert ended.error.kind == "cut"
        answer = (await w.tree(conversation)).path()[1]
        assert isinstance(answer, items.Message)
        assert (text_of(answer.parts), answer.partial) == ("half", True)


class Stops(ScriptedDriver):
    """A driver that breaks the contract: it ends without an end."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        yield TextDelta("half")


async def test_after_a_failure_the_conversation_goes_on() -> None:
    async with world([Failed(Failure("server", "Broken."))], says("fine")) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        w.send("again", conversation)
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert [m.role for m in w.driver.requests[-1].messages] == ["user", "user"]


async def test_thinking_is_kept_with_its_signature_and_told_live() -> None:
    reply: list[Step] = [
        ThinkingDelta("hm", 0),
        ThinkingDelta("m", 0, signature="sig"),
        TextDelta("ok", 1),
        Finished("stop", usage=Usage(10, 5, reasoning_tokens=2)),
    ]
    async with world(reply) as w:
        conversation = w.send("go")
        ended = await w.turn(conversation)
        assert ended.usage == Usage(10, 5, reasoning_tokens=2)
        answer = (await w.tree(conversation)).path()[-1]
        assert isinstance(answer, items.Message)
        assert answer.parts == (Thinking("hmm", "sig"), Text("ok"))
        told = [event.text for event in w.seen if isinstance(event, events.ThinkingDelta)]
        assert "".join(told) == "hmm"


async def test_retries_are_told() -> None:
    busy = Failure("overloaded", "Busy.")
    reply: list[Step] = [Retrying(busy, 2.0, 1), *says("ok")]
    async with world(reply) as w:
        w.send("go")
        retrying = await w.until(events.ReplyRetrying)
        assert (retrying.error, retrying.wait, retrying.attempt) == (busy, 2.0, 1)


async def test_what_streams_for_long_is_checkpointed_once_a_second() -> None:
    gate = Pause.closed()
    async with world(gated(gate, "long answer")) as w:
        conversation = w.send("go")
        await w.until(events.TextDelta)
        await w.clock_has(1)
        w.clock.advance(1.0)
        with anyio.fail_after(5):
            while (partial := (await w.tree(conversation)).partial()) is None or not partial.parts:
                await anyio.lowlevel.checkpoint()
        assert partial.parts == (Text("l"),)
        gate.passed.set()
        await w.turn(conversation)
        assert (await w.tree(conversation)).partial() is None


async def test_the_system_prompt_stays_until_it_is_replaced() -> None:
    async with world(says("1"), says("2"), says("3")) as w:
        conversation = new_id()
        for system in ("Be brief.", None, "Be long."):
            w.engine.submit(
                commands.SendMessage(
                    conversation=conversation,
                    message_id=new_id(),
                    parts=(Text("x"),),
                    system=system,
                )
            )
            await w.turn(conversation)
        assert [request.system for request in w.driver.requests] == [
            "Be brief.",
            "Be brief.",
            "Be long.",
        ]


async def test_a_branch_starts_after_any_item_and_can_be_chosen() -> None:
    async with world(says("1"), says("2"), says("3")) as w:
        conversation = w.send("one")
        await w.turn(conversation)
        first = (await w.tree(conversation)).path()[1]
        for text in ("two", "other two"):
            command = commands.SendMessage(
                conversation=conversation,
                message_id=new_id(),
                parts=(Text(text),),
                parent=first.id,
            )
            w.engine.submit(command)
            await w.turn(conversation)
        assert said(w) == ["one", "1", "other two"]
        tree = await w.tree(conversation)
        two = next(
            e.item.id
            for e in w.seen
            if isinstance(e, events.MessageAdded) and text_of(e.item.parts) == "two"
        )
        w.engine.submit(commands.SelectBranch(conversation=conversation, item_id=two))
        await w.until(events.BranchSelected)
        tree = await w.tree(conversation)
        assert [text_of(i.parts) for i in tree.path() if isinstance(i, items.Message)] == [
            "one",
            "1",
            "two",
        ]


def said(w: World) -> list[str]:
    return [text_of(message.parts) for message in w.driver.requests[-1].messages]


async def test_a_fork_is_a_conversation_of_its_own() -> None:
    async with world(says("1"), says("2")) as w:
        source = w.send("one")
        await w.turn(source)
        fork = new_id()
        w.engine.submit(commands.ForkConversation(conversation=fork, source=source))
        w.send("two", fork)
        await w.turn(fork)
        assert said(w) == ["one", "1", "two"]
        before = {item.id for item in (await w.services.journal.read(source)).items}
        after = {item.id for item in (await w.services.journal.read(fork)).items}
        assert not before & after
        assert len((await w.tree(source)).path()) == 2


async def test_facts_change_during_a_turn() -> None:
    gate = Pause.closed()
    async with world(gated(gate, "one")) as w:
        conversation = w.send("first")
        await w.until(events.TextDelta)
        w.engine.submit(commands.ChangeMeta(conversation=conversation, title="A title"))
        changed = await w.until(events.MetaChanged)
        assert changed.item.title == "A title"
        gate.passed.set()
        await w.turn(conversation)
        assert (await w.tree(conversation)).fact("title") == "A title"


@pytest.mark.parametrize(
    "command",
    [
        commands.OpenConversation(conversation=new_id()),
        commands.ChangeMeta(conversation=new_id(), title="x"),
        commands.SelectBranch(conversation=new_id(), item_id="x"),
        commands.ForkConversation(conversation=new_id(), source=new_id()),
        commands.AnswerPermission(conversation=new_id(), ask_id="x", choice="deny"),
    ],
)
async def test_what_cannot_be_carried_out_is_told(command: commands.AnyCommand) -> None:
    async with world() as w:
        w.engine.submit(command)
        failed = await w.until(events.CommandFailed)
        assert failed.command == type(command).__struct_config__.tag
        assert failed.error.kind == "usage"
        assert failed.error.message.endswith(".")


async def test_a_conversation_that_was_forgotten_is_read_again() -> None:
    many = KEPT + 5
    async with world(*[says(f"answer {n}") for n in range(many)], says("again")) as w:
        first = w.send("question 0")
        await w.turn(first)
        for n in range(1, many):
            await w.turn(w.send(f"question {n}"))
        w.send("and now", first)
        await w.turn(first)
        assert said(w) == ["question 0", "answer 0", "and now"]
