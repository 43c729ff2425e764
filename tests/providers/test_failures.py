"""The error table: what endpoints send, and what a person reads."""

import json
from typing import Any, NamedTuple

import pytest
from tests.providers.endpoint import KEY, endpoint_of

from patina.engine.clock import ManualClock
from patina.model.faults import FaultKind
from patina.model.settings import ProviderKind
from patina.providers import failures
from patina.providers.complaints import retry_after
from patina.providers.trouble import TransportError

NOW = ManualClock().now()


class Row(NamedTuple):
    status: int
    body: Any
    kind: FaultKind
    provider: ProviderKind = "openai"


def error(message: str, code: object = None, type: str = "invalid_request_error") -> Any:  # noqa: A002
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


ROWS = {
    "wrong key": Row(401, error("Incorrect API key provided", "invalid_api_key"), "auth"),
    "no access": Row(403, error("Country not supported", "unsupported_country"), "auth"),
    "azure key": Row(
        401, {"error": {"code": "401", "message": "Access denied"}}, "auth", "azure_openai"
    ),
    "key by text": Row(401, "Unauthorized", "auth"),
    "model": Row(
        404,
        error("The model `gpt-9` does not exist or no access", "model_not_found"),
        "model_not_found",
    ),
    "model by 403": Row(403, error("no access to model", "model_not_found"), "model_not_found"),
    "azure deployment": Row(
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}},
        "model_not_found",
        "azure_openai",
    ),
    "azure address": Row(
        404,
        {"error": {"code": "404", "message": "Resource not found"}},
        "bad_request",
        "azure_openai",
    ),
    "ollama model": Row(
        404,
        error("model 'gpt-9' not found, try pulling it first", None, "api_error"),
        "model_not_found",
        "ollama",
    ),
    "vllm model": Row(
        404,
        {"object": "error", "message": "The model `gpt-9` does not exist.", "code": 404},
        "model_not_found",
    ),
    "lm studio": Row(400, {"error": "No models loaded. Please load a model"}, "model_not_found"),
    "wrong path": Row(404, {"detail": "Not Found"}, "bad_request"),
    "rate": Row(429, error("Rate limit reached", "rate_limit_exceeded", "requests"), "rate_limit"),
    "rate without body": Row(429, "", "rate_limit"),
    "azure rate": Row(
        429,
        {"error": {"code": "429", "message": "exceeded call rate limit"}},
        "rate_limit",
        "azure_openai",
    ),
    "quota": Row(
        429,
        error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        "quota",
    ),
    "payment": Row(402, error("Insufficient credits"), "quota"),
    "length": Row(
        400,
        error("maximum context length is 8192 tokens", "context_length_exceeded"),
        "context_too_long",
    ),
    "length by text": Row(
        400, error("This model's maximum context length is 4096 tokens."), "context_too_long"
    ),
    "llama.cpp length": Row(
        400,
        error("the request exceeds the available context size", 400, "exceed_context_size_error"),
        "context_too_long",
    ),
    "bytes": Row(413, "<html>Request Entity Too Large</html>", "context_too_long"),
    "azure filter": Row(
        400,
        {
            "error": {
                "message": "The response was filtered",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        "content_filter",
        "azure_openai",
    ),
    "overloaded": Row(503, error("The engine is overloaded", None, "server_error"), "overloaded"),
    "unavailable": Row(503, "<html>Service Unavailable</html>", "overloaded"),
    "anthropic-like": Row(529, {"error": {"type": "overloaded_error"}}, "overloaded"),
    "loading": Row(503, error("Loading model", 503, "unavailable_error"), "overloaded"),
    "internal": Row(500, error("The server had an error", None, "server_error"), "server"),
    "bad gateway": Row(502, "<html>Bad gateway</html>", "server"),
    "gateway time-out": Row(504, "", "timeout"),
    "bad request": Row(400, error("Unsupported value: 'temperature'"), "bad_request"),
    "validation": Row(
        422, {"detail": [{"loc": ["body", "x"], "msg": "Field required"}]}, "bad_request"
    ),
    "teapot": Row(418, "short and stout", "bad_request"),
    "list": Row(400, [{"error": {"message": "odd"}}], "bad_request"),
}


@pytest.mark.parametrize("name", ROWS)
def test_each_row(name: str) -> None:
    row = ROWS[name]
    body = row.body if isinstance(row.body, str) else json.dumps(row.body)
    endpoint = endpoint_of("https://api.example.com/v1", row.provider)
    failure = failures.refused(endpoint, "gpt-9", row.status, {}, body.encode(), NOW)
    assert failure.kind == row.kind
    assert failure.status == row.status
    assert endpoint.label in failure.message
    assert failure.message.isprintable()
    assert failure.hint
    assert "<html>" not in failure.message


def test_sentences_name_what_to_do() -> None:
    def told(name: str) -> str:
        row = ROWS[name]
        endpoint = endpoint_of("https://api.example.com/v1", row.provider)
        body = json.dumps(row.body).encode()
        failure = failures.refused(endpoint, "gpt-9", row.status, {}, body, NOW)
        return f"{failure.message} -> {failure.hint}"

    assert "OPENAI_API_KEY" in told("wrong key")
    assert "patina keys set openai" in told("wrong key")
    assert "gpt-9" in told("model")
    assert "patina models openai" in told("model")
    assert "AZURE_OPENAI_DEPLOYMENT_NAME" in told("azure deployment")
    assert "ollama pull gpt-9" in told("ollama model")
    assert "It said: Rate limit reached" in told("rate")


def test_the_key_is_in_no_sentence() -> None:
    endpoint = endpoint_of("https://api.example.com/v1")
    body = json.dumps(error(f"Incorrect API key provided: {KEY}.", f"code-{KEY}")).encode()
    failure = failures.refused(endpoint, "m", 401, {}, body, NOW)
    assert KEY not in repr(failure)
    assert KEY not in repr(endpoint)
    in_stream = failures.in_stream(endpoint, "m", {"message": f"bad {KEY}", "code": KEY})
    assert KEY not in repr(in_stream)


def test_foreign_words_are_cut_and_cleaned() -> None:
    body = json.dumps(error("\x1b[2J\u202e" + "long " * 1000)).encode()
    failure = failures.refused(endpoint_of("http://127.0.0.1:9/v1"), "m", 400, {}, body, NOW)
    assert failure.message.isprintable()
    assert len(failure.message) < 420


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"{", b"[" * 100_000, b"null", b"[]", b'{"a":1}']
)
def test_error_bodies_of_any_kind(body: bytes) -> None:
    failure = failures.refused(endpoint_of("http://127.0.0.1:9/v1"), "m", 500, {}, body, NOW)
    assert failure.kind == "server"


@pytest.mark.parametrize("location", ["https://evil.example/v1", "", "http://[", "/elsewhere"])
def test_a_redirect_is_told_not_followed(location: str) -> None:
    headers = {"location": location}
    endpoint = endpoint_of("https://api.example.com/v1")
    failure = failures.refused(endpoint, "m", 307, headers, b"", NOW)
    assert failure.kind == "bad_request"
    assert ("evil.example" in failure.message) == ("evil.example" in location)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 -0000"}, 30.0),
        ({"retry-after": "Wed, 31 Dec 2025 23:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Thu, 01 Jan 99999999 00:00:30 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert NOW == "2026-01-01T00:00:00.000Z"
    assert retry_after(headers, NOW) == seconds


def test_a_local_server_that_is_down_says_how_to_start_it() -> None:
    down = TransportError("network", "the connection was refused", unsent=True)
    kinds: list[tuple[str, ProviderKind, str]] = [
        ("http://127.0.0.1:11434/v1", "ollama", "Start Ollama"),
        ("http://localhost:1234/v1", "openai_compatible", "Start LM Studio"),
        ("http://127.0.0.1:8080/v1", "openai_compatible", "llama.cpp"),
        ("http://[::1]:9999/v1", "openai_compatible", "Start LM Studio or Ollama"),
        ("https://api.example.com/v1", "openai", "network"),
    ]
    for url, kind, expected in kinds:
        failure = failures.lost(endpoint_of(url, kind), "m", down)
        assert failure.kind == "network"
        assert expected in failure.hint
        assert "refused" in failure.message
