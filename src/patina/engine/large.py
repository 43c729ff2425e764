"""Large texts stand in blobs: a transcript line is short, and lists and views stay fast."""

from collections.abc import Iterable
from typing import Final, TypeVar

from msgspec.structs import replace

from patina.model.items import AnyItem, Message, Result
from patina.model.parts import Part, ResultPart, Text
from patina.ports.journal import Journal

MESSAGE_BYTES: Final = 256 * 1024
RESULT_BYTES: Final = 64 * 1024
BEGINNING: Final = 2_000  # characters

AnyPart = TypeVar("AnyPart", Part, ResultPart)


async def put_away(parts: tuple[AnyPart, ...], journal: Journal, most: int) -> tuple[AnyPart, ...]:
    """Return `parts` with the largest texts in blobs, so that what stays has at most `most` bytes.

    Raises `StoreFault`. What is small enough comes back as it is.
    """
    texts = {n: part.text for n, part in enumerate(parts) if isinstance(part, Text)}
    sizes = {n: len(text.encode()) for n, text in texts.items()}
    kept = list(parts)
    for number in sorted(sizes, key=lambda n: -sizes[n]):
        if sum(sizes.values()) <= most or len(texts[number]) <= BEGINNING:
            break
        blob = await journal.put_blob(texts[number].encode())
        kept[number] = Text(texts[number][:BEGINNING], blob)
        sizes[number] = BEGINNING
    return tuple(kept)


async def whole(parts: tuple[AnyPart, ...], journal: Journal) -> tuple[AnyPart, ...]:
    """Return `parts` with every text whole again. Raises `StoreFault` where a blob is missing."""
    return tuple([await _whole(part, journal) for part in parts])


async def _whole(part: AnyPart, journal: Journal) -> AnyPart:
    if isinstance(part, Text) and part.blob is not None:
        return Text((await journal.get_blob(part.blob)).decode())
    return part


async def whole_items(items: Iterable[AnyItem], journal: Journal) -> list[AnyItem]:
    """Return `items` with the texts of messages and results whole again."""
    return [
        replace(item, parts=await whole(item.parts, journal))
        if isinstance(item, Message | Result)
        else item
        for item in items
    ]
