"""What every driver promises, run on each of them."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import cast

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream
from msgspec import Struct
from tests.providers.endpoint import (
    DONE,
    HELLO,
    Handler,
    Received,
    always,
    chunked,
    delta,
    driver_for,
    event,
    fold,
    hello,
    refusal,
    serving,
    torn,
    whole,
)

from patina.model.chat import Failed, Finished, StreamEvent
from patina.model.settings import ProviderKind
from patina.ports.provider import Driver
from patina.providers.demo import DemoDriver
from patina.providers.scripted import Pause, ScriptedDriver, call, fail, say, think

pytestmark = pytest.mark.anyio


class Scene(Struct):
    """A driver whose answer says something, and how to see that nothing of it is left open."""

    driver: Driver
    is_left: Callable[[], bool]


async def _stays(request: Received, stream: SocketStream) -> None:
    """An endpoint that begins to answer and then waits for the client to go."""
    await stream.send(chunked([delta("one "), delta("two ")], ended=False))
    await stream.receive()


@asynccontextmanager
async def over_http(kind: ProviderKind, handler: Handler) -> AsyncIterator[Scene]:
    async with serving(handler) as server, driver_for(server.url, kind) as driver:
        yield Scene(driver, server.gone.is_set)


@asynccontextmanager
async def scripted(*steps: object) -> AsyncIterator[Scene]:
    driver = ScriptedDriver([cast("Sequence[StreamEvent | Pause]", steps)] * 3)
    yield Scene(driver, lambda: driver.running == 0)


@asynccontextmanager
async def demo() -> AsyncIterator[Scene]:
    yield Scene(DemoDriver(), lambda: True)


Scenery = Callable[[], AbstractAsyncContextManager[Scene]]


def http(kind: ProviderKind, response: bytes) -> Scenery:
    return lambda: over_http(kind, always(response))


CALL = delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "t", "arguments": "{}"}}])
ENDINGS: dict[str, Scenery] = {
    "demo": demo,
    "scripted text": lambda: scripted(*think("hm"), *say("a", "b")),
    "scripted call": lambda: scripted(*call("t", {"x": 1})),
    "scripted failure": lambda: scripted(*say("a"), *fail("overloaded")),
    "scripted finish": lambda: scripted(*say("a"), Finished("length"), *say("never")),
    "openai": http("openai", hello()),
    "azure": http("azure_openai", hello()),
    "compatible": http("openai_compatible", hello()),
    "ollama": http("ollama", hello()),
    "call": http("openai", chunked([CALL, delta(finish="tool_calls"), DONE])),
    "refused": http("openai", refusal(401, {"message": "no"})),
    "cut": lambda: over_http("openai", torn(chunked([delta("a")], ended=False))),
    "no end": http("openai", chunked([delta("a")])),
    "error after 200": http("openai", chunked([delta("a"), event({"error": {"message": "x"}})])),
    "rubbish": http("openai", whole(b"<html>")),
    "empty": http("openai", whole(b"")),
    "two ends": http("openai", chunked([delta("a", "stop"), delta(finish="length"), DONE, DONE])),
}
STAYING: dict[str, Scenery] = {
    "openai": lambda: over_http("openai", _stays),
    "azure": lambda: over_http("azure_openai", _stays),
    "compatible": lambda: over_http("openai_compatible", _stays),
    "scripted": lambda: scripted(*say("one ", "two "), Pause.closed()),
}


async def stream_of(driver: Driver) -> AsyncIterator[StreamEvent]:
    """The events of one answer; leaving it early closes the driver's stream."""
    stream = cast("AsyncGenerator[StreamEvent]", driver.stream(HELLO))
    async with aclosing(stream):
        async for one in stream:
            yield one


@pytest.mark.parametrize("name", ENDINGS)
async def test_each_stream_ends_in_exactly_one_terminal_event(name: str) -> None:
    async with ENDINGS[name]() as scene:
        with anyio.fail_after(5):
            events = [one async for one in stream_of(scene.driver)]
        told = fold(events)  # checks the order of things
        assert isinstance(told.end, Finished | Failed)
        if isinstance(told.end, Failed):
            assert told.failure.message.isprintable()


@pytest.mark.parametrize("name", ENDINGS)
async def test_asking_twice_gives_two_answers(name: str) -> None:
    async with ENDINGS[name]() as scene:
        with anyio.fail_after(5):
            first = fold([one async for one in stream_of(scene.driver)])
            second = fold([one async for one in stream_of(scene.driver)])
        assert (first.text, type(first.end)) == (second.text, type(second.end))


@pytest.mark.parametrize("name", STAYING)
async def test_cancelling_leaves_nothing_open(name: str) -> None:
    heard: list[StreamEvent] = []

    async def listen(driver: Driver) -> None:
        async for one in stream_of(driver):
            heard.append(one)  # noqa: PERF401 - the other task reads it meanwhile

    async with STAYING[name]() as scene:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen, scene.driver)
                while not heard:
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            while not scene.is_left():
                await anyio.lowlevel.checkpoint()
        assert not any(isinstance(one, Finished | Failed) for one in heard)


@pytest.mark.parametrize("name", STAYING)
async def test_closing_early_leaves_nothing_open(name: str) -> None:
    async with STAYING[name]() as scene:
        with anyio.fail_after(5):
            stream = cast("AsyncGenerator[StreamEvent]", scene.driver.stream(HELLO))
            await anext(stream)
            await stream.aclose()
            while not scene.is_left():
                await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("name", ["demo", "scripted text"])
async def test_local_drivers_name_their_model(name: str) -> None:
    async with ENDINGS[name]() as scene:
        (info,) = await scene.driver.list_models()
        assert info.model
