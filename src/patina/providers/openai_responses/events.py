"""The events of a streamed response, decoded: typed and fast, or by hand where a server is sloppy.

Names: OpenAI API reference, "Streaming events" and "The response object".
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from patina.model.parts import Citation
from patina.model.usage import Usage
from patina.providers.history import to_json
from patina.providers.lenient import count, decode_sloppy, mapping, sequence, text

WIRE: Final = "responses"  # the mark of what only this protocol understands
BLANK_LINE: Final = "\n\n"


class StreamedEvent(Struct, gc=False):
    """What is read of an event of any type. `item`, `annotation` and `response` keep their own
    shapes.
    """

    type: str = ""
    delta: str | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    item: Any = None
    annotation: Any = None
    response: Any = None


_decoder: Final = msgspec.json.Decoder(StreamedEvent)


def decode(data: bytes) -> StreamedEvent:
    """Return the event in `data`. What is not an object is an event without a type.

    Raises `UnreadableError`. JSON with lone surrogates, NaN, numbers of any size and values of the
    wrong type is read; what cannot be understood in it counts as absent.
    """
    try:
        return _decoder.decode(data)
    except (ValueError, RecursionError):
        plain = mapping(decode_sloppy(data))
    return StreamedEvent(
        text(plain.get("type")),
        text(plain.get("delta")),
        count(plain.get("output_index")),
        count(plain.get("content_index")),
        count(plain.get("summary_index")),
        plain.get("item"),
        plain.get("annotation"),
        plain.get("response"),
    )


def usage_of(plain: Any) -> Usage | None:  # noqa: ANN401 - whatever a server sends
    """Return the tokens of a `usage` object; None where it names none."""
    plain = mapping(plain)
    sent, received = count(plain.get("input_tokens")), count(plain.get("output_tokens"))
    if not sent and not received:
        return None
    details = mapping(plain.get("input_tokens_details"))
    cached = count(details.get("cached_tokens")) or count(details.get("cache_read_input_tokens"))
    read = min(cached, sent)  # the other name is Perplexity's
    written = min(count(details.get("cache_write_tokens")), sent - read)
    thought = count(mapping(plain.get("output_tokens_details")).get("reasoning_tokens"))
    return Usage(sent, received, read, written, min(thought, received))


def citation_of(plain: Any) -> Citation | None:  # noqa: ANN401
    """Return the source that an annotation of a text names; None where it names none."""
    plain = mapping(plain)
    url, title = text(plain.get("url")), text(plain.get("title")) or text(plain.get("filename"))
    if not url and not title:
        return None
    return Citation(
        url, title, start=_place(plain.get("start_index")), end=_place(plain.get("end_index"))
    )


def _place(value: Any) -> int | None:  # noqa: ANN401
    known = isinstance(value, int) and not isinstance(value, bool)
    return count(value) if known else None


def thoughts_of(item: Any) -> str:  # noqa: ANN401
    """Return the words of a whole reasoning item: its summaries, and what it says in the clear."""
    item = mapping(item)
    parts = [*_texts(item.get("summary")), *_texts(item.get("content"))]
    return BLANK_LINE.join(part["text"] for part in parts if part["text"])


def reasoning_state(item: Any) -> str:  # noqa: ANN401
    """Return what of a reasoning item has to go back, as JSON; "" where that is nothing.

    Its status stays away: the API refuses a null there. An item that holds neither encrypted nor
    clear reasoning would be looked up by its id, and nothing is stored.
    """
    item = mapping(item)
    summary, content = _texts(item.get("summary")), _texts(item.get("content"))
    encrypted, name = text(item.get("encrypted_content")), text(item.get("id"))
    if not name or not (encrypted or content):
        return ""
    kept: dict[str, Any] = {"type": "reasoning", "id": name, "summary": summary}
    if content:
        kept["content"] = content
    if encrypted:
        kept["encrypted_content"] = encrypted
    return to_json(kept).decode()


def _texts(parts: Any) -> list[dict[str, str]]:  # noqa: ANN401
    return [
        {"type": text(part.get("type")), "text": text(part.get("text"))}
        for part in map(mapping, sequence(parts))
    ]
