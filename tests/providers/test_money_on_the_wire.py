"""What leaves is what money is held for: the longest answer asked for, the usual service."""

import json

import pytest
from tests.providers.endpoint import driver_for, endpoint_of

from patina.model.chat import ChatMessage, ChatRequest
from patina.model.options import Effort
from patina.model.parts import Text
from patina.model.settings import ProviderKind
from patina.ports.provider import Driver, SaysMost
from patina.providers.anthropic.driver import MessagesDriver
from patina.providers.lenient import decode_json
from patina.providers.openai_chat.dialects import dialect_of
from patina.providers.openai_chat.request import encode_body
from patina.providers.openai_responses.driver import ResponsesDriver

pytestmark = pytest.mark.anyio
HELLO = (ChatMessage("user", (Text("Hi"),)),)


def request(model: str, effort: Effort | None = None, most: int = 8192) -> ChatRequest:
    return ChatRequest(model=model, messages=HELLO, effort=effort, max_tokens=most)


def sent(driver: Driver, asked: ChatRequest) -> dict[str, object]:
    assert isinstance(driver, MessagesDriver | ResponsesDriver)
    body = decode_json(driver.prepare(asked).body)
    assert isinstance(body, dict)
    return body


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-8", "claude-3-5-haiku"])
@pytest.mark.parametrize("effort", [None, "none", "low", "max"])
async def test_thinking_on_top_of_an_answer_is_held_too(model: str, effort: Effort | None) -> None:
    async with driver_for("http://127.0.0.1:9", "anthropic") as driver:
        assert isinstance(driver, SaysMost)
        asked = request(model, effort)
        assert driver.most_output(asked) == sent(driver, asked)["max_tokens"]


async def test_a_bound_that_a_model_refuses_is_not_the_bound() -> None:
    async with driver_for("http://127.0.0.1:9/v1", "openai", api="responses") as driver:
        assert isinstance(driver, ResponsesDriver)
        asked = request("o9")
        assert driver.most_output(asked) == sent(driver, asked)["max_output_tokens"] == 8192
        words = "Unsupported parameter: 'max_output_tokens'"
        refusal = {"error": {"message": words, "param": "max_output_tokens"}}
        assert driver.adapt(asked, 400, json.dumps(refusal).encode())
        assert "max_output_tokens" not in sent(driver, asked)
        assert driver.most_output(asked) == 128_000


@pytest.mark.parametrize(
    ("kind", "url", "tier"),
    [
        ("openai", "https://api.openai.com/v1", "default"),
        ("openai", "https://eu.api.openai.com/v1", "default"),
        ("openai", "https://openai.com.example.org/v1", None),
        ("azure_openai", "https://one.openai.azure.com", None),
        ("openai_compatible", "https://openrouter.ai/api/v1", None),
    ],
)
async def test_openai_is_asked_for_the_service_that_is_held(
    kind: ProviderKind, url: str, tier: str | None
) -> None:
    """A project can be set to one of twice the price."""
    body = decode_json(encode_body(request("gpt-5.2"), dialect_of(endpoint_of(url, kind))))
    assert isinstance(body, dict)
    assert body.get("service_tier") == tier
    if kind != "openai_compatible":
        async with driver_for(url, kind, api="responses") as driver:
            assert sent(driver, request("gpt-5.2")).get("service_tier") == tier
