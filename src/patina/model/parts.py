"""Parts: the content of messages and tool results.

Bytes never stand in a part. Images and files name a blob by the SHA-256 of its content.
"""

from typing import Literal

from msgspec import Struct


class Citation(Struct, frozen=True, omit_defaults=True):
    """A source that a model names for what it says.

    `url` and `title` say which (either may be missing), `quote` holds the source's own words.
    `start` and `end` are the characters of the text that it stands for; None: not said.
    """

    url: str = ""
    title: str = ""
    quote: str = ""
    start: int | None = None
    end: int | None = None


class Text(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="text"):
    """Words, as Markdown where a model wrote them. Unchanged from what was received.

    Large ones stand in a blob: `blob` is the SHA-256 of the whole text in UTF-8, and `text` only
    its beginning. `opaque` as in `Thinking`.
    """

    text: str
    blob: str | None = None
    citations: tuple[Citation, ...] = ()
    opaque: str | None = None


class Thinking(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="thinking"):
    """A model's reasoning.

    `signature` and `opaque` go back verbatim, and only to the provider that made them; what they
    hold is that provider's affair.
    """

    text: str
    signature: str | None = None
    opaque: str | None = None


class Image(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="image"):
    """A picture: `blob` is the SHA-256 (64 hex digits) of its bytes."""

    blob: str
    media_type: str
    name: str = ""


class File(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="file"):
    """A document that is neither text nor picture, such as a PDF. `blob` as in `Image`."""

    blob: str
    media_type: str
    name: str = ""


class ToolCall(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="tool_call"):
    """A model's wish to run a tool.

    `id` is the provider's id for the call, unique within its message. `name` is `server.tool`, or
    what the model wrote where that names no tool. `arguments` is JSON text as the model wrote it,
    not yet checked. `opaque` as in `Thinking`.
    """

    id: str
    name: str
    arguments: str = "{}"
    opaque: str | None = None


Part = Text | Thinking | Image | File | ToolCall
ResultPart = Text | Image | File


class CallResult(Struct, frozen=True, omit_defaults=True):
    """What a server's own tool gave for a call that a model made in an answer to the server."""

    call_id: str
    parts: tuple[ResultPart, ...] = ()
    is_error: bool = False


class Spoken(Struct, frozen=True, omit_defaults=True):
    """Words of one side of a conversation: the role is "user" or "assistant".

    `answers` stand only in role "user", without parts, and answer the calls of the one before.
    """

    role: Literal["user", "assistant"]
    parts: tuple[Part, ...] = ()
    answers: tuple[CallResult, ...] = ()


def text_of(parts: tuple[Part, ...] | tuple[ResultPart, ...]) -> str:
    """Return the words of `parts`, without thinking, images and tool calls."""
    return "".join(part.text for part in parts if isinstance(part, Text))


def well_formed(text: str) -> str:
    """Return `text` without halves of characters, which no file and no endpoint takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
