"""The most tokens that a request can have as input, whatever its model's tokeniser.

A token of a byte-level tokeniser has at least one byte, so text has at most as many as its bytes;
what providers put around messages and tools is bounded by constants. Where a provider has counted
the beginning of the same request, its count stands in place of that beginning.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from patina.model.chat import ChatMessage, ChatRequest, ModelInfo
from patina.model.codec import encode_json
from patina.model.parts import File, Image, Part, ResultPart, Text, Thinking, ToolCall
from patina.model.usage import Usage

MESSAGE: Final = 16  # the marks of a message, and its role
PART: Final = 16
TOOL: Final = 64  # what stands around the schema of a tool, and around a call
REQUEST: Final = 256
# Anthropic's own words about tools have at most 804 tokens (its pages on tool use, 2025).
WITH_TOOLS: Final = 1_024
# Pictures are scaled down before they are counted, by the providers' pages on images (2026):
# OpenAI to 8 tiles of 512 pixels (1,445 tokens), 1,536 patches (3,779) or, newer ones, 10,000
# patches, each of 1.2 tokens in what was billed; Anthropic to 4,784 tokens, Gemini 3 to 2,240 and
# Qwen to 16,384. Gemini 2 counts 258 for each tile of 768 pixels: 77 tiles are 45 megapixels.
# One model of OpenAI counts more: 2,833 tokens, and 5,667 for each of 8 tiles.
IMAGE: Final = 20_000
SMALL_GPT_4O: Final = ("gpt-4o-mini", 50_000)
# A page of a PDF goes along as its text and as a picture.
PAGE: Final = 8_000
MOST_PAGES: Final = 1_000  # that a provider takes
# A provider's count is believed down to such a share of the bound: less cannot be all of it.
LEAST: Final = 400
# Calls and results stand in JSON: templates of chats encode them once more.
_ESCAPED: Final = b'"\\\n\r\t\b\f'
_CONTROL: Final = bytes(code for code in range(32) if code not in _ESCAPED)
_TEXTUAL: Final = ("text/", "application/json")


class Counted(Struct, frozen=True):
    """What a provider has counted: the tokens of a request, and what that was."""

    model: str
    system: str
    tools: object
    schema: object
    sight: tuple[bool | None, bool | None]
    blobs: frozenset[str]
    messages: tuple[ChatMessage, ...]
    tokens: int

    @classmethod
    def of(cls, request: ChatRequest, usage: Usage) -> "Counted":
        """Return what is known after `request` was answered with `usage`."""
        return cls(
            request.model,
            request.system,
            request.tools,
            request.schema,
            _sight(request.info),
            frozenset(request.blobs),
            request.messages,
            usage.input_tokens,
        )


class Counts:
    """The newest count of one conversation."""

    def __init__(self) -> None:
        self.newest: Counted | None = None

    def take(self, request: ChatRequest, usage: Usage | None) -> None:
        """Remember what `request` had, if its provider said so."""
        if usage is not None and usage.input_tokens > 0:
            self.newest = Counted.of(request, usage)


def most_input(
    request: ChatRequest, counted: Counted | None = None, reported: tuple[int, int] | None = None
) -> int:
    """Return tokens that the input of `request` surely does not pass.

    `reported` is what a provider counted of an earlier request of this conversation to the same
    model, with perhaps other tools, as `History.reported`.
    """
    fixed = REQUEST + _bytes(request.system)
    if request.tools:
        fixed += WITH_TOOLS + TOOL * len(request.tools) + len(encode_json(request.tools))
    if request.schema is not None:
        fixed += TOOL + len(encode_json(request.schema))
    whole = fixed + _messages(request, 0)
    if counted is not None and _begins(request, counted):
        rest = _messages(request, len(counted.messages))
        if counted.tokens * LEAST >= whole - rest:
            return counted.tokens + rest
    size, tokens = reported or (0, 0)
    # Words are told alike each time; of pictures and results sometimes more is told than before.
    if tokens > 0 and all(map(_is_plain, request.messages[:size])):
        rest = fixed + _messages(request, size)
        if tokens * LEAST >= whole - rest:
            return tokens + rest
    return whole


def _messages(request: ChatRequest, first: int) -> int:
    total = 0
    for message in request.messages[first:]:
        total += MESSAGE + _parts(message.parts, request)
        for answer in message.answers:
            total += MESSAGE + _bytes(answer.call_id) + _parts(answer.parts, request)
            total += sum(_escapes(part.text) for part in answer.parts if isinstance(part, Text))
    return total


def _is_plain(message: ChatMessage) -> bool:
    if message.answers:
        return False
    return all(type(part) is Text and part.opaque is None for part in message.parts)


def _begins(request: ChatRequest, counted: Counted) -> bool:
    """Whether `request` is what was counted, and more."""
    size = len(counted.messages)
    return (
        counted.tokens > 0
        and counted.model == request.model
        and counted.system == request.system
        and counted.tools == request.tools
        and counted.schema == request.schema
        and request.messages[:size] == counted.messages
        and (not _has_media(counted.messages) or _sees_alike(request, counted))
    )


def _sight(info: ModelInfo | None) -> tuple[bool | None, bool | None]:
    return (None, None) if info is None else (info.images, info.files)


def _sees_alike(request: ChatRequest, counted: Counted) -> bool:
    """Whether pictures and files go along as they did, and words stand in place of the same."""
    named = {blob for message in counted.messages for blob in _media(message)}
    there = named & request.blobs.keys()
    return counted.sight == _sight(request.info) and there == named & counted.blobs


def _has_media(messages: Sequence[ChatMessage]) -> bool:
    return any(True for message in messages for _ in _media(message))


def _media(message: ChatMessage) -> Iterator[str]:
    """Iterate over the blobs of pictures and files."""
    for parts in (message.parts, *(answer.parts for answer in message.answers)):
        for part in parts:
            if isinstance(part, Image | File):
                yield part.blob


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _escapes(text: str) -> int:
    """Return by how many bytes JSON makes `text` longer, with an escape for each line's end."""
    data = text.encode(errors="surrogatepass")
    short = len(data) - len(data.translate(None, _ESCAPED))
    return short + 5 * (len(data) - len(data.translate(None, _CONTROL)))


def _parts(parts: Sequence[Part] | Sequence[ResultPart], request: ChatRequest) -> int:
    total = 0
    for part in parts:
        total += PART
        if isinstance(part, Text):
            total += _bytes(part.text) + _bytes(part.opaque or "")
            for citation in part.citations:
                total += len(encode_json(citation))
        elif isinstance(part, ToolCall):
            total += TOOL + _bytes(part.id) + _bytes(part.name) + _bytes(part.arguments)
            total += _escapes(part.arguments) + _bytes(part.opaque or "")
        elif isinstance(part, Thinking):
            total += sum(map(_bytes, (part.text, part.signature or "", part.opaque or "")))
        else:
            total += _seen(part, request.blobs, request.model, request.info)
    return total


def _seen(
    part: Image | File, blobs: Mapping[str, bytes], model: str, info: ModelInfo | None
) -> int:
    around = PART + _bytes(part.name) + _bytes(part.media_type)
    if isinstance(part, Image):
        name, most = SMALL_GPT_4O
        return around + (most if name in model else IMAGE)
    data = blobs.get(part.blob, b"")
    if part.media_type.startswith(_TEXTUAL):
        return around + len(data)
    from patina.engine.pages import pages_of  # nearly no request has one

    window = info.context_window if info is not None and info.context_window else None
    most = min(pages_of(data) or MOST_PAGES, MOST_PAGES) * PAGE
    return around + (min(most, window) if window else most)
