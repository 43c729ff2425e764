"""Calls that their servers carry out as tasks: shown, without a time-out, resumed, cancelled."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from msgspec.structs import replace
from tests.flows.harness import World, calls, says, talking, world

from patina.mcp.fake import FakeTools
from patina.model import commands, events, items
from patina.model.faults import McpFault
from patina.model.ids import new_id
from patina.model.parts import text_of
from patina.model.questions import Asked, TaskState, TaskStatus
from patina.model.settings import PermissionRule, PermissionSettings
from patina.model.tree import Tree
from patina.permission.gate import PolicyGate
from patina.ports.dialog import Dialog
from patina.store.memory import MemoryJournal
from patina.views.conversation import rows

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
BOOK = calls(("c1", "travel__book", "{}"))
FORM = Asked(kind="form", text="Sure?", form={"properties": {"sure": {"type": "boolean"}}})


def state(status: TaskStatus = "working", text: str = "") -> TaskState:
    return TaskState(task_id="t1", status=status, text=text)


class Research:
    """A task of a server: it polls until `done`, and notes what it was told about its end."""

    def __init__(self) -> None:
        self.dialog: Dialog | None = None
        self.working = anyio.Event()
        self.done = anyio.Event()
        self.kept: list[bool] = []
        self.resumed: list[str] = []

    async def talk(self, arguments: Mapping[str, Any], dialog: Dialog) -> str:
        await dialog.task(state())
        return await self._poll(dialog)

    async def resume(self, task_id: str, dialog: Dialog) -> str:
        self.resumed.append(task_id)
        await dialog.task(state())  # no change: it is not written again
        return await self._poll(dialog)

    async def _poll(self, dialog: Dialog) -> str:
        self.dialog = dialog
        self.working.set()
        try:
            await self.done.wait()
        except anyio.get_cancelled_exc_class():
            self.kept.append(dialog.keeps_task())
            raise
        await dialog.task(state("completed"))
        return "all found"

    def tools(self) -> FakeTools:
        return talking(self.talk, resume=self.resume)


async def begun(research: Research) -> Dialog:
    with anyio.fail_after(5):
        await research.working.wait()
    assert research.dialog is not None
    return research.dialog


async def crashed(journal: MemoryJournal) -> str:
    """Leave `journal` as a crash does while a task works, and return its conversation."""
    research = Research()
    async with world(BOOK, tools=research.tools(), gate=ALLOW) as w:
        conversation = w.send("find it")
        await w.until(events.TaskChanged)
        found = await w.services.journal.read(conversation)
        await journal.append(conversation, found.items)  # type: ignore[arg-type]
    return conversation


def results(seen: list[events.AnyEvent]) -> list[items.Result]:
    return [e.item for e in seen if isinstance(e, events.ToolFinished)]


async def test_a_task_is_told_when_it_changes_and_has_no_time_out() -> None:
    research = Research()
    async with world(BOOK, says("Here."), tools=research.tools(), gate=ALLOW) as w:
        conversation = w.send("find it")
        first = await w.until(events.TaskChanged)
        assert first.item.state == state()
        assert (first.item.server, first.item.tool, first.item.call_id) == ("travel", "book", "c1")
        dialog = await begun(research)
        for poll in range(20):
            await w.clock_has(1)
            w.clock.advance(3_000)
            await dialog.task(state("working", f"source {poll // 10}"))
        await w.clock_has(1)
        research.done.set()
        assert (await w.turn(conversation)).stop_reason == "stop"
        changes = [e.item.state for e in w.seen if isinstance(e, events.TaskChanged)]
        assert changes == [
            state(),
            state("working", "source 0"),
            state("working", "source 1"),
            state("completed"),
        ]
        assert text_of(results(w.seen)[0].parts) == "all found"
        live = Tree(e.item for e in w.seen if hasattr(e, "item"))
        replayed = rows(await w.tree(conversation))
        assert rows(live) == replayed
        assert [row.state for row in replayed if row.kind == "task"] == ["completed"]


async def test_a_task_is_not_followed_for_ever() -> None:
    research = Research()
    async with world(BOOK, says("ok"), tools=research.tools(), gate=ALLOW) as w:
        w.send("find it")
        await begun(research)
        await w.clock_has(1)
        w.clock.advance(86_400)
        finished = await w.until(events.ToolFinished)
        assert finished.text == "travel.book timed out after 86400s"
        assert research.kept == [False]


async def test_words_that_change_all_the_time_fill_no_disk() -> None:
    research = Research()
    async with world(BOOK, says("ok"), tools=research.tools(), gate=ALLOW) as w:
        conversation = w.send("find it")
        dialog = await begun(research)
        for number in range(500):
            await dialog.task(state("working", f"{number} " + "x" * 5_000))
        await dialog.task(state("input_required"))
        research.done.set()
        await w.turn(conversation)
        tasks = [i for i in (await w.tree(conversation)).path() if isinstance(i, items.Task)]
        assert len(tasks) == 103
        assert max(len(task.state.text) for task in tasks) == 1_000
        assert [task.state.status for task in tasks[-2:]] == ["input_required", "completed"]


async def test_a_handle_that_cannot_be_kept_fails_the_call() -> None:
    async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
        await dialog.task(TaskState(task_id="t" * 5_000, status="working"))
        return "unreached"

    async with world(BOOK, says("ok"), tools=talking(talk), gate=ALLOW) as w:
        w.send("find it")
        finished = await w.until(events.ToolFinished)
        assert finished.item.status == "failed"
        assert "cannot be kept" in text_of(finished.item.parts)


async def resumes(w: World, conversation: str, research: Research) -> None:
    """The turn that was open goes on to its end, once, with the task's result."""
    told = await w.until(events.TaskChanged)
    assert told.item.state == state()
    await begun(research)
    research.done.set()
    finished = await w.until(events.ToolFinished)
    assert (finished.item.status, finished.item.call_id) == ("completed", "c1")
    assert text_of(finished.item.parts) == "all found"
    assert research.resumed == ["t1"]
    assert (await w.turn(conversation)).stop_reason == "stop"
    path = (await w.tree(conversation)).path()
    assert len([item for item in path if isinstance(item, items.Call)]) == 1
    tasks = [item.state for item in path if isinstance(item, items.Task)]
    assert tasks == [state(), state("completed")]
    assert (await w.tree(conversation)).open_calls() is None


async def test_after_a_crash_a_task_is_resumed_when_the_conversation_is_opened() -> None:
    journal, research = MemoryJournal(), Research()
    conversation = await crashed(journal)
    tools = research.tools()
    async with world(says("Here."), tools=tools, gate=ALLOW, journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        await resumes(w, conversation, research)
        assert w.tools.calls == []


async def test_after_a_crash_a_message_waits_for_the_task() -> None:
    journal, research = MemoryJournal(), Research()
    conversation = await crashed(journal)
    tools = research.tools()
    async with world(says("Here."), tools=tools, gate=ALLOW, journal=journal) as w:
        w.send("and now?", conversation)
        await resumes(w, conversation, research)
        told = w.driver.requests[0].messages
        assert [message.role for message in told] == ["user", "assistant", "tool", "user"]
        assert told[2].answers[0].status == "completed"


async def test_a_message_that_waits_for_a_task_is_given_back_at_an_interruption() -> None:
    journal, research = MemoryJournal(), Research()
    conversation = await crashed(journal)
    tools = research.tools()
    async with world(says("x"), tools=tools, gate=ALLOW, journal=journal) as w:
        message = new_id()
        w.send("and now?", conversation, message)
        await begun(research)
        w.engine.submit(commands.ChangeMeta(conversation=conversation, title="Meanwhile"))
        await w.until(events.MetaChanged)
        w.engine.submit(commands.Interrupt(conversation=conversation, reason="Stop."))
        assert (await w.until(events.ToolFinished)).item.status == "interrupted"
        failed = await w.until(events.CommandFailed)
        assert (failed.ref, failed.error.message) == (message, "Not done. Stop.")
        assert research.kept == [False]
        assert (await w.tree(conversation)).open_calls() is None


async def test_a_task_that_cannot_be_resumed_says_so() -> None:
    journal = MemoryJournal()
    conversation = await crashed(journal)

    async def gone(task_id: str, dialog: Dialog) -> str:
        raise McpFault(f"Server travel knows nothing of the task {task_id} any more.")

    tools = talking(Research().talk, resume=gone)
    async with world(says("Sorry."), tools=tools, gate=ALLOW, journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        finished = await w.until(events.ToolFinished)
        assert finished.item.status == "failed"
        assert "knows nothing of the task t1" in text_of(finished.item.parts)
        assert (await w.turn(conversation)).stop_reason == "stop"


async def test_a_task_whose_server_is_gone_says_so() -> None:
    journal = MemoryJournal()
    conversation = await crashed(journal)
    async with world(says("Sorry."), tools=FakeTools(), gate=ALLOW, journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        assert (await w.until(events.ToolFinished)).item.status == "failed"
        assert (await w.turn(conversation)).stop_reason == "stop"


@pytest.mark.parametrize("ended", ["call", "turn"])
async def test_a_call_that_a_person_ends_ends_its_task(ended: str) -> None:
    research = Research()
    async with world(BOOK, says("ok"), tools=research.tools(), gate=ALLOW) as w:
        conversation = w.send("find it")
        await begun(research)
        command = (
            commands.CancelCall(conversation=conversation, call_id="c1")
            if ended == "call"
            else commands.Interrupt(conversation=conversation)
        )
        w.engine.submit(command)
        assert (await w.until(events.ToolFinished)).item.status == "interrupted"
        await w.turn(conversation)
        assert research.kept == [False]


async def test_closing_patina_leaves_the_task_to_its_server_and_the_next_start_resumes_it() -> None:
    journal, research, later = MemoryJournal(), Research(), Research()
    answers: list[str] = []
    async with anyio.create_task_group() as connection:

        async def on_connection(dialog: Dialog) -> None:
            answers.append((await dialog.ask(FORM)).action)

        async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
            connection.start_soon(on_connection, dialog)
            return await research.talk(arguments, dialog)

        async with world(BOOK, tools=talking(talk), gate=ALLOW, journal=journal) as w:
            conversation = w.send("find it")
            await w.until(events.QuestionAsked)
            await begun(research)
        await anyio.lowlevel.checkpoint()
        connection.cancel_scope.cancel()
    assert research.kept == [True]
    assert answers == []  # nobody answered: the server is not told that a person did
    tree = Tree((await journal.read(conversation)).items)
    assert tree.open_calls() is not None
    assert not [item for item in tree.path() if isinstance(item, items.Answer)]
    async with world(says("Here."), tools=later.tools(), gate=ALLOW, journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        await resumes(w, conversation, later)


async def test_a_fork_does_not_follow_the_task_of_its_source() -> None:
    journal, research = MemoryJournal(), Research()
    source = await crashed(journal)
    tools = research.tools()
    async with world(says("Without."), tools=tools, gate=ALLOW, journal=journal) as w:
        copy = new_id()
        w.engine.submit(commands.ForkConversation(conversation=copy, source=source))
        await w.until(events.NoteAdded)
        w.send("and now?", copy)
        assert (await w.until(events.ToolFinished)).item.status == "interrupted"
        assert (await w.turn(copy)).stop_reason == "stop"
        assert research.resumed == []
        assert (await w.tree(source)).open_calls() is not None


async def test_beside_a_task_other_calls_of_the_message_are_closed_or_asked_again() -> None:
    journal, research = MemoryJournal(), Research()
    three = calls(
        ("c1", "travel__book", "{}"), ("c2", "travel__look", "{}"), ("c3", "travel__look", "{}")
    )
    async with world(three, tools=Research().tools(), gate=ALLOW) as w:
        conversation = w.send("find it")
        await w.until(events.TaskChanged)
        found = [
            item
            for item in (await w.services.journal.read(conversation)).items
            if not isinstance(item, items.Result)
            and not (isinstance(item, items.Call | items.Decision) and item.call_id == "c3")
        ]
    parent = None  # as if the items left out had never been written
    for item in found:
        if isinstance(item, items.TREE_KINDS):
            await journal.append(conversation, [replace(item, parent=parent)])
            parent = item.id
        else:
            await journal.append(conversation, [item])  # type: ignore[list-item]
    tools = research.tools()
    async with world(says("Here."), tools=tools, gate=ALLOW, journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        lost = await w.until(events.ToolFinished)
        assert (lost.item.call_id, lost.item.status) == ("c2", "interrupted")
        again = await w.until(events.ToolFinished)
        assert (again.item.call_id, again.item.status) == ("c3", "completed")
        research.done.set()
        assert (await w.until(events.ToolFinished)).item.call_id == "c1"
        assert (await w.turn(conversation)).stop_reason == "stop"
