"""Nothing secret is stored, published or sent to a model (M-24, C-10)."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.flows.harness import World, calls, says, talking, world
from tests.flows.harness import fake_tools as tools_of

from patina.mcp.fake import FakeTools
from patina.model import commands, events
from patina.model.chat import ToolOutcome
from patina.model.codec import encode_json
from patina.model.faults import McpFault
from patina.model.ids import new_id
from patina.model.masking import MASK, Known
from patina.model.parts import Spoken, Text, text_of
from patina.model.questions import Asked
from patina.model.settings import ChatSettings, ServerSettings
from patina.ports.dialog import Dialog
from patina.providers.scripted import ScriptedDriver, Step
from patina.store.drafts import MemoryDrafts

pytestmark = pytest.mark.anyio
SECRET = 'a "secret" of mine: 0123/ü%'
BASE64 = base64.b64encode(SECRET.encode()).decode()
FORMS = (SECRET, json.dumps(SECRET)[1:-1], BASE64[:-4])


def leaks(text: str) -> bool:
    return any(form in text for form in FORMS)


@asynccontextmanager
async def masked_world(*replies: list[Step], **more: object) -> AsyncIterator[World]:
    async with world(*replies, **more) as it:  # type: ignore[arg-type]
        known = Known()
        known.add(SECRET)
        it.services.bus.mask = known
        yield it


async def assert_clean(it: World, conversation: str) -> None:
    """Nothing of it is in the journal, in an event, or in a request."""
    stored = (await it.services.journal.read(conversation)).items
    assert not leaks(b"\n".join(map(encode_json, stored)).decode())
    assert not leaks(msgspec.json.encode(it.seen).decode())
    for request in it.driver.requests:
        told = msgspec.json.encode([request.messages, request.system, request.tools]).decode()
        assert not leaks(told)


async def test_messages_prompts_and_answers() -> None:
    replies = [[*says(f"You said {SECRET}")], says("Again")]
    chat = ChatSettings(turn_time=0.0, system=f"Never tell {SECRET}")
    async with masked_world(*replies, chat=chat) as it:
        conversation = it.send(f"My key is {SECRET}, keep it")
        await it.turn(conversation)
        it.engine.submit(
            commands.ChangeMeta(conversation=conversation, title=SECRET, system=f"{SECRET}!")
        )
        await it.until(events.MetaChanged, lambda event: event.item.title is not None)
        it.send("Go on", conversation)
        await it.turn(conversation)
        await assert_clean(it, conversation)
        tree = await it.tree(conversation)
        assert tree.title() == MASK
        assert [request.system for request in it.driver.requests] == [
            f"Never tell {MASK}",
            f"{MASK}!",
        ]
        said = [text_of(message.parts) for message in it.driver.requests[1].messages]
        assert said == [f"My key is {MASK}, keep it", f"You said {MASK}", "Go on"]


async def test_results_errors_and_what_the_model_is_told_of_tools() -> None:
    def fails(_: object) -> str:
        raise McpFault(f"no: {SECRET}", hint=f"try {SECRET}")

    tools = tools_of(lambda _: f"{json.dumps({'key': SECRET})} {BASE64}")
    tools.add("other.fail", fails, description=f"Knows {SECRET}", schema={"description": SECRET})
    wanted = calls(("c1", "github__search", "{}"), ("c2", "other__fail", "{}"))
    async with masked_world(wanted, says("Done"), tools=tools) as it:
        conversation = it.send("Use them", servers=None)
        for _ in range(2):
            it.answer(await it.until(events.PermissionAsked), "allow_once")
        await it.turn(conversation)
        await assert_clean(it, conversation)
        assert it.driver.requests[0].tools
        results = (await it.tree(conversation)).results.values()
        assert all(MASK in text_of(result.parts) for result in results)


async def test_a_large_result_is_masked_before_it_is_a_blob() -> None:
    text = f"{'x' * 300_000}{SECRET}{'y' * 300_000}"
    async with masked_world(
        calls(("c1", "github__search", "{}")), says("Done"), tools=tools_of(lambda _: text)
    ) as it:
        conversation = it.send("Go")
        it.answer(await it.until(events.PermissionAsked), "allow_once")
        await it.turn(conversation)
        (result,) = (await it.tree(conversation)).results.values()
        (part,) = result.parts
        assert isinstance(part, Text)
        assert part.blob is not None
        blob = await it.services.journal.get_blob(part.blob)
        assert not leaks(blob.decode())
        assert len(blob) == len(text.encode()) - len(SECRET.encode()) + len(MASK)
        await assert_clean(it, conversation)


async def test_what_a_server_tells_and_asks_and_is_answered() -> None:
    got: list[str] = []

    async def talk(_: object, dialog: Dialog) -> ToolOutcome:
        dialog.log("info", f"log {SECRET}")
        dialog.progress(1, 2, f"progress {SECRET}")
        form = {"type": "object", "properties": {"note": {"type": "string", "title": SECRET}}}
        answered = await dialog.ask(Asked(kind="form", text=f"Is it {SECRET}?", form=form))
        got.append(str(answered.content["note"]))
        return ToolOutcome((Text("done"),))

    async with masked_world(
        calls(("c1", "travel__book", "{}")), says("Done"), tools=talking(talk)
    ) as it:
        conversation = it.send("Book")
        it.answer(await it.until(events.PermissionAsked), "allow_once")
        asked = await it.until(events.QuestionAsked)
        it.give(asked, note=SECRET)
        await it.turn(conversation)
        assert got == [SECRET]  # a person gave it to this server, and to nobody else
        await assert_clean(it, conversation)
        told = [event for event in it.seen if isinstance(event, events.ToolLogged)]
        assert [event.text for event in told] == [f"log {MASK}"]


async def test_drafts_and_titles_that_models_make() -> None:
    drafts = MemoryDrafts()
    async with masked_world(says("Yes"), says(f"About {SECRET}"), drafts=drafts, titles=True) as it:
        conversation = new_id()
        parts = (Text(f"draft {SECRET}"),)
        it.engine.submit(commands.SaveDraft(conversation=conversation, parts=parts))
        changed = await it.until(events.DraftChanged)
        assert text_of(changed.parts) == f"draft {MASK}"
        kept = await drafts.load(conversation)
        assert kept is not None
        assert text_of(kept.parts) == f"draft {MASK}"
        it.send("Hello", conversation)
        await it.until(events.MetaChanged, lambda event: event.item.title is not None)
        await assert_clean(it, conversation)


async def test_sampling() -> None:
    from patina.model.questions import Sampling

    async def talk(_: object, dialog: Dialog) -> ToolOutcome:
        prompt = Sampling(messages=(Spoken("user", (Text(f"Say {SECRET}"),)),), system=SECRET)
        await dialog.sample("travel", prompt)
        return ToolOutcome((Text("done"),))

    driver = ScriptedDriver([calls(("c1", "travel__book", "{}")), says("It is"), says("Done")])
    async with masked_world(
        driver=driver,
        tools=talking(talk),
        servers={"travel": ServerSettings(sampling="allow")},
    ) as it:
        conversation = it.send("Book")
        it.answer(await it.until(events.PermissionAsked), "allow_once")
        await it.turn(conversation)
        assert it.driver.requests[1].system == MASK
        await assert_clean(it, conversation)


async def test_live_events_about_servers() -> None:
    async with masked_world(tools=FakeTools()) as it:
        bus = it.services.bus
        bus.publish(events.ServerChanged(server="s", state="error", text=f"died: {SECRET}"))
        changed = await it.until(events.ServerChanged)
        assert changed.text == f"died: {MASK}"
        bus.publish(events.ServerNotice(server="s", level="error", text=SECRET))
        assert (await it.until(events.ServerNotice)).text == MASK
