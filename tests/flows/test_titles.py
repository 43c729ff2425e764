"""Titles: the first words, then one that the conversation's model makes in the background."""

import anyio
import pytest
from tests.flows.harness import Register, World, says, world

from patina.engine.titles import clean_title
from patina.model import commands, events
from patina.model.chat import Failed, Finished, TextDelta
from patina.model.faults import Failure
from patina.model.parts import text_of
from patina.model.settings import ChatSettings
from patina.model.usage import Usage
from patina.ports.journal import Summary
from patina.providers.scripted import Pause, ScriptedDriver, Step

pytestmark = pytest.mark.anyio


async def title_of(w: World, conversation: str) -> str:
    found: Summary = await w.services.journal.summary(conversation)
    return found.title


async def titled(w: World, conversation: str) -> str:
    changed = await w.until(
        events.MetaChanged, lambda e: e.conversation == conversation and bool(e.item.title)
    )
    assert changed.item.title is not None
    return changed.item.title


async def test_after_the_first_turn_the_model_makes_a_title() -> None:
    async with world(says("Bronze grows green."), says('"Patina on bronze."'), titles=True) as w:
        conversation = w.send("Why is bronze green?", model="near/small:high")
        await w.turn(conversation)
        assert await title_of(w, conversation) == "Why is bronze green?"
        assert await titled(w, conversation) == "Patina on bronze"
        assert await title_of(w, conversation) == "Patina on bronze"
        request = w.driver.requests[-1]
        assert (request.model, request.effort, request.tools) == ("small", None, ())
        asked = text_of(request.messages[0].parts)
        assert "Why is bronze green?" in asked
        assert "Bronze grows green." in asked
        w.driver.add(says("More."))
        w.send("Go on", conversation)
        await w.turn(conversation)
        assert len(w.driver.requests) == 3  # it has one


async def test_no_title_is_made_where_none_is_wanted() -> None:
    for titles, chat in ((False, ChatSettings()), (True, ChatSettings(titles="off"))):
        async with world(says("one"), says("two"), titles=titles, chat=chat) as w:
            conversation = w.send("Hi")
            await w.turn(conversation)
            w.send("again", conversation)
            await w.turn(conversation)
            assert len(w.driver.requests) == 2
            assert "title" not in (await w.tree(conversation)).facts


async def test_it_goes_to_the_provider_of_the_conversation_and_to_no_other() -> None:
    near = ScriptedDriver([says("answer"), says("A title")])
    async with world(titles=True, others={"near": near}) as w:
        conversation = w.send("Hi", model="near/one")
        await w.turn(conversation)
        await titled(w, conversation)
        assert (len(near.requests), w.driver.requests) == (2, [])


async def test_a_title_that_the_user_gave_meanwhile_stays() -> None:
    gate = Pause.closed()
    slow: list[Step] = [TextDelta("Mine"), gate, Finished("stop")]
    async with world(says("answer"), slow, says("more"), titles=True) as w:
        conversation = w.send("Hi")
        await w.turn(conversation)
        with anyio.fail_after(5):
            await gate.reached.wait()
        w.engine.submit(commands.ChangeMeta(conversation=conversation, title="Yours"))
        assert await titled(w, conversation) == "Yours"
        gate.passed.set()
        w.send("Go on", conversation)
        await w.turn(conversation)
        assert (await w.tree(conversation)).facts["title"] == "Yours"
        # The dates say the same to who reads the files later.
        assert await title_of(w, conversation) == "Yours"


async def test_a_failure_is_told_to_nobody_and_tried_again_after_a_turn() -> None:
    async with world(
        says("answer"), [Failed(Failure("overloaded", "Too much."))], says("more"), says("Late"),
        titles=True,
    ) as w:  # fmt: skip
        conversation = w.send("Hi")
        await w.turn(conversation)
        with anyio.fail_after(5):
            while len(w.driver.requests) < 2 or w.driver.running:
                await anyio.lowlevel.checkpoint()
        w.send("Go on", conversation)
        await w.turn(conversation)
        assert await titled(w, conversation) == "Late"
        assert "command.failed" not in w.kinds()
        assert "note.added" not in w.kinds()


async def test_a_turn_waits_for_no_title() -> None:
    never = Pause.closed()
    async with world(
        says("answer"), [TextDelta("A"), never, Finished("stop")], says("more"), says("In the end"),
        titles=True,
    ) as w:  # fmt: skip
        conversation = w.send("Hi")
        await w.turn(conversation)
        with anyio.fail_after(5):
            await never.reached.wait()
        w.send("Go on", conversation)
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert await titled(w, conversation) == "In the end"


async def test_closing_waits_for_no_title() -> None:
    never = Pause.closed()
    with anyio.fail_after(4):
        async with world(
            says("answer"), [TextDelta("A"), never, Finished("stop")], titles=True
        ) as w:
            conversation = w.send("Hi")
            await w.turn(conversation)
            await never.reached.wait()
        assert w.driver.running == 0


async def test_a_title_is_made_when_asked_for() -> None:
    async with world(says("answer"), says("First"), says("Second")) as w:
        conversation = w.send("Hi")
        await w.turn(conversation)
        for wanted in ("First", "Second"):
            w.engine.submit(commands.TitleConversation(conversation=conversation))
            assert await titled(w, conversation) == wanted
        w.driver.add([Failed(Failure("overloaded", "Too much."))], says(" \n* "))
        for kind in ("overloaded", "server"):
            w.engine.submit(commands.TitleConversation(conversation=conversation))
            failed = await w.until(events.CommandFailed)
            assert (failed.command, failed.error.kind) == ("conversation.title", kind)
        assert (await w.tree(conversation)).facts["title"] == "Second"


async def test_a_title_passes_the_money_gate() -> None:
    used = Usage(input_tokens=9, output_tokens=2)
    meter = Register()
    async with world(
        says("answer"), [TextDelta("T"), Finished("stop", usage=used)], titles=True, meter=meter
    ) as w:
        conversation = w.send("Hi")
        await w.turn(conversation)
        await titled(w, conversation)
        assert [(one.conversation, one.model, one.purpose) for one in meter.held] == [
            (conversation, "one", "chat"),
            (conversation, "one", "title"),
        ]
        assert meter.settled[-1].usage == used


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("Green bronze", "Green bronze"),
        ('\n\n**"Green bronze."**\nBecause …', "Green bronze"),
        ("# Green\tbronze", "Green bronze"),
        ("a b c d e f g h i j k", "a b c d e f g h"),
        ("\x1b]0;owned\x07\u202eTitle\x00", "]0;ownedTitle"),
        ("x" * 200, "x" * 80),
        ("青銅の緑青について", "青銅の緑青について"),
        ("<think>\nWhat is it?\n</think>\n\nGreen bronze", "Green bronze"),
        ("<think>\nThis was cut", ""),
        (" \n *** \n", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_what_a_model_wrote_becomes_one_line_of_plain_text(written: str, title: str) -> None:
    assert clean_title(written) == title
    assert len(clean_title(written)) <= 80
