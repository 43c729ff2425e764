"""Against aimock, a stand-in that others wrote: OpenAI and Azure, streamed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.providers.endpoint import HELLO, Told, ask, ask_turning, driver_for
from tests.stand_ins import aimock, aimock_journal

from patina.engine.clock import ManualClock
from patina.model.chat import ChatMessage, ChatRequest, ToolAnswer, ToolSpec
from patina.model.parts import Text, ToolCall
from patina.model.settings import ProviderKind
from patina.model.usage import Usage

FIXTURES = Path(__file__).parent / "fixtures" / "aimock"
WEATHER = ToolSpec(
    "weather__get",
    "Tells the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("kind", ["openai", "azure_openai", "openai_compatible"]),
]


@pytest.fixture(scope="session")
def stand_in() -> Iterator[str]:
    with aimock(FIXTURES) as url:
        yield url


def saying(text: str) -> ChatRequest:
    return structs.replace(HELLO, messages=(ChatMessage("user", (Text(text),)),), system="Help.")


async def told(stand_in: str, kind: ProviderKind, request: ChatRequest) -> Told:
    async with driver_for(stand_in, kind) as driver:
        return await ask(driver, request)


async def test_an_answer_in_pieces(stand_in: str, kind: ProviderKind) -> None:
    # P-22
    answer = await told(stand_in, kind, saying("hello"))
    assert answer.text == "Hi there, wörld 😀! This is a longer answer, sent in several pieces."
    assert answer.deltas > 1
    assert answer.finished.reason == "stop"
    assert answer.finished.usage == Usage(11, 7)
    request = aimock_journal(stand_in)[-1]
    assert request["body"]["messages"][0] == {"role": "system", "content": "Help."}


async def test_a_round_with_a_tool(stand_in: str, kind: ProviderKind) -> None:
    # P-22
    first = structs.replace(saying("weather?"), tools=(WEATHER,))
    called = await told(stand_in, kind, first)
    ((name, identifier, arguments),) = called.calls
    assert (name, arguments) == ("weather__get", '{"city":"Madrid"}')
    assert called.finished.reason == "tool_calls"
    second = structs.replace(
        first,
        messages=(
            *first.messages,
            ChatMessage("assistant", (ToolCall(identifier, name, arguments),)),
            ChatMessage("tool", answers=(ToolAnswer(identifier, "completed", (Text("sunny"),)),)),
        ),
    )
    assert (await told(stand_in, kind, second)).text == "It is sunny in Madrid."


async def test_thinking(stand_in: str, kind: ProviderKind) -> None:
    answer = await told(stand_in, kind, saying("think"))
    assert (answer.thinking, answer.text) == ("Let me think about it.", "42")


async def test_a_rate_limit(stand_in: str, kind: ProviderKind) -> None:
    clock = ManualClock()
    before = len(aimock_journal(stand_in))
    async with driver_for(stand_in, kind, clock=clock) as driver:
        answer = await ask_turning(clock, driver, saying("limit"))
    assert [retry.wait for retry in answer.retries] == [1, 1]  # it sends Retry-After: 1
    assert answer.failure.kind == "rate_limit"
    assert "Too many requests" in answer.failure.message
    assert len(aimock_journal(stand_in)) - before == 3


async def test_a_cut_stream(stand_in: str, kind: ProviderKind) -> None:
    answer = await told(stand_in, kind, saying("cut me"))
    assert answer.failure.kind == "cut"
    assert "This long answer".startswith(answer.text[:16])
    assert answer.text


async def test_a_filtered_answer(stand_in: str, kind: ProviderKind) -> None:
    answer = await told(stand_in, kind, saying("filtered"))
    assert answer.failure.kind == "content_filter"


async def test_a_refused_request(stand_in: str, kind: ProviderKind) -> None:
    """--strict: what no fixture matches is an error."""
    clock = ManualClock()
    async with driver_for(stand_in, kind, clock=clock) as driver:
        answer = await ask_turning(clock, driver, saying("nothing matches this"))
    assert answer.failure.message.isprintable()
