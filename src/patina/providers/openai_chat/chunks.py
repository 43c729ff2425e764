"""The chunks of a chat completion, decoded: typed and fast, or by hand where a server is sloppy."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from patina.providers.lenient import decode_sloppy, sequence, text_or_none, whole_number


class Function(Struct, gc=False):
    """What is called. `arguments` comes in pieces."""

    name: str | None = None
    arguments: str | None = None


class CallDelta(Struct, gc=False):
    """A piece of a tool call."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(Struct, gc=False):
    """A piece of the message, or the whole message of an answer that was not streamed."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None
    annotations: list[Any] | None = None


class Choice(Struct, gc=False):
    """One of the answers; only number 0 was asked for."""

    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    error: Any = None
    usage: Any = None


class Chunk(Struct, gc=False):
    """One event of the stream. What is not of the answer itself keeps its own shape.

    `x_groq` (Groq), `timings` (llama.cpp) and `citations` (Perplexity and others) are of theirs.
    """

    choices: list[Choice] | None = None
    model: str | None = None
    usage: Any = None
    error: Any = None
    prompt_filter_results: Any = None
    x_groq: Any = None
    timings: Any = None
    citations: Any = None
    service_tier: Any = None


_decoder: Final = msgspec.json.Decoder(Chunk)


def decode(data: bytes) -> Chunk:
    """Return the chunk in `data`. What is not an object is an empty chunk.

    Raises `UnreadableError`. JSON with lone surrogates, NaN, numbers of any size and values of the
    wrong type is read; what cannot be understood in it counts as absent.
    """
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError):  # what is no UTF-8 is no MsgspecError
        return _decode_leniently(data)


def _decode_leniently(data: bytes) -> Chunk:
    plain = decode_sloppy(data)
    if not isinstance(plain, dict):
        return Chunk()
    choices = [_choice(c) for c in sequence(plain.get("choices")) if isinstance(c, Mapping)]
    return Chunk(
        choices,
        text_or_none(plain.get("model")),
        plain.get("usage"),
        plain.get("error"),
        plain.get("prompt_filter_results"),
        plain.get("x_groq"),
        plain.get("timings"),
        plain.get("citations"),
        plain.get("service_tier"),
    )


def _list(value: Any) -> list[Any] | None:  # noqa: ANN401
    return value if isinstance(value, list) else None


def _choice(plain: Mapping[str, Any]) -> Choice:
    index = plain.get("index")
    return Choice(
        index if isinstance(index, int) else 0,
        _delta(plain.get("delta")),
        _delta(plain.get("message")),
        text_or_none(plain.get("finish_reason")),
        plain.get("error"),
        plain.get("usage"),
    )


def _delta(plain: Any) -> Delta | None:  # noqa: ANN401
    if not isinstance(plain, Mapping):
        return None
    calls = [_call(c) for c in sequence(plain.get("tool_calls")) if isinstance(c, Mapping)]
    content = plain.get("content")
    return Delta(
        content if isinstance(content, str | list) else None,
        text_or_none(plain.get("reasoning_content")),
        text_or_none(plain.get("reasoning")),
        _list(plain.get("reasoning_details")),
        text_or_none(plain.get("refusal")),
        calls or None,
        _list(plain.get("annotations")),
    )


def _call(plain: Mapping[str, Any]) -> CallDelta:
    index, function = plain.get("index"), plain.get("function")
    made = None
    if isinstance(function, Mapping):
        arguments = function.get("arguments")
        if isinstance(arguments, Mapping):
            import json

            arguments = json.dumps(arguments)
        made = Function(text_or_none(function.get("name")), text_or_none(arguments))
    if isinstance(index, str) and index.isdecimal():
        index = whole_number(index)
    identifier = plain.get("id")
    if isinstance(identifier, int):
        identifier = str(identifier)
    return CallDelta(index if isinstance(index, int) else None, text_or_none(identifier), made)
