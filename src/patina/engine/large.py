"""Large texts stand in blobs: a transcript line is short, and lists and views stay fast.

People and, of messages, models get them whole again; of large results a model gets excerpts
(`excerpts`).
"""

from collections.abc import Iterable
from typing import Final, TypeVar

from msgspec.structs import replace

from patina.model.codec import Unknown, encode_json
from patina.model.faults import StoreFault
from patina.model.items import AnyItem, Message, Result
from patina.model.masking import Mask, masked, unmasked
from patina.model.parts import (
    Citation,
    Part,
    ResultPart,
    Text,
    Thinking,
    ToolCall,
    well_formed,
)
from patina.ports.journal import Journal

MESSAGE_BYTES: Final = 256 * 1024
RESULT_BYTES: Final = 64 * 1024
BEGINNING: Final = 2_000  # characters
CITATIONS: Final = 100
QUOTED: Final = 200  # characters
LONGEST_ESCAPE: Final = 6  # bytes of JSON that one character can take
CUT: Final = "\n[Cut here: too long to be kept.]"
LOST: Final = "\n[The rest of this text is no longer there.]"

AnyPart = TypeVar("AnyPart", Part, ResultPart)
StoredItem = TypeVar("StoredItem", bound=AnyItem | Unknown)


async def put_away(
    parts: tuple[AnyPart, ...], journal: Journal, most: int, mask: Mask = unmasked
) -> tuple[AnyPart, ...]:
    """Return `parts` as they can be written: well-formed, of at most `most` bytes as JSON, and
    with secrets masked.

    While they have more, the largest gives way: a text goes into a blob; the arguments of a tool
    call become a sentence that no schema takes, so that the model is told; thinking is cut. What a
    provider wanted back goes, and of sources the first stay, with less of their words. Raises
    `StoreFault` where a blob cannot be written.
    """
    kept = [_well_formed(part) for part in masked(parts, mask)]
    if sum(map(_length, kept)) * LONGEST_ESCAPE < most:  # nearly always: the short way
        return tuple(kept)
    sizes = {number: len(encode_json(part)) for number, part in enumerate(kept)}
    total = sum(sizes.values())
    for number in sorted(sizes, key=lambda n: -sizes[n]):
        if total <= most:
            break
        kept[number] = await _smaller(kept[number], journal)
        total += len(encode_json(kept[number])) - sizes[number]
    return tuple(kept)


def _length(part: Part) -> int:
    """Return the characters in `part` that a model, a tool or a person made."""
    if isinstance(part, Text):
        quoted = sum(map(_said, part.citations)) if part.citations else 0
        return len(part.text) + len(part.opaque or "") + quoted
    if isinstance(part, Thinking):
        return len(part.text) + len(part.signature or "") + len(part.opaque or "")
    if isinstance(part, ToolCall):
        return len(part.arguments) + len(part.opaque or "")
    return 0


def _said(citation: Citation) -> int:
    # With its keys and numbers.
    return len(citation.url) + len(citation.title) + len(citation.quote) + 20


def _well_formed(part: AnyPart) -> AnyPart:
    if isinstance(part, ToolCall):
        arguments = well_formed(part.arguments)
        return part if arguments is part.arguments else replace(part, arguments=arguments)
    if not isinstance(part, Text):
        return part
    text = well_formed(part.text)
    if part.citations:
        part = replace(part, citations=tuple(map(_readable, part.citations)))
    return part if text is part.text else replace(part, text=text)


def _readable(citation: Citation) -> Citation:
    return replace(
        citation,
        url=well_formed(citation.url),
        title=well_formed(citation.title),
        quote=well_formed(citation.quote),
    )


async def _smaller(part: AnyPart, journal: Journal) -> AnyPart:
    if isinstance(part, Text) and part.blob is None:
        blob = await journal.put_blob(part.text.encode())
        text = part.text[: min(BEGINNING, len(part.text) // 4)]
        sources = tuple(map(_shorter, part.citations[:CITATIONS]))
        return replace(part, text=text, blob=blob, citations=sources, opaque=None)
    if isinstance(part, ToolCall):
        said = f'"{len(part.arguments)} characters of arguments: too many, not kept"'
        return replace(part, arguments=said, opaque=None)
    if isinstance(part, Thinking):
        return replace(part, text=part.text[:BEGINNING] + CUT, signature=None, opaque=None)
    return part


def _shorter(citation: Citation) -> Citation:
    return Citation(
        citation.url[:BEGINNING],
        citation.title[:QUOTED],
        citation.quote[:QUOTED],
        citation.start,
        citation.end,
    )


async def whole(
    parts: tuple[AnyPart, ...], journal: Journal, missing: set[str] | None = None
) -> tuple[AnyPart, ...]:
    """Return `parts` with every text whole again.

    Of one whose blob cannot be read, the beginning stays, with a sentence; its name goes into
    `missing`.
    """
    return tuple([await _whole(part, journal, missing) for part in parts])


async def _whole(part: AnyPart, journal: Journal, missing: set[str] | None) -> AnyPart:
    if not isinstance(part, Text) or part.blob is None:
        return part
    try:
        return replace(part, text=(await journal.get_blob(part.blob)).decode(), blob=None)
    except (StoreFault, UnicodeDecodeError):
        if missing is not None:
            missing.add(part.blob)
        return replace(part, text=part.text + LOST, blob=None)


async def whole_items(items: Iterable[StoredItem], journal: Journal) -> list[StoredItem]:
    """Return `items` with the texts of messages and results whole again."""
    return [
        replace(item, parts=await whole(item.parts, journal))
        if isinstance(item, Message | Result)
        else item
        for item in items
    ]
