"""The driver of Cohere: models, what a refusal teaches, Cohere's own SDK as a judge, and aimock.

aimock sends thinking as text, so that comes from the documentation, in `wire.py`.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.abc import SocketStream
from cohere import AsyncClientV2
from cohere.core.api_error import ApiError
from httpx import AsyncClient
from msgspec import structs
from tests.providers.cohere import wire
from tests.providers.cohere.test_cohere_stream import ANSWERS as FIXTURES
from tests.providers.endpoint import (
    HELLO,
    KEY,
    Handler,
    Received,
    Told,
    always,
    ask,
    ask_turning,
    driver_for,
    serving,
    whole,
)
from tests.stand_ins import aimock, aimock_journal

from patina.engine.clock import ManualClock
from patina.model.chat import (
    ChatMessage,
    ChatRequest,
    Failed,
    ModelInfo,
    TextDelta,
    ToolAnswer,
    ToolSpec,
)
from patina.model.faults import ProviderFault
from patina.model.parts import Text, ToolCall
from patina.model.usage import Usage

pytestmark = pytest.mark.anyio

GOOD = wire.response(wire.text("Hello"))
WEATHER = ToolSpec(
    "weather__get",
    "Tells the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def answer(data: object, status: int = 200) -> bytes:
    return whole(json.dumps(data).encode(), status, content_type="application/json")


# What a refusal teaches.


def taking(good: Callable[[Any], bool], words: str, status: int = 400) -> Handler:
    async def handler(request: Received, stream: SocketStream) -> None:
        fine = good(request.json)
        await stream.send(GOOD if fine else answer({"id": "1", "message": words}, status))

    return handler


async def sent(handler: Handler, *requests: ChatRequest) -> list[Any]:
    async with serving(handler) as server, driver_for(server.url, "cohere") as driver:
        for request in requests:
            assert (await ask(driver, request)).text == "Hello"
        assert {request.path for request in server.requests} == {"/v2/chat"}
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        return [request.json for request in server.requests]


async def test_fewer_tokens_where_the_model_gives_fewer() -> None:
    words = (
        "too many tokens: max tokens must be less than or equal to 4096, the maximum output for"
        " this model - received 8192."
    )
    chats = await sent(taking(lambda body: body["max_tokens"] <= 4096, words), HELLO, HELLO)
    assert [chat["max_tokens"] for chat in chats] == [8192, 4096, 4096]


async def test_no_thinking_where_the_model_cannot() -> None:
    words = "invalid request: thinking is not supported by this model"
    request = structs.replace(HELLO, effort="high")
    chats = await sent(taking(lambda body: "thinking" not in body, words), request, request)
    assert ["thinking" in chat for chat in chats] == [True, False, False]


async def test_words_instead_of_a_schema_where_it_is_refused() -> None:
    words = "invalid request: response_format is not supported for this model"
    request = structs.replace(HELLO, schema={"type": "object"})
    chats = await sent(taking(lambda body: "response_format" not in body, words, 422), request)
    assert ["response_format" in chat for chat in chats] == [True, False]
    assert "JSON" in chats[1]["messages"][0]["content"]


async def test_other_refusals_are_told() -> None:
    refused = taking(lambda _: False, "invalid request: thinking about it")
    async with serving(refused) as server, driver_for(server.url, "cohere") as driver:
        failure = (await ask(driver)).failure
        assert len(server.requests) == 1
    assert failure.kind == "bad_request"
    assert "thinking about it" in failure.message


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (401, "invalid api token", "auth"),
        (402, "Please add or update your payment method", "quota"),
        (404, "model 'xyz' not found, make sure the correct model ID was used", "model_not_found"),
        (
            400,
            "too many tokens: total number of tokens in the prompt cannot exceed 4081",
            "context_too_long",
        ),
    ],
)
async def test_refusals(status: int, words: str, kind: str) -> None:
    refused = always(answer({"message": words}, status))
    async with serving(refused) as server, driver_for(server.url, "cohere") as driver:
        failure = (await ask(driver)).failure
    assert failure.kind == kind
    assert words[:20] in failure.message


# Models.


async def test_models_page_by_page() -> None:
    # M-02
    first = {
        "models": [
            {
                "name": "command-a-plus-05-2026",
                "endpoints": ["chat"],
                "context_length": 128000.0,
                "features": ["json_schema", "tools", "vision", "reasoning"],
            },
            {"name": 5},
            "rubbish",
        ],
        "next_page_token": "a/b",
    }
    second = {
        "models": [
            {"name": "old", "features": ["safety_modes"], "is_deprecated": True},
            {"name": "bare", "features": None},
        ]
    }
    handler = always(answer(first), answer(second))
    async with serving(handler) as server, driver_for(server.url, "cohere") as driver:
        models = await driver.list_models()
        paths = [request.path for request in server.requests]
    assert paths == [
        "/v1/models?endpoint=chat&page_size=1000",
        "/v1/models?endpoint=chat&page_size=1000&page_token=a%2Fb",
    ]
    assert models == (
        ModelInfo(
            "cohere",
            "command-a-plus-05-2026",
            128_000,
            title="command-a-plus-05-2026",
            images=True,
            files=False,
            tools=True,
            thinking=True,
            source="endpoint",
        ),
        ModelInfo(
            "cohere", "old", title="old (deprecated)", images=False, files=False, source="endpoint"
        ),
        ModelInfo("cohere", "bare", title="bare", files=False, source="endpoint"),
    )


async def test_pages_without_an_end_have_one() -> None:
    forever = always(answer({"models": [{"name": "x"}], "next_page_token": "t"}))
    async with serving(forever) as server, driver_for(server.url, "cohere") as driver:
        await driver.list_models()
        assert len(server.requests) == 10


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"models": 3}'])
async def test_what_is_no_list_of_models(body: bytes) -> None:
    async with serving(always(whole(body))) as server, driver_for(server.url, "cohere") as driver:
        with pytest.raises(ProviderFault):
            await driver.list_models()


# Cohere's own SDK on the same bytes.


ANSWERS: dict[str, list[bytes]] = {
    **FIXTURES,
    "no usage": wire.text("Hi", usage=False),
    "length": [*wire.text("Hel")[:-1], wire.end("MAX_TOKENS")],
    "stop sequence": [*wire.text("Hel")[:-1], wire.end("STOP_SEQUENCE")],
    "CRLF and comments": [b": ping\r\n\r\n", *(e.replace(b"\n", b"\r\n") for e in wire.text("a"))],
    "done": [*wire.text("a"), b"data: [DONE]\n\n"],
}


async def by_sdk(url: str) -> tuple[Told, Any, list[Any]]:
    """The same request through the SDK, folded as its users fold it: with reason, usage, and
    what is cited.
    """
    told, end, cited = Told(), None, []
    calls: dict[int, tuple[str, str, str]] = {}
    async with AsyncClient() as http:
        client = AsyncClientV2(api_key=KEY, base_url=url, httpx_client=http)
        hello: Any = [{"role": "user", "content": "hello"}]
        stream: Any = client.chat_stream(model=HELLO.model, messages=hello, max_tokens=8192)
        chunks = [chunk async for chunk in stream]
    for chunk in chunks:
        message: Any = getattr(getattr(chunk, "delta", None), "message", None)
        if chunk.type == "content-delta":
            told.text += message.content.text or ""
            told.thinking += message.content.thinking or ""
        elif chunk.type == "tool-plan-delta":
            told.thinking += message.tool_plan
        elif chunk.type == "tool-call-start":
            call = message.tool_calls
            calls[chunk.index] = (call.function.name, call.id, call.function.arguments)
        elif chunk.type == "tool-call-delta":
            name, identifier, arguments = calls[chunk.index]
            arguments += message.tool_calls.function.arguments
            calls[chunk.index] = (name, identifier, arguments)
        elif chunk.type == "citation-start":
            cited.append(message.citations)
        elif chunk.type == "message-end":
            end = chunk.delta
    told.calls = [calls[index] for index in sorted(calls)]
    return told, end, cited


@pytest.mark.parametrize("name", ANSWERS)
async def test_the_same_bytes_the_same_message(name: str) -> None:
    # P-22
    async with serving(always(wire.response(ANSWERS[name]))) as server:
        async with driver_for(server.url, "cohere") as driver:
            ours = await ask(driver)
        theirs, end, _ = await by_sdk(server.url)
        mine, sdk = server.requests
    assert (ours.text, ours.thinking, ours.calls) == (theirs.text, theirs.thinking, theirs.calls)
    assert ours.finished.raw_reason == end.finish_reason
    usage = end.usage
    assert ours.finished.usage == (
        usage and Usage(usage.billed_units.input_tokens, usage.billed_units.output_tokens)
    )
    assert mine.path == sdk.path
    assert mine.json == sdk.json
    assert mine.headers["authorization"] == sdk.headers["authorization"]


async def test_the_same_citations() -> None:
    # P-22
    async with serving(always(wire.response(ANSWERS["citations"]))) as server:
        async with driver_for(server.url, "cohere") as driver:
            events = [event async for event in driver.stream(HELLO)]
        _, _, theirs = await by_sdk(server.url)
    ours = [one for e in events if isinstance(e, TextDelta) for one in e.citations]
    assert [(one.start, one.end, one.title) for one in ours] == [
        (cited.start, cited.end, (source.document or {}).get("title"))
        if source.type == "document"
        else (cited.start, cited.end, source.id)
        for cited in theirs
        for source in cited.sources
    ]
    assert len(ours) == 2


@pytest.mark.parametrize(
    "response", [answer({"message": "no"}, 400), answer({"message": "no"}, 401)]
)
async def test_what_the_sdk_raises_fails_here(response: bytes) -> None:
    async with serving(always(response)) as server:
        async with driver_for(server.url, "cohere") as driver:
            assert isinstance((await ask(driver)).end, Failed)
        with pytest.raises(ApiError):
            await by_sdk(server.url)


async def test_the_error_inside_is_one_to_the_sdk_too() -> None:
    async with serving(always(wire.response(wire.error_inside()))) as server:
        async with driver_for(server.url, "cohere") as driver:
            assert (await ask(driver)).failure.kind == "server"
        _, end, _ = await by_sdk(server.url)
    assert (end.finish_reason, end.error) == ("ERROR", "internal server error")


# Against aimock.


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    with aimock(Path(__file__).parent / "fixtures") as url:
        yield url


def saying(text: str) -> ChatRequest:
    return structs.replace(HELLO, messages=(ChatMessage("user", (Text(text),)),), system="Help.")


async def told(stand_in: str, request: ChatRequest) -> Told:
    async with driver_for(stand_in, "cohere") as driver:
        return await ask(driver, request)


async def test_an_answer_in_pieces(stand_in: str) -> None:
    # P-22
    answer = await told(stand_in, saying("hello"))
    assert answer.text == "Hi there, wörld 😀! This is a longer answer, sent in several pieces."
    assert answer.deltas > 1
    assert answer.finished.reason == "stop"
    request = aimock_journal(stand_in)[-1]
    assert request["path"] == "/v2/chat"
    assert request["body"]["messages"][0] == {"role": "system", "content": "Help."}


async def test_a_round_with_a_tool(stand_in: str) -> None:
    # P-22
    first = structs.replace(saying("weather?"), tools=(WEATHER,))
    called = await told(stand_in, first)
    ((name, identifier, arguments),) = called.calls
    assert (name, arguments) == ("weather__get", '{"city":"Madrid"}')
    assert called.finished.reason == "tool_calls"
    assert called.thinking  # the plan
    second = structs.replace(
        first,
        messages=(
            *first.messages,
            ChatMessage("assistant", (ToolCall(identifier, name, arguments),)),
            ChatMessage("tool", answers=(ToolAnswer(identifier, "completed", (Text("sunny"),)),)),
        ),
    )
    assert (await told(stand_in, second)).text == "It is sunny in Madrid."


async def test_a_rate_limit(stand_in: str) -> None:
    clock = ManualClock()
    async with driver_for(stand_in, "cohere", clock=clock) as driver:
        answer = await ask_turning(clock, driver, saying("limit"))
    assert len(answer.retries) == 2
    assert answer.failure.kind == "rate_limit"


async def test_a_cut_stream(stand_in: str) -> None:
    answer = await told(stand_in, saying("cut me"))
    assert answer.failure.kind == "cut"
    assert answer.text
