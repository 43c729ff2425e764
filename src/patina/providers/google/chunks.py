"""The chunks of a Gemini answer, decoded: typed and fast, or by hand where a server is sloppy.

Field names: Gemini API reference, "GenerateContentResponse" (v1beta).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from patina.providers.lenient import count, decode_sloppy, mapping, sequence, text_or_none

_NOTHING: Final = Raw(b"")


class Call(Struct, gc=False):
    """A function call. `args` is the JSON that the model wrote, as it stands in the chunk."""

    name: str | None = None
    id: str | None = None
    args: Raw = _NOTHING


class Part(Struct, gc=False, rename="camel"):
    """One of: text, thinking (a text with `thought`), a call, data. Any may carry a signature."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: Call | None = None
    inline_data: Any = None


class Content(Struct, gc=False):
    """The new parts of the answer."""

    parts: list[Part] | None = None


class Candidate(Struct, gc=False, rename="camel"):
    """One of the answers; only number 0 was asked for. The metadata keep their own shapes."""

    content: Content | None = None
    index: int | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    grounding_metadata: Any = None
    citation_metadata: Any = None


class Counts(Struct, gc=False, rename="camel"):
    """The tokens so far, and the service: Vertex says `traffic_type`."""

    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    service_tier: Any = None
    traffic_type: Any = None


class Chunk(Struct, gc=False, rename="camel"):
    """One event of the stream."""

    candidates: list[Candidate] | None = None
    usage_metadata: Counts | None = None
    model_version: str | None = None
    prompt_feedback: Any = None
    error: Any = None


_one: Final = msgspec.json.Decoder(Chunk)
_many: Final = msgspec.json.Decoder(list[Chunk])


def decode(data: bytes) -> Chunk:
    """Return the chunk in `data`. What is not an object is an empty chunk.

    Raises `UnreadableError`. JSON with lone surrogates, NaN, numbers of any size and values of the
    wrong type is read; what cannot be understood in it counts as absent.
    """
    try:
        return _one.decode(data)
    except (ValueError, RecursionError):  # what is no UTF-8 is no MsgspecError
        return _chunk(decode_sloppy(data))


def decode_list(data: bytes) -> list[Chunk]:
    """Return the chunks of an answer that came as one JSON array. Raises `UnreadableError`."""
    try:
        return _many.decode(data)
    except (ValueError, RecursionError):  # what is no UTF-8 is no MsgspecError
        return [_chunk(one) for one in sequence(decode_sloppy(data))]


def _chunk(plain: Any) -> Chunk:  # noqa: ANN401 - whatever an endpoint sends
    plain = mapping(plain)
    counts = plain.get("usageMetadata")
    return Chunk(
        [_candidate(c) for c in sequence(plain.get("candidates")) if isinstance(c, Mapping)],
        _counts(counts) if isinstance(counts, Mapping) else None,
        text_or_none(plain.get("modelVersion")),
        plain.get("promptFeedback"),
        plain.get("error"),
    )


def _candidate(plain: Mapping[str, Any]) -> Candidate:
    index = plain.get("index")
    parts = sequence(mapping(plain.get("content")).get("parts"))
    return Candidate(
        Content([_part(p) for p in parts if isinstance(p, Mapping)]),
        index if isinstance(index, int) else None,
        text_or_none(plain.get("finishReason")),
        text_or_none(plain.get("finishMessage")),
        plain.get("groundingMetadata"),
        plain.get("citationMetadata"),
    )


def _part(plain: Mapping[str, Any]) -> Part:
    call = plain.get("functionCall")
    return Part(
        text_or_none(plain.get("text")),
        plain.get("thought") is True,
        text_or_none(plain.get("thoughtSignature")),
        _call(call) if isinstance(call, Mapping) else None,
        plain.get("inlineData"),
    )


def _call(plain: Mapping[str, Any]) -> Call:
    import json

    args = plain.get("args")
    written = _NOTHING if args is None else Raw(json.dumps(args).encode())
    return Call(text_or_none(plain.get("name")), text_or_none(plain.get("id")), written)


def _counts(plain: Mapping[str, Any]) -> Counts:
    return Counts(
        count(plain.get("promptTokenCount")),
        count(plain.get("cachedContentTokenCount")),
        count(plain.get("toolUsePromptTokenCount")),
        count(plain.get("candidatesTokenCount")),
        count(plain.get("thoughtsTokenCount")),
        plain.get("serviceTier"),
        plain.get("trafficType"),
    )
