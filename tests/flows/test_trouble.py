"""What goes wrong in one place is told there, and nowhere else is anything lost."""

import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.flows.harness import calls, fake_tools, says, world

from patina.engine.tool_step import AT_ONCE
from patina.model import codec, commands, events, items
from patina.model.chat import ChatRequest, StreamEvent, TextDelta, ThinkingDelta, ToolOutcome
from patina.model.faults import StoreFault, UsageFault
from patina.model.ids import new_id
from patina.model.options import TurnOptions
from patina.model.parts import Image, Text, Thinking, text_of
from patina.model.settings import PermissionRule, PermissionSettings
from patina.permission.gate import PolicyGate
from patina.ports.journal import Appended, Transcript
from patina.providers.scripted import Pause, ScriptedDriver, Step
from patina.store.journal import FileJournal
from patina.store.memory import MemoryJournal

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
SEARCH = calls(("c1", "github__search", "{}"))


def interrupt(conversation: str) -> commands.Interrupt:
    return commands.Interrupt(conversation=conversation, reason="Stop.")


class Held(MemoryJournal):
    """A journal that takes its time: `held` names what waits for `go`."""

    def __init__(self, held: str) -> None:
        super().__init__()
        self.held = held
        self.reached, self.go = anyio.Event(), anyio.Event()

    async def _pass(self, what: str) -> None:
        if what == self.held:
            self.reached.set()
            await self.go.wait()

    async def append(self, conversation: str, items: Sequence[items.AnyItem]) -> Appended:
        await self._pass("append")
        return await super().append(conversation, items)

    async def read(self, conversation: str, owner: str = "local") -> Transcript:
        await self._pass("read")
        return await super().read(conversation, owner)


async def reached(event: anyio.Event) -> None:
    with anyio.fail_after(5):
        await event.wait()


async def test_nothing_is_told_before_the_journal_has_it() -> None:
    journal = Held("append")
    async with world(says("a"), journal=journal) as w:
        conversation = w.send("hi")
        await reached(journal.reached)
        with w.engine.subscribe(conversation) as watching:
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert watching.take_nowait() is None
        journal.go.set()
        await w.turn(conversation)
        assert "message.added" in w.kinds()


async def test_an_interruption_right_after_a_message_gives_it_back() -> None:
    async with world(says("never")) as w:
        message_id = new_id()
        conversation = w.send("hi", message_id=message_id)
        w.engine.submit(interrupt(conversation))
        failed = await w.until(events.CommandFailed)
        assert (failed.command, failed.ref) == ("message.send", message_id)
        assert failed.error.message == "Not sent. Stop."
        assert w.driver.requests == []


async def test_an_interruption_while_a_conversation_is_loaded_ends_the_turn() -> None:
    journal = Held("read")
    async with world(says("1"), journal=journal) as w:
        conversation = w.send("one")
        await w.turn(conversation)
    async with world(says("never"), journal=journal) as w:
        w.send("two", conversation)
        await reached(journal.reached)
        w.engine.submit(interrupt(conversation))
        journal.go.set()
        assert (await w.turn(conversation)).stop_reason == "cancelled"
        assert w.driver.requests == []


async def test_messages_that_wait_are_given_back_by_an_interruption() -> None:
    gate = Pause.closed()
    async with world([TextDelta("a"), gate]) as w:
        conversation = w.send("first")
        await reached(gate.reached)
        waiting = [new_id(), new_id()]
        for message_id in waiting:
            w.send("later", conversation, message_id)
        await anyio.lowlevel.checkpoint()
        w.engine.submit(interrupt(conversation))
        given_back = [(await w.until(events.CommandFailed)).ref for _ in waiting]
        assert given_back == waiting
        assert (await w.turn(conversation)).stop_reason == "cancelled"
        assert w.driver.running == 0


async def test_a_tool_that_was_not_offered_does_not_run() -> None:
    async with world(says("x"), SEARCH, says("ok"), tools=fake_tools(), gate=ALLOW) as w:
        await w.turn(w.send("lists the tools"))
        conversation = w.send("has none", servers=())
        await w.turn(conversation)
        assert w.tools.calls == []
        finished = next(e for e in w.seen if isinstance(e, events.ToolFinished))
        assert finished.item.status == "failed"
        assert "There is no tool" in text_of(finished.item.parts)


def write_newer(folder: Path, parent: str | None) -> None:
    """Append an item of a kind that this version does not know."""
    (file,) = folder.glob("data/transcripts/*/*/*.jsonl")
    newer = items.Note(id=new_id(), ts="2099", parent=parent, level="info", text="x")
    line = codec.encode_line(newer).replace(b'"k":"note"', b'"k":"poll"')
    body = line[: line.rindex(b',"c":')] + b"}"
    with file.open("ab") as out:
        out.write(b'%b,"c":"%08x"}\n' % (body[:-1], zlib.crc32(body)))


async def test_what_a_newer_version_wrote_does_not_hide_what_stands_before_it(
    tmp_path: Path,
) -> None:
    async with FileJournal(tmp_path / "data", tmp_path / "state") as journal:
        async with world(says("1"), journal=journal) as w:
            conversation = w.send("old")
            await w.turn(conversation)
            leaf = (await w.tree(conversation)).leaf
        write_newer(tmp_path, leaf)
        async with world(says("2"), journal=journal) as w:
            w.send("next", conversation)
            await w.turn(conversation)
            sent = [text_of(message.parts) for message in w.driver.requests[-1].messages]
            assert sent == ["old", "1", "next"]


async def test_half_a_character_is_replaced_and_not_a_mistake() -> None:
    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        return ToolOutcome((Text("caf\udce9"),))

    async with world(SEARCH, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        conversation = w.send("na\udcefve")
        assert (await w.turn(conversation)).error is None
        messages = w.driver.requests[-1].messages
        assert text_of(messages[0].parts) == "na\ufffdve"
        assert messages[-1].answers[0].parts == (Text("caf\ufffd"),)


class Raises(ScriptedDriver):
    """A driver with a defect."""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        yield TextDelta("half")
        raise RuntimeError("a defect")


async def test_a_defect_in_a_driver_ends_the_turn_and_keeps_what_was_shown() -> None:
    async with world(driver=Raises()) as w:
        conversation = w.send("go")
        ended = await w.turn(conversation)
        assert ended.error is not None
        assert ended.error.kind == "internal"
        answer = (await w.tree(conversation)).path()[1]
        assert isinstance(answer, items.Message)
        assert (text_of(answer.parts), answer.partial) == ("half", True)


async def test_a_defect_beside_a_tool_is_that_calls_failure() -> None:
    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        if arguments:
            return ToolOutcome((Text("fine"),))
        raise RuntimeError("a defect")

    wanted = calls(("c1", "github__search", "{}"), ("c2", "github__search", '{"query":"x"}'))
    async with world(wanted, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        conversation = w.send("go")
        assert (await w.turn(conversation)).stop_reason == "stop"
        answers = w.driver.requests[-1].messages[-1].answers
        assert [answer.status for answer in answers] == ["failed", "completed"]


class Defect(MemoryJournal):
    """A journal with a defect for one conversation."""

    bad = ""

    async def mark(self, conversation: str) -> str:
        if conversation == self.bad:
            raise ValueError("a defect")
        return await super().mark(conversation)


async def test_a_defect_in_one_conversation_does_not_reach_another() -> None:
    gate, journal = Pause.closed(), Defect()
    async with world([TextDelta("a"), gate, TextDelta("b")], journal=journal) as w:
        good = w.send("go")
        await reached(gate.reached)
        journal.bad = new_id()
        w.engine.submit(commands.ChangeMeta(conversation=journal.bad, title="x"))
        assert (await w.until(events.CommandFailed)).error.kind == "internal"
        w.send("x", journal.bad)
        assert (await w.until(events.CommandFailed)).error.kind == "internal"
        gate.passed.set()
        assert (await w.turn(good)).stop_reason == "stop"


async def test_facts_can_change_while_the_conversation_is_loaded_for_a_turn() -> None:
    journal = Held("read")
    async with world(says("1"), journal=journal) as w:
        conversation = w.send("one")
        await w.turn(conversation)
    async with world(says("2"), journal=journal) as w:
        w.send("two", conversation)
        await reached(journal.reached)
        w.engine.submit(commands.ChangeMeta(conversation=conversation, title="T"))
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        journal.go.set()
        await w.turn(conversation)
        assert not [event for event in w.seen if isinstance(event, events.CommandFailed)]
        assert (await w.tree(conversation)).fact("title") == "T"


async def test_what_another_process_writes_during_a_turn_is_seen_by_the_next() -> None:
    gate, journal = Pause.closed(), MemoryJournal()
    async with world([TextDelta("a"), gate], says("b"), journal=journal) as w:
        conversation = w.send("one")
        await reached(gate.reached)
        async with world(journal=journal) as other:
            change = commands.ChangeMeta(conversation=conversation, system="Other.")
            other.engine.submit(change)
            await other.until(events.MetaChanged)
        gate.passed.set()
        await w.turn(conversation)
        w.send("two", conversation)
        await w.turn(conversation)
        assert w.driver.requests[-1].system == "Other."


async def test_our_own_writing_does_not_make_us_read_again() -> None:
    reads = 0

    class Counted(MemoryJournal):
        async def read(self, conversation: str, owner: str = "local") -> Transcript:
            nonlocal reads
            reads += 1
            return await super().read(conversation, owner)

    async with world(says("1"), says("2"), says("3"), journal=Counted()) as w:
        conversation = w.send("one")
        await w.turn(conversation)
        w.engine.submit(commands.ChangeMeta(conversation=conversation, title="T"))
        for text in ("two", "three"):
            w.send(text, conversation)
            await w.turn(conversation)
        assert reads == 0


async def test_a_file_that_is_gone_does_not_end_the_conversation() -> None:
    class Forgetful(MemoryJournal):
        async def get_blob(self, blob: str, owner: str = "local") -> bytes:
            raise StoreFault("gone")

    async with world(says("1"), says("2"), journal=Forgetful()) as w:
        conversation = new_id()
        picture = Image("0" * 64, "image/png", "cat.png")
        w.engine.submit(
            commands.SendMessage(
                conversation=conversation,
                message_id=new_id(),
                parts=(picture, Text("x" * 300_000)),
            )
        )
        assert (await w.turn(conversation)).stop_reason == "stop"
        request = w.driver.requests[-1]
        assert request.blobs == {}
        assert "no longer there" in text_of(request.messages[0].parts)
        notes = [e.item.text for e in w.seen if isinstance(e, events.NoteAdded)]
        assert notes == ["2 stored files of this conversation cannot be read and were left out."]


async def test_a_turn_that_goes_on_after_a_restart_keeps_its_options() -> None:
    journal = MemoryJournal()
    async with world(SEARCH, tools=fake_tools(), journal=journal) as w:
        conversation = w.send("go", temperature=0.5, max_replies=7)
        await w.until(events.PermissionAsked)
        written = (await journal.read(conversation)).items
    again = MemoryJournal()
    await again.append(conversation, written)  # type: ignore[arg-type]
    async with world(says("ok"), tools=fake_tools(), journal=again) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        w.answer(await w.until(events.PermissionAsked), "allow_once")
        await w.turn(conversation)
        assert w.driver.requests[-1].temperature == 0.5
        start = [i for i in (await again.read(conversation)).items if type(i) is items.ReplyStart]
        assert start[-1].options == TurnOptions(temperature=0.5, max_replies=7)


async def test_choosing_a_branch_invents_nothing() -> None:
    async with world(SEARCH, says("x"), says("y"), tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        caller = (await w.tree(conversation)).path()[1]
        w.engine.submit(commands.SelectBranch(conversation=conversation, item_id=caller.id))
        await w.until(events.BranchSelected)
        w.send("another way", conversation)
        await w.turn(conversation)
        results = [i for i in (await w.tree(conversation)).path() if type(i) is items.Result]
        assert results == []
        answer = w.driver.requests[-1].messages[2].answers[0]
        assert answer.status == "completed"


async def test_a_failed_reply_is_not_taken_for_a_crash() -> None:
    async with world(driver=Raises()) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        question = (await w.tree(conversation)).path()[0]
        w.engine.submit(commands.SelectBranch(conversation=conversation, item_id=question.id))
        await w.until(events.BranchSelected)
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        await w.until(events.ConversationOpened)
        w.engine.submit(commands.ChangeMeta(conversation=conversation, title="x"))
        await w.until(events.MetaChanged)
        notes = [e.item.level for e in w.seen if isinstance(e, events.NoteAdded)]
        assert notes == ["error"]


@pytest.mark.parametrize("message_id", ["0", "x", "../../etc/passwd", "conversation"])
async def test_the_id_of_a_message_is_checked(message_id: str) -> None:
    async with world(says("1")) as w:
        conversation = new_id()
        chosen = conversation if message_id == "conversation" else message_id
        w.send("hi", conversation, chosen)
        assert (await w.until(events.CommandFailed)).error.kind == "usage"


async def test_a_model_that_does_not_exist_is_refused_before_it_is_kept() -> None:
    async with world(says("1")) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        command = commands.ChangeMeta(conversation=conversation, model="nobody/x")
        w.engine.submit(command)
        assert (await w.until(events.CommandFailed)).command == "conversation.change"


async def test_arguments_beyond_all_bounds_fail_their_call_only() -> None:
    wanted = calls(("c1", "github__search", '{"query":"' + "x" * 1_200_000 + '"}'))
    async with world(wanted, says("ok"), tools=fake_tools(), gate=ALLOW) as w:
        conversation = w.send("go")
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert w.tools.calls == []
        assert w.driver.requests[-1].messages[-1].answers[0].status == "failed"


async def test_at_most_so_many_tools_run_at_once() -> None:
    running, most = 0, 0
    release = anyio.Event()

    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == AT_ONCE:
            release.set()
        await release.wait()
        running -= 1
        return ToolOutcome((Text("x"),))

    count = AT_ONCE * 2
    wanted = calls(*((f"c{n}", "github__search", "{}") for n in range(count)))
    async with world(wanted, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        await w.turn(w.send("go"))
        assert len(w.tools.calls) == count
        assert most == AT_ONCE


async def test_thinking_goes_back_only_to_who_thought_it() -> None:
    thoughts: list[Step] = [ThinkingDelta("hm", 0, signature="s"), *says("ok")]
    async with world(thoughts, says("2"), says("3")) as w:
        conversation = new_id()
        for model in ("fake/one", "fake/one", "other/two"):
            w.engine.submit(
                commands.SendMessage(
                    conversation=conversation,
                    message_id=new_id(),
                    parts=(Text("x"),),
                    model=model,
                )
            )
            await w.turn(conversation)
        same, foreign = (request.messages[1].parts for request in w.driver.requests[1:])
        assert Thinking("hm", "s") in same
        assert not [part for part in foreign if isinstance(part, Thinking)]


async def test_what_goes_wrong_in_the_body_is_not_wrapped() -> None:
    with pytest.raises(StoreFault):
        async with world():
            raise StoreFault("plain")


async def test_a_command_that_was_refused_is_not_told_of_again() -> None:
    gate = Pause.closed()
    async with world([TextDelta("a"), gate]) as w:
        conversation = w.send("first")
        await reached(gate.reached)
        refused = []
        for _ in range(100):
            message_id = new_id()
            try:
                w.send("more", conversation, message_id)
            except UsageFault:
                refused.append(message_id)
        assert refused
        w.engine.submit(interrupt(conversation))
        await w.turn(conversation)
        told = {event.ref for event in w.seen if isinstance(event, events.CommandFailed)}
        assert len(told) == 100 - len(refused)
        assert not told & set(refused)


async def test_opening_right_after_the_first_message_finds_the_conversation() -> None:
    for _ in range(20):
        async with world(says("ok")) as w:
            conversation = w.send("first")
            for _ in range(5):
                w.engine.submit(commands.OpenConversation(conversation=conversation))
            await w.turn(conversation)
            for _ in range(5):
                if not [e for e in w.seen if isinstance(e, events.ConversationOpened)]:
                    await w.until(events.ConversationOpened)
            assert not [e for e in w.seen if isinstance(e, events.CommandFailed)]


async def test_what_waits_when_the_engine_closes_is_carried_out() -> None:
    async with world(says("ok")) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.engine.submit(commands.ChangeMeta(conversation=conversation, title="Late"))
        heard = w.services.bus.subscribe(conversation)
        reader = heard.__enter__()
        w.engine.submit(commands.ChangeMeta(conversation=conversation, title="Later"))
    told = list(iter(reader.take_nowait, None))
    assert [e.item.title for e in told if isinstance(e, events.MetaChanged)] == ["Late", "Later"]
    with pytest.raises(UsageFault, match="closing"):
        w.send("after the end")
