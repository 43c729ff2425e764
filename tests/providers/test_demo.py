"""The demo model and the scripted driver."""

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.providers.endpoint import HELLO, Told, ask, fold

from patina.model.chat import ChatMessage, ChatRequest, StreamEvent, ToolAnswer, ToolSpec
from patina.model.items import CallStatus
from patina.model.parts import Text, ToolCall
from patina.providers.demo import DemoDriver, _pieces
from patina.providers.scripted import Pause, ScriptedDriver, call, fail, say

pytestmark = pytest.mark.anyio

SUM = ToolSpec(
    "everything__get-sum",
    "Adds two numbers.",
    {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "integer"}, "c": {}},
        "required": ["a", "b"],
    },
)
ECHO = ToolSpec(
    "everything__echo",
    "Echoes back the input message.",
    {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
)


def saying(text: str, *tools: ToolSpec) -> ChatRequest:
    return structs.replace(HELLO, messages=(ChatMessage("user", (Text(text),)),), tools=tools)


async def demo(text: str, *tools: ToolSpec) -> Told:
    return await ask(DemoDriver(), saying(text, *tools))


async def test_it_says_what_it_is_in_markdown() -> None:
    told = await demo("Hello\nthere")
    assert "demo" in told.text
    assert "not a language model" in told.text
    assert "> Hello\n> there" in told.text
    assert told.text.startswith("# ")
    assert "\n- " in told.text
    assert "```sh\n" in told.text
    assert told.deltas > 40
    assert told.finished.reason == "stop"
    assert told.finished.usage is not None
    assert told.finished.model == "demo"


async def test_the_same_question_has_the_same_answer() -> None:
    assert await demo("Hello") == await demo("Hello")


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("Use everything.get-sum with 2 and 3", "everything__get-sum", '{"a": 2.0, "b": 3}'),
        ("what does get sum say of 7", "everything__get-sum", '{"a": 7.0, "b": 1}'),
        ("please call echo", "everything__echo", '{"message": "please call echo"}'),
        ('use echo with "hé 😀"', "everything__echo", '{"message": "hé 😀"}'),
        ("use a tool that adds numbers", "everything__get-sum", '{"a": 1.0, "b": 1}'),
    ],
)
async def test_it_calls_the_tool_that_is_meant(text: str, name: str, arguments: str) -> None:
    told = await demo(text, SUM, ECHO)
    ((called, identifier, sent),) = told.calls
    assert (called, sent) == (name, arguments)
    assert 5 < len(identifier) <= 40
    assert told.finished.reason == "tool_calls"


@pytest.mark.parametrize("text", ["Hello", "What is the sum of all fears?", "", "use"])
async def test_it_calls_no_tool_by_chance(text: str) -> None:
    assert not (await demo(text, SUM, ECHO)).calls


async def test_it_calls_no_tool_that_it_was_not_given() -> None:
    assert not (await demo("use echo")).calls


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"required": ["x"]},
        {"properties": {"x": True}, "required": ["x"]},
        {"properties": {"x": {"enum": ["one", "two"]}}, "required": ["x"]},
        {"properties": {"x": {"type": "boolean"}, "y": {"type": "array"}}, "required": ["x", "y"]},
        {"properties": {"x": {"type": ["string", "null"], "default": 4}}, "required": ["x"]},
        {
            "properties": {
                "x": {"type": "object", "properties": {"y": {"type": "null"}}, "required": ["y"]}
            },
            "required": ["x"],
        },
    ],
)
async def test_any_schema(schema: dict[str, Any]) -> None:
    told = await demo("use odd", ToolSpec("s__odd", "", schema))
    assert len(told.calls) == 1


@pytest.mark.parametrize("status", ["completed", "failed", "denied", "timed_out", "interrupted"])
async def test_it_tells_what_came_of_a_call(status: CallStatus) -> None:
    asked = saying("use echo", ECHO)
    request = structs.replace(
        asked,
        messages=(
            *asked.messages,
            ChatMessage("assistant", (ToolCall("c", "everything__echo", "{}"),)),
            ChatMessage("tool", answers=(ToolAnswer("c", status, (Text("Echo: hi"),)),)),
        ),
    )
    told = await ask(DemoDriver(), request)
    assert "everything__echo" in told.text
    assert "Echo: hi" in told.text
    assert not told.calls


@given(st.text())
def test_cutting_into_pieces_loses_nothing(text: str) -> None:
    assert "".join(_pieces(text)) == text


async def test_a_script_is_played_in_order() -> None:
    driver = ScriptedDriver([[*say("a", "b")]])
    driver.add([*call("t", {"x": 1})], lambda request: say(request.model), fail("quota", "No."))
    assert (await ask(driver)).text == "ab"
    assert (await ask(driver)).calls == [("t", "call_1", '{"x": 1}')]
    assert (await ask(driver)).text == HELLO.model
    assert (await ask(driver)).failure.message == "No."
    assert (await ask(driver)).failure.kind == "internal"
    assert len(driver.requests) == 5


async def test_a_gate_holds_until_it_is_opened() -> None:
    gate = Pause.closed()
    driver = ScriptedDriver([[*say("a"), gate, *say("b")]])
    events: list[StreamEvent] = []

    async def listen() -> None:
        async for one in driver.stream(HELLO):
            events.append(one)  # noqa: PERF401 - the other task reads it meanwhile

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await gate.reached.wait()
            assert (len(events), driver.running) == (1, 1)
            gate.passed.set()
    assert fold(events).text == "ab"
    assert driver.running == 0
