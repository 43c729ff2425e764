"""A crash at any moment: what was acknowledged is there, what was open is closed or asked again."""

from collections.abc import Sequence

import pytest
from tests.flows.harness import World, calls, fake_tools, says, world

from patina.model import commands, events, items
from patina.model.chat import TextDelta
from patina.model.faults import StoreFault
from patina.model.parts import ToolCall, text_of
from patina.model.settings import PermissionRule, PermissionSettings
from patina.model.tree import Tree, tool_calls
from patina.permission.gate import PolicyGate
from patina.ports.journal import Appended
from patina.store.memory import MemoryJournal

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
WANTED = calls(("c1", "github__search", '{"query":"a"}'), ("c2", "github__search", "{}"))


async def whole_conversation() -> tuple[str, list[items.AnyItem]]:
    """A turn with two calls, both asked about, and a checkpointed answer, item by item."""
    async with world(WANTED, says("Done."), tools=fake_tools()) as w:
        conversation = w.send("find it")
        for _ in range(2):
            w.answer(await w.until(events.PermissionAsked), "allow_once")
        await w.turn(conversation)
        transcript = await w.services.journal.read(conversation)
        written = [item for item in transcript.items if not isinstance(item, items.Head)]
        head = [item for item in transcript.items if isinstance(item, items.Head)]
        return conversation, [*head, *written]  # type: ignore[list-item]


async def journal_of(conversation: str, written: list[items.AnyItem]) -> MemoryJournal:
    journal = MemoryJournal()
    await journal.append(conversation, written)
    return journal


def calls_are_answered(tree: Tree) -> bool:
    path = tree.path()
    results = {(item.message, item.call_id) for item in path if isinstance(item, items.Result)}
    return all(
        (item.id, call.id) in results
        for item in path
        if isinstance(item, items.Message)
        for call in tool_calls(item)
    )


async def test_after_a_crash_at_any_item_the_conversation_goes_on() -> None:
    conversation, written = await whole_conversation()
    for kept in range(3, len(written) + 1):
        journal = await journal_of(conversation, written[:kept])
        async with world(says("Going on."), tools=fake_tools(), journal=journal) as w:
            w.send("and now?", conversation)
            ended = await w.turn(conversation)
            assert ended.stop_reason == "stop", f"after {kept} items"
            tree = await w.tree(conversation)
            assert calls_are_answered(tree)
            assert {item.id for item in written[:kept]} <= {
                item.id for item in (await journal.read(conversation)).items
            }
            answered(w)


def answered(w: World) -> None:
    """Every call in the request is answered in the message that follows it."""
    messages = w.driver.requests[-1].messages
    for message, after in zip(messages, [*messages[1:], None], strict=True):
        wanted = [part.id for part in message.parts if isinstance(part, ToolCall)]
        if wanted:
            assert after is not None
            assert [answer.call_id for answer in after.answers] == wanted


async def test_opening_after_a_crash_closes_what_ran_and_keeps_what_was_said() -> None:
    conversation, written = await whole_conversation()
    call = next(n for n, item in enumerate(written) if isinstance(item, items.Call))
    journal = await journal_of(conversation, written[: call + 1])
    async with world(tools=fake_tools(), journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        finished = await w.until(events.ToolFinished)
        assert finished.item.status == "interrupted"
        assert finished.text == "github.search interrupted"
        if not calls_are_answered(await w.tree(conversation)):
            await w.until(events.ToolFinished)
        assert calls_are_answered(await w.tree(conversation))


async def test_a_question_that_nobody_answered_is_asked_again_after_a_restart() -> None:
    conversation, written = await whole_conversation()
    first = next(n for n, item in enumerate(written) if isinstance(item, items.Ask))
    journal = await journal_of(conversation, written[: first + 1])
    async with world(says("Done."), tools=fake_tools(), journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        asked = await w.until(events.PermissionAsked)
        assert asked.item == written[first]
        w.answer(asked, "allow_once")
        w.answer(await w.until(events.PermissionAsked), "deny")
        ended = await w.turn(conversation)
        assert ended.stop_reason == "stop"
        tree = await w.tree(conversation)
        results = [item for item in tree.path() if isinstance(item, items.Result)]
        assert [result.status for result in results] == ["denied", "completed"]
        asks = [item for item in tree.path() if isinstance(item, items.Ask)]
        assert len({ask.id for ask in asks}) == 2


async def test_a_cut_answer_is_kept_as_far_as_its_checkpoints_go() -> None:
    async with world([TextDelta("x")]) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        transcript = await w.services.journal.read(conversation)
        start = next(i for i in transcript.items if isinstance(i, items.ReplyStart))
        kept = list(transcript.items[: transcript.items.index(start) + 1])
    kept.append(items.Checkpoint(id="k", ts=start.ts, message=start.message, text="Half an ans"))
    journal = await journal_of(conversation, kept)  # type: ignore[arg-type]
    async with world(says("Whole."), journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        added = await w.until(events.MessageAdded)
        assert added.item.id == start.message
        assert (text_of(added.item.parts), added.item.partial) == ("Half an ans", True)
        note = await w.until(events.NoteAdded)
        assert note.item.level == "warning"
        w.send("go on", conversation)
        await w.turn(conversation)
        assert [text_of(m.parts) for m in w.driver.requests[-1].messages] == [
            "go",
            "Half an ans",
            "go on",
        ]


async def test_a_whole_conversation_is_opened_without_writing_anything() -> None:
    conversation, written = await whole_conversation()
    journal = await journal_of(conversation, written)
    async with world(journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        await w.until(events.ConversationOpened)
    assert len((await journal.read(conversation)).items) == len(written)


class FullDisk(MemoryJournal):
    """A journal whose disk is full for some kind of item, until space is made."""

    def __init__(self, kind: type[items.Item]) -> None:
        super().__init__()
        self.kind: type[items.Item] | None = kind

    async def append(self, conversation: str, items: Sequence[items.AnyItem]) -> Appended:
        if self.kind is not None and any(isinstance(item, self.kind) for item in items):
            raise StoreFault("The disk is full.", hint="Make space.")
        return await super().append(conversation, items)


@pytest.mark.parametrize("kind", [items.Message, items.Decision, items.Call, items.Result])
async def test_a_full_disk_ends_the_turn_with_its_own_words_and_nothing_is_lost(
    kind: type[items.Item],
) -> None:
    journal = FullDisk(kind)
    async with world(WANTED, says("On."), tools=fake_tools(), gate=ALLOW, journal=journal) as w:
        conversation = w.send("find it")
        told = await w.until(events.TurnEnded | events.CommandFailed)  # type: ignore[arg-type]
        assert told.error is not None
        assert (told.error.kind, told.error.message) == ("store", "The disk is full.")
        assert told.error.hint == "Make space."
        journal.kind = None
        w.send("again", conversation)
        ended = await w.turn(conversation)
        assert ended.error is None
        assert calls_are_answered(await w.tree(conversation))
