"""One suite for everything that offers tools: the fake, an in-process server, a real process."""

import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from patina.mcp import fake
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.mcp.transports import inprocess
from patina.model.faults import McpFault, UsageFault
from patina.model.parts import Text
from patina.model.settings import ServerSettings
from patina.ports.tools import Tools

pytestmark = pytest.mark.anyio


class Case(NamedTuple):
    """Tools to test, and how to make one of them fail, hang and break, where it can."""

    tools: Tools
    failing: tuple[str, dict[str, object]]
    hanging: str = ""
    breaking: str = ""


class NoKeys:
    def resolve(self, reference: str) -> str | None:
        return None


def supervisor(root: Path, settings: ServerSettings, **more: Any) -> Supervisor:
    async def put_blob(content: bytes) -> str:
        return "0" * 64

    return Supervisor(
        {"demo": settings},
        keys=NoKeys(),
        environ=dict(os.environ),
        data=root,
        state=root,
        cache=root,
        put_blob=put_blob,
        on_change=lambda *event: None,
        allow_start=frozenset({"demo"}),
        **more,
    )


@asynccontextmanager
async def faked(root: Path) -> AsyncGenerator[Case]:
    yield Case(fake.example(), ("demo.fail", {}), "demo.hang", "demo.broken")


@asynccontextmanager
async def in_process(root: Path) -> AsyncGenerator[Case]:
    opener = inprocess.opener(inprocess.Script(inprocess.example_tools(), page=2))
    settings = ServerSettings(command="unused")
    async with supervisor(root, settings, openers={"demo": opener}) as owner:
        yield Case(Toolset(owner), ("demo.fail", {}), "demo.hang", "demo.broken")


@asynccontextmanager
async def demo_process(root: Path) -> AsyncGenerator[Case]:
    settings = ServerSettings(command=sys.executable, args=("-m", "patina.mcp.demo_server"))
    async with supervisor(root, settings) as owner:
        yield Case(Toolset(owner), ("demo.now", {"timezone": "Nowhere/City"}))


Make = Callable[[], AbstractAsyncContextManager[Case]]


@pytest.fixture(params=[faked, in_process, demo_process], ids=["fake", "in-process", "stdio"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    @asynccontextmanager
    async def bounded() -> AsyncGenerator[Case]:
        # A context of the test's own task: cancel scopes do not cross a fixture's.
        with anyio.fail_after(30):
            async with request.param(tmp_path) as made:
                yield made

    return bounded


async def test_list_is_stable_and_found_again(case: Make) -> None:
    async with case() as made:
        tools = made.tools
        first = await tools.list(None)
        assert await tools.list(("demo",)) == first == await tools.list(None)
        assert {"demo.echo", "demo.add"} <= {info.name for info in first}
        for info in first:
            assert tools.find(info.name) == tools.find(info.alias) == info
            assert info.server == "demo"
            assert info.display_name == "demo"
            assert info.timeout == 30.0
        add = tools.find("demo.add")
        assert add is not None
        assert add.description == "Add two numbers"
        assert add.schema["required"] == ["a", "b"]


async def test_unknown_names(case: Make) -> None:
    async with case() as made:
        await made.tools.list(None)
        assert made.tools.find("demo.nothing") is None
        assert made.tools.find("other.echo") is None
        assert made.tools.find("echo") is None
        with pytest.raises(UsageFault, match="nowhere"):
            await made.tools.list(("demo", "nowhere"))


async def test_no_servers_are_no_tools(case: Make) -> None:
    async with case() as made:
        assert await made.tools.list(()) == ()


async def test_check_then_call(case: Make) -> None:
    async with case() as made:
        await made.tools.list(None)
        add = made.tools.find("demo__add")
        assert add is not None
        arguments = made.tools.check(add, '{"a": 2, "b": 3}')
        assert arguments == {"a": 2, "b": 3}
        outcome = await made.tools.call(add, arguments)
        assert outcome.parts == (Text("5"),)
        assert not outcome.is_error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{", "not valid JSON"),
        ("[1, 2]", "not a JSON object"),
        ('{"a": 1}', '"b"'),
        ('{"a": 1, "b": "two"}', "`$.b`: must be of type number"),
        ('{"a": NaN, "b": 1}', "not valid JSON"),
        ("", '"a"'),
    ],
)
async def test_arguments_that_do_not_fit(case: Make, arguments: str, words: str) -> None:
    async with case() as made:
        await made.tools.list(None)
        add = made.tools.find("demo.add")
        assert add is not None
        with pytest.raises(McpFault) as caught:
            made.tools.check(add, arguments)
        assert words in caught.value.failure.message
        assert "demo.add" in caught.value.failure.message
        assert caught.value.failure.hint


@pytest.mark.parametrize("text", ["", "plain", "zwei\nZeilen", "🙂 \u2028 \u0085 \x0c", "\\\"'`$"])
async def test_text_comes_back_unchanged(case: Make, text: str) -> None:
    async with case() as made:
        await made.tools.list(None)
        echo = made.tools.find("demo.echo")
        assert echo is not None
        outcome = await made.tools.call(echo, {"text": text})
        assert outcome.parts == (Text(text),)


async def test_a_tool_that_fails_is_an_outcome(case: Make) -> None:
    async with case() as made:
        await made.tools.list(None)
        name, arguments = made.failing
        tool = made.tools.find(name)
        assert tool is not None
        outcome = await made.tools.call(tool, arguments)
        assert outcome.is_error
        assert isinstance(outcome.parts[0], Text)
        assert "fail" in outcome.parts[0].text


async def test_a_json_rpc_error_is_a_fault_with_its_number(case: Make) -> None:
    async with case() as made:
        await made.tools.list(None)
        if tool := made.tools.find(made.breaking):
            with pytest.raises(McpFault) as caught:
                await made.tools.call(tool, {})
            assert caught.value.failure.code == "-32603"


async def test_calls_at_once_answer_each_its_own(case: Make) -> None:
    async with case() as made:
        await made.tools.list(None)
        echo = made.tools.find("demo.echo")
        assert echo is not None
        answers: dict[str, object] = {}

        async def call(text: str) -> None:
            answers[text] = (await made.tools.call(echo, {"text": text})).parts[0]

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(call, str(number))
        assert answers == {str(number): Text(str(number)) for number in range(20)}


async def test_cancelling_a_call_leaves_the_rest_usable(case: Make) -> None:
    async with case() as made:
        await made.tools.list(None)
        echo = made.tools.find("demo.echo")
        assert echo is not None
        if hang := made.tools.find(made.hanging):
            with anyio.move_on_after(1) as scope:
                await made.tools.call(hang, {})
            assert scope.cancelled_caught
        outcome = await made.tools.call(echo, {"text": "after"})
        assert outcome.parts == (Text("after"),)
