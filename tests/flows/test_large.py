"""Large texts stand in blobs: the reader gets them whole, and the model too, but for results."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.flows.harness import calls, fake_tools, says, world

from patina.engine.large import MESSAGE_BYTES, RESULT_BYTES, whole_items
from patina.model import codec, commands, items
from patina.model.chat import TextDelta, ThinkingDelta, ToolCallDelta, ToolOutcome
from patina.model.ids import new_id
from patina.model.parts import Citation, Text, text_of
from patina.model.settings import PermissionRule, PermissionSettings
from patina.permission.gate import PolicyGate
from patina.ports.journal import Journal
from patina.providers.scripted import Step

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))


async def texts(journal: Journal, conversation: str) -> list[str]:
    """All texts of a conversation, whole; every line of it is short."""
    transcript = await journal.read(conversation)
    kept = [item for item in transcript.items if not isinstance(item, codec.Unknown)]
    assert all(len(codec.encode_line(item)) < codec.MAX_LINE for item in kept)
    return [
        text_of(item.parts)
        for item in await whole_items(kept, journal)
        if isinstance(item, items.Message | items.Result)
    ]


async def test_a_large_message_and_a_large_answer_are_whole_where_they_matter() -> None:
    question, answer = "ä" * 800_000, "b\n" * 700_000
    async with world(says(answer), says("ok")) as w:
        conversation = w.send(question)
        assert (await w.turn(conversation)).error is None
        w.send("next", conversation)
        await w.turn(conversation)
        assert await texts(w.services.journal, conversation) == [question, answer, "next", "ok"]
        sent = [text_of(message.parts) for message in w.driver.requests[-1].messages]
        assert sent == [question, answer, "next"]


async def test_a_large_tool_result_is_in_a_blob_and_the_model_gets_an_excerpt() -> None:
    result = "first line\n" + "line of a log\n" * 50_000 + "last line"

    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        return ToolOutcome((Text("short"), Text(result)))

    wanted = calls(("c1", "github__search", "{}"))
    async with world(wanted, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        answer = w.driver.requests[-1].messages[-1].answers[0]
        assert answer.parts[0] == Text("short")
        told = text_of(answer.parts[1:])
        assert "700,020 bytes, 50,002 lines" in told
        assert "first line" in told
        assert told.endswith("last line")
        assert len(told) < 4_000
        kept = next(
            item for item in (await w.tree(conversation)).path() if isinstance(item, items.Result)
        )
        assert kept.parts[0] == Text("short")
        assert isinstance(kept.parts[1], Text)
        assert kept.parts[1].blob is not None
        assert f"result:{kept.parts[1].blob[:12]}" in told
        assert len(codec.encode_line(kept)) < RESULT_BYTES
        assert result in "".join(await texts(w.services.journal, conversation))


async def test_what_is_small_enough_stays_in_its_line() -> None:
    text = "x" * (MESSAGE_BYTES - 100)
    async with world(says("ok")) as w:
        conversation = w.send(text)
        await w.turn(conversation)
        message = (await w.tree(conversation)).path()[0]
        assert isinstance(message, items.Message)
        assert message.parts == (Text(text),)


@pytest.mark.parametrize(
    "reply",
    [
        [TextDelta("\x01" * 250_000)],
        [ThinkingDelta("hm" * 800_000, 0), TextDelta("ok", 1)],
        [ThinkingDelta("hm", 0, opaque="x" * 1_500_000), TextDelta("ok", 1)],
        [TextDelta("ok", opaque="x" * 1_500_000)],
        [TextDelta("ok", citations=(Citation("https://example.com", "A", "q" * 900),) * 2_000)],
        [TextDelta("ok", citations=(Citation(title="\ud800"),))],
        [ToolCallDelta(0, "c0", "github__search", "{}", opaque="x" * 1_500_000)],
        [ToolCallDelta(n, f"c{n}", "github__search", '"' + "x" * 250_000 + '"') for n in range(6)],
    ],
)
async def test_whatever_a_model_says_is_kept_in_some_form(reply: list[Step]) -> None:
    async with world(reply, says("ok")) as w:
        conversation = w.send("go", max_replies=2)
        ended = await w.turn(conversation)
        assert ended.error is None
        answers = [
            item
            for item in (await w.tree(conversation)).path()
            if isinstance(item, items.Message) and item.role == "assistant"
        ]
        assert answers
        await texts(w.services.journal, conversation)


async def test_many_small_texts_are_kept_too() -> None:
    async with world(says("ok"), says("ok")) as w:
        conversation = new_id()
        parts = tuple(Text(f"{n}:" + "x" * 1_900) for n in range(700))
        message = commands.SendMessage(conversation=conversation, message_id=new_id(), parts=parts)
        w.engine.submit(message)
        assert (await w.turn(conversation)).error is None
        assert w.driver.requests[0].messages[0].parts == parts
        await texts(w.services.journal, conversation)
