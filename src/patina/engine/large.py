"""Large texts stand in blobs: a transcript line is short, and lists and views stay fast."""

from collections.abc import Iterable
from typing import Final, TypeVar

from msgspec.structs import replace

from patina.model.codec import Unknown
from patina.model.faults import StoreFault
from patina.model.items import AnyItem, Message, Result
from patina.model.parts import Part, ResultPart, Text, ToolCall, well_formed
from patina.ports.journal import Journal

MESSAGE_BYTES: Final = 256 * 1024
RESULT_BYTES: Final = 64 * 1024
ARGUMENT_BYTES: Final = 256 * 1024
BEGINNING: Final = 2_000  # characters
LOST: Final = "\n[The rest of this text is no longer there.]"

AnyPart = TypeVar("AnyPart", Part, ResultPart)
StoredItem = TypeVar("StoredItem", bound=AnyItem | Unknown)


async def put_away(parts: tuple[AnyPart, ...], journal: Journal, most: int) -> tuple[AnyPart, ...]:
    """Return `parts` as they can be written: well-formed, the largest texts in blobs.

    What stays inline has at most `most` bytes of text. Arguments of a tool call over
    `ARGUMENT_BYTES` become a sentence that no schema takes, so that the model is told. Raises
    `StoreFault` where a blob cannot be written.
    """
    kept = [_writable(part) for part in parts]
    sizes = {n: len(part.text.encode()) for n, part in enumerate(kept) if isinstance(part, Text)}
    for number in sorted(sizes, key=lambda n: -sizes[n]):
        part = kept[number]
        if sum(sizes.values()) <= most or not isinstance(part, Text) or part.blob is not None:
            break
        if len(part.text) <= BEGINNING:
            break
        blob = await journal.put_blob(part.text.encode())
        kept[number] = Text(part.text[:BEGINNING], blob)
        sizes[number] = BEGINNING
    return tuple(kept)


def _writable(part: AnyPart) -> AnyPart:
    if isinstance(part, Text):
        text = well_formed(part.text)
        return part if text is part.text else Text(text, part.blob)
    if isinstance(part, ToolCall) and len(part.arguments) > ARGUMENT_BYTES // 4:
        size = len(part.arguments.encode(errors="replace"))
        if size > ARGUMENT_BYTES:
            return replace(part, arguments=f'"{size} bytes of arguments: too many, not kept"')
    return part


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
        return Text((await journal.get_blob(part.blob)).decode())
    except (StoreFault, UnicodeDecodeError):
        if missing is not None:
            missing.add(part.blob)
        return Text(part.text + LOST)


async def whole_items(items: Iterable[StoredItem], journal: Journal) -> list[StoredItem]:
    """Return `items` with the texts of messages and results whole again."""
    return [
        replace(item, parts=await whole(item.parts, journal))
        if isinstance(item, Message | Result)
        else item
        for item in items
    ]
