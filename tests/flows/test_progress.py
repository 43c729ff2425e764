"""A call that tells how far it is, what bounds it, and how one call is ended alone."""

import math
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from tests.flows.harness import World, calls, fake_tools, says, talking, world

from patina.model import commands, events
from patina.model.chat import ToolOutcome
from patina.model.parts import Text, text_of
from patina.model.questions import Asked
from patina.model.settings import PermissionRule, PermissionSettings
from patina.permission.gate import PolicyGate
from patina.ports.dialog import Dialog

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
BOOK = calls(("c1", "travel__book", "{}"))
FORM = Asked(kind="form", text="Sure?", form={"properties": {"sure": {"type": "boolean"}}})


class Held:
    """A tool that tells and asks when the test says so; `dialog` is there once it runs."""

    def __init__(self) -> None:
        self.running = anyio.Event()
        self.done = anyio.Event()
        self.dialog: Dialog

    async def talk(self, arguments: Mapping[str, Any], dialog: Dialog) -> str:
        self.dialog = dialog
        self.running.set()
        await self.done.wait()
        return "booked"

    async def begun(self) -> Dialog:
        with anyio.fail_after(5):
            await self.running.wait()
        return self.dialog


def progress_of(w: World) -> list[events.ToolProgress]:
    return [e for e in w.seen if isinstance(e, events.ToolProgress)]


async def test_progress_and_logs_are_shown_while_the_call_runs() -> None:
    held = Held()
    async with world(BOOK, says("ok"), tools=talking(held.talk), gate=ALLOW) as w:
        conversation = w.send("go")
        dialog = await held.begun()
        dialog.progress(3, 10, "Asking the airlines")
        dialog.log("warning", "slow today")
        dialog.log("loud", "what")
        shown = await w.until(events.ToolProgress)
        assert (shown.call_id, shown.tool) == ("c1", "travel.book")
        assert (shown.done, shown.total, shown.text) == (3, 10, "Asking the airlines")
        assert (await w.until(events.ToolLogged)).level == "warning"
        assert (await w.until(events.ToolLogged)).level == "info"
        held.done.set()
        await w.turn(conversation)
        dialog.progress(4, 10, "too late")
        dialog.log("info", "too late")
        w.send("again", conversation)
        await w.turn(conversation)
        assert len(progress_of(w)) == 1


async def test_a_flood_is_thinned_out_and_its_last_word_is_shown() -> None:
    held = Held()
    async with world(BOOK, says("ok"), tools=talking(held.talk), gate=ALLOW) as w:
        w.send("go")
        dialog = await held.begun()
        for number in range(1000):
            dialog.progress(number, None, "x" * 5000)
            dialog.log("info", f"line {number}")
        await w.clock_has(2)
        w.clock.advance(0.1)
        last = await w.until(events.ToolProgress, lambda e: e.done == 999)
        assert len(progress_of(w)) == 2
        assert (last.total, len(last.text)) == (None, 1000)
        assert len([e for e in w.seen if isinstance(e, events.ToolLogged)]) == 20
        dialog.progress(math.nan, None, "")
        dialog.progress(1000, math.inf, "")
        dialog.progress(1001, math.inf, "")
        held.done.set()
        await w.until(events.ToolFinished)
        assert [(e.done, e.total) for e in progress_of(w)[2:]] == [(1001, None)]


async def test_progress_gives_a_call_time_anew_up_to_a_maximum() -> None:
    held = Held()
    tools = talking(held.talk, timeout=30, most_time=70)
    async with world(BOOK, says("ok"), tools=tools, gate=ALLOW) as w:
        conversation = w.send("go")
        dialog = await held.begun()
        await w.clock_has(1)
        for number in range(3):
            w.clock.advance(20)
            dialog.progress(number, None, "")
            await w.until(events.ToolProgress)
        await w.clock_has(1)
        w.clock.advance(10)
        finished = await w.until(events.ToolFinished)
        assert finished.item.status == "timed_out"
        assert finished.text == "travel.book timed out after 70s"
        assert w.tools.cancelled == ["travel.book"]
        assert (await w.turn(conversation)).stop_reason == "stop"


async def test_a_person_who_went_to_a_page_has_time_to_come_back() -> None:
    """The server has its answer at once and then waits for what happens on the page."""
    held = Held()
    accepted = anyio.Event()

    async def signs_in(arguments: Mapping[str, Any], dialog: Dialog) -> str:
        await dialog.ask(Asked(kind="url", text="Sign in.", url="https://example.org"))
        accepted.set()
        return await held.talk(arguments, dialog)

    async with world(BOOK, says("ok"), tools=talking(signs_in), gate=ALLOW) as w:
        w.send("go")
        w.give(await w.until(events.QuestionAsked))
        dialog = await held.begun()
        await w.clock_has(1)
        w.clock.advance(590)
        dialog.progress(1, None, "")
        await w.until(events.ToolProgress)
        await w.clock_has(1)
        w.clock.advance(29)
        dialog.progress(2, None, "")
        await w.until(events.ToolProgress)
        await w.clock_has(1)
        w.clock.advance(1)  # the visit is over, and so is the time of the whole call
        finished = await w.until(events.ToolFinished)
        assert finished.item.status == "timed_out"


async def test_a_call_that_stops_telling_times_out_as_if_it_had_said_nothing() -> None:
    held = Held()
    async with world(BOOK, says("ok"), tools=talking(held.talk), gate=ALLOW) as w:
        w.send("go")
        dialog = await held.begun()
        await w.clock_has(1)
        w.clock.advance(29)
        dialog.progress(1, None, "")
        w.clock.advance(29.5)
        await w.until(events.ToolProgress)
        await w.clock_has(1)
        w.clock.advance(0.5)
        finished = await w.until(events.ToolFinished)
        assert finished.text == "travel.book timed out after 30s"
        assert "timed out after 30s" in text_of(finished.item.parts)


async def test_the_time_a_person_takes_does_not_count() -> None:
    async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
        said = (await dialog.ask(FORM)).action
        await anyio.sleep_forever()
        return said

    async with world(BOOK, says("ok"), tools=talking(talk, most_time=40), gate=ALLOW) as w:
        w.send("go")
        asked = await w.until(events.QuestionAsked)
        w.clock.advance(100_000)
        w.give(asked, sure=True)
        assert (await w.until(events.QuestionAnswered)).item.rule == "user"
        await w.clock_has(1)
        w.clock.advance(29)
        await anyio.lowlevel.checkpoint()
        await w.clock_has(1)
        w.clock.advance(1)
        finished = await w.until(events.ToolFinished)
        assert finished.text == "travel.book timed out after 30s"
        assert finished.item.duration_ms == 100_030_000


TWO = calls(("c1", "travel__book", "{}"), ("c2", "travel__look", "{}"))


def cancel(w: World, conversation: str, call_id: str) -> None:
    w.engine.submit(commands.CancelCall(conversation=conversation, call_id=call_id))


async def test_one_call_is_cancelled_and_the_turn_goes_on_with_the_others() -> None:
    held = Held()
    async with world(TWO, says("Then not."), tools=talking(held.talk), gate=ALLOW) as w:
        conversation = w.send("go")
        await held.begun()
        await w.until(events.ToolFinished)
        cancel(w, conversation, "c1")
        finished = await w.until(events.ToolFinished)
        assert (finished.item.call_id, finished.item.status) == ("c1", "interrupted")
        assert finished.text == "travel.book interrupted"
        assert "The user cancelled it." in text_of(finished.item.parts)
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert w.tools.cancelled == ["travel.book"]
        answers = w.driver.requests[-1].messages[-1].answers
        assert [answer.status for answer in answers] == ["interrupted", "completed"]
        cancel(w, conversation, "c1")
        assert (await w.until(events.CommandFailed)).ref == "c1"


async def test_a_call_that_waits_for_its_permission_is_cancelled() -> None:
    wanted = calls(("c1", "github__search", "{}"), ("c2", "github__search", "{}"))
    async with world(wanted, says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        first = await w.until(events.PermissionAsked)
        second = await w.until(events.PermissionAsked)
        cancel(w, conversation, "c1")
        finished = await w.until(events.ToolFinished)
        assert (finished.item.call_id, finished.item.status) == ("c1", "interrupted")
        w.answer(first, "allow_once")
        assert (await w.until(events.CommandFailed)).ref == first.item.id
        w.answer(second, "allow_once")
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert len(w.tools.calls) == 1


async def test_a_call_that_is_asked_about_with_others_is_cancelled() -> None:
    wanted = calls(("c1", "github__search", "{}"), ("c2", "github__search", "{}"))
    async with world(wanted, says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        first = await w.until(events.PermissionAsked)
        cancel(w, conversation, "c2")
        w.answer(first, "allow_once")
        assert (await w.turn(conversation)).stop_reason == "stop"
        answers = w.driver.requests[-1].messages[-1].answers
        assert [answer.status for answer in answers] == ["completed", "interrupted"]
        assert len([e for e in w.seen if isinstance(e, events.PermissionDecided)]) == 1


async def test_a_call_that_waits_for_an_answer_is_cancelled() -> None:
    async def talk(arguments: Mapping[str, Any], dialog: Dialog) -> str:
        return (await dialog.ask(FORM)).action

    async with world(BOOK, says("ok"), tools=talking(talk), gate=ALLOW) as w:
        conversation = w.send("go")
        asked = await w.until(events.QuestionAsked)
        cancel(w, conversation, "c1")
        answered = await w.until(events.QuestionAnswered)
        assert answered.item.question == asked.item.id
        assert answered.item.answered.action == "cancel"
        assert (await w.until(events.ToolFinished)).item.status == "interrupted"
        assert (await w.turn(conversation)).stop_reason == "stop"


async def test_a_result_that_came_first_is_kept() -> None:
    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        cancel(w, conversation, "c1")
        return ToolOutcome((Text("found"),))

    wanted = calls(("c1", "github__search", "{}"))
    async with world(wanted, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        conversation = w.send("go")
        ended = await w.turn(conversation)
        assert ended.stop_reason == "stop"
        results = [e.item for e in w.seen if isinstance(e, events.ToolFinished)]
        assert len(results) == 1
