"""What a model is sent of results that are too large for it: beginning, end, shape, a handle.

Texts that stand in blobs, and pictures and files beyond what one request may have, stay where they
are; a handle says which is meant, and the model's own tools (`own_tools`) read them.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import anyio
from msgspec import Struct
from msgspec.structs import replace

from patina.engine.estimate import IMAGE_TOKENS
from patina.engine.reading import as_read
from patina.engine.shape import shape_of
from patina.model.faults import StoreFault
from patina.model.items import Message, Result, TreeItem
from patina.model.parts import File, Image, ResultPart, Text
from patina.model.tree import Tree, tool_calls
from patina.ports.journal import Journal

HEAD: Final = 2_000  # bytes
TAIL: Final = 1_000  # bytes
HANDLE: Final = "result:"
DIGITS: Final = 12
MEDIA_COUNT: Final = 20  # pictures and files of one request
MEDIA_BYTES: Final = 8 * 1024 * 1024
# So many are left out at once: what was sent stays as it was for a while, and so do prompt caches.
STEP: Final = 5
COPY: Final = "[the same picture]"
LOST: Final = "\n[The rest of this text is no longer there.]"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{64,}={0,2}")


class Excerpt(Struct, frozen=True):
    """What is shown of a large text. `size` is its bytes, `lines` those of it as it is read."""

    size: int
    lines: int
    shape: str
    head: str
    tail: str


class Seen(Struct, frozen=True):
    """How the results of a branch are sent to a model.

    `handles` are those of blobs, `left_out` the media (result and place in it) that are not sent.
    `readable` says whether the model has the tools to read what was left out.
    """

    handles: Mapping[str, str] = {}
    excerpts: Mapping[str, Excerpt] = {}
    sizes: Mapping[str, int] = {}
    left_out: Collection[tuple[str, int]] = ()
    lost: Collection[str] = ()
    readable: bool = False

    def parts(self, result: Result) -> tuple[ResultPart, ...]:
        """Return the parts of `result` as the model is sent them."""
        pictures = {part.blob for part in result.parts if isinstance(part, Image)}
        return tuple(
            self._part(part, (result.id, place) in self.left_out, pictures)
            for place, part in enumerate(result.parts)
        )

    def _part(self, part: ResultPart, left_out: bool, pictures: Collection[str]) -> ResultPart:  # noqa: FBT001
        if isinstance(part, Text):
            if part.blob is None:
                return without_copies(part, pictures)
            excerpt = self.excerpts.get(part.blob)
            if excerpt is None:
                return Text(part.text + LOST if part.blob in self.lost else part.text)
            return without_copies(Text(self._told(excerpt, self._handle(part.blob))), pictures)
        if not left_out:
            return part
        kind = "image" if isinstance(part, Image) else "file"
        size = f", {self.sizes[part.blob]:,} bytes" if part.blob in self.sizes else ""
        name = f" {part.name}" if part.name else ""
        handle = self._handle(part.blob)
        return Text(f"[{kind}{name} {part.media_type}{size}, not sent again: {handle}]")

    def _handle(self, blob: str) -> str:
        return self.handles.get(blob, HANDLE + blob[:DIGITS])

    def _told(self, excerpt: Excerpt, handle: str) -> str:
        how = (
            f" Read any part of it with patina__read_result, or search in it with "
            f'patina__search_result, by the handle "{handle}".'
            if self.readable
            else f" It is kept as {handle}."
        )
        left = excerpt.size - len(excerpt.head.encode()) - len(excerpt.tail.encode())
        return (
            f"[This result is too long to be sent whole: {excerpt.size:,} bytes, "
            f"{excerpt.lines:,} lines as it is read; {excerpt.shape}. Its beginning and its end "
            f"follow.{how}]\n"
            f"{excerpt.head}\n[… {left:,} bytes are left out here …]\n{excerpt.tail}"
        )


class Excerpts:
    """Reads each large result once. Belongs to one conversation."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._excerpts: dict[str, Excerpt] = {}
        self._sizes: dict[str, int] = {}

    async def seen(self, tree: Tree, *, offering: bool = False, window: int | None = None) -> Seen:
        """Return how the results of the active branch are sent to a model.

        `offering` says whether it has tools. `window` is the model's, in tokens, where it is known:
        pictures may have half of it.
        """
        if not any(_named(tree.results.values())):  # nearly always
            return Seen()
        items = tree.unsummarised()[1]
        results = results_of(tree, items)
        lost: set[str] = set()
        for result in results:
            pictures = {part.blob for part in result.parts if isinstance(part, Image)}
            for part in result.parts:
                if isinstance(part, Text) and part.blob and part.blob not in self._excerpts:
                    await self._take(part.blob, pictures, lost)
        left_out = await self._left_out(items, results, window)
        return Seen(
            handles={blob: handle for handle, blob in blobs_of(tree).items()},
            excerpts=self._excerpts,
            sizes=self._sizes,
            left_out=left_out,
            lost=lost,
            readable=offering and (bool(left_out) or has_large(tree)),
        )

    async def _take(self, blob: str, pictures: Collection[str], lost: set[str]) -> None:
        try:
            data = await self._journal.get_blob(blob)
        except StoreFault:
            lost.add(blob)
        else:
            # A large one takes a while, in which other conversations go on.
            self._excerpts[blob] = await anyio.to_thread.run_sync(excerpt_of, data, pictures)

    async def _left_out(
        self, items: Iterable[TreeItem], results: Sequence[Result], window: int | None
    ) -> frozenset[tuple[str, int]]:
        """Return which media of results, the oldest first, are too many or too large together."""
        media = [
            (result.id, place, part.blob)
            for result in results
            for place, part in enumerate(result.parts)
            if isinstance(part, Image | File)
        ]
        if not media:
            return frozenset()
        others = [
            part.blob
            for item in items
            if isinstance(item, Message)
            for part in item.parts
            if isinstance(part, Image | File)
        ]
        most = MEDIA_COUNT if window is None else min(MEDIA_COUNT, window // 2 // IMAGE_TOKENS)
        over = len(others) + len(media) - max(most, 1)
        # The newest is what the model asked for: it stays, unless it is too large by itself.
        out = min(-(-max(over, 0) // STEP) * STEP, len(media) - 1)
        sizes = [await self._size(blob) for _, _, blob in media[out:]]
        room = MEDIA_BYTES - sum([await self._size(blob) for blob in others])
        while sizes and sum(sizes) > room:
            fewer = min(STEP, max(len(sizes) - 1, 1))
            out, sizes = out + fewer, sizes[fewer:]
        return frozenset((result, place) for result, place, _ in media[:out])

    async def _size(self, blob: str) -> int:
        if blob not in self._sizes:
            try:
                self._sizes[blob] = len(await self._journal.get_blob(blob))
            except StoreFault:
                return 0  # it is said where it is sent
        return self._sizes[blob]


def excerpt_of(data: bytes, pictures: Collection[str] = ()) -> Excerpt:
    """Return what is shown of the text `data` in UTF-8, without copies of `pictures`."""
    text = data.decode(errors="replace")
    lines = as_read(text).count("\n") + 1
    shown = without_copies(Text(text), pictures).text.encode()
    head, tail = shown[:HEAD].decode(errors="ignore"), shown[-TAIL:].decode(errors="ignore")
    return Excerpt(len(data), lines, shape_of(text), head, tail)


def results_of(tree: Tree, items: Iterable[TreeItem]) -> list[Result]:
    """Return the results of the calls of `items`, in the order of the calls."""
    found = (
        tree.results.get((item.id, call.id))
        for item in items
        if isinstance(item, Message) and item.role == "assistant"
        for call in tool_calls(item)
    )
    return [result for result in found if result is not None]


def blobs_of(tree: Tree) -> dict[str, str]:
    """Return the blobs of the active branch's results by their handles.

    A handle is the beginning of the blob's name; of two that begin alike the later one's is longer.
    """
    blobs: dict[str, str] = {}
    known: set[str] = set()
    for result in results_of(tree, tree.path()):
        for part in result.parts:
            if part.blob is None or part.blob in known:
                continue
            digits = DIGITS
            while HANDLE + part.blob[:digits] in blobs and digits < len(part.blob):
                digits += 4
            blobs[HANDLE + part.blob[:digits]] = part.blob
            known.add(part.blob)
    return blobs


def has_large(tree: Tree) -> bool:
    """Whether a result of the active branch has a text in a blob."""
    found = _named(tree.results.values())
    return any(isinstance(part, Text) for part in found) and any(
        isinstance(part, Text) for part in _named(results_of(tree, tree.path()))
    )


def has_media(tree: Tree) -> bool:
    """Whether a result of the active branch has a picture or a file."""
    found = _named(tree.results.values())
    return any(isinstance(part, Image | File) for part in found) and any(
        isinstance(part, Image | File) for part in _named(results_of(tree, tree.path()))
    )


def _named(results: Iterable[Result]) -> Iterator[ResultPart]:
    """Iterate over the parts that name a blob."""
    return (part for result in results for part in result.parts if part.blob is not None)


def without_copies(part: Text, pictures: Collection[str]) -> Text:
    """Return `part` without base64 of the bytes of `pictures` (names of blobs): they stand beside
    it, and some servers repeat them in a text for clients that know no pictures.
    """
    if not pictures or len(part.text) < HEAD:
        return part
    import base64
    import binascii
    import hashlib

    def told(match: re.Match[str]) -> str:
        try:
            data = base64.b64decode(match[0], validate=True)
        except (binascii.Error, ValueError):
            return match[0]
        return COPY if hashlib.sha256(data).hexdigest() in pictures else match[0]

    text = _BASE64.sub(told, part.text)
    return part if text == part.text else replace(part, text=text)
