"""An import from its first byte to its report.

It may be interrupted at any time and run again: a conversation is written in one append, and what
is here already is recognised by its id. Conversations that were changed here are added to, never
altered; the branch that was active stays so.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from msgspec import Struct

from patina.model.ids import is_id, new_id
from patina.model.items import TREE_KINDS, AnyItem, Leaf, Message, Result
from patina.model.masking import Mask, masked, unmasked
from patina.model.tree import Tree
from patina.ports.journal import Transcript
from patina.ports.library import Progress
from patina.store import blobs
from patina.store.importing import llm_db
from patina.store.importing.build import Built, Maker, Piece, Shrink, build
from patina.store.importing.detect import file_kind, may_hold, reader_of
from patina.store.importing.draft import Draft, Kind
from patina.store.importing.formats import Format
from patina.store.importing.lines import Lines, Target, batches
from patina.store.importing.parts import PutBlob
from patina.store.importing.report import Report
from patina.store.importing.source import Damaged, Entry, Source, open_source
from patina.store.importing.stream import MOST_ELEMENT, decode, elements
from patina.store.importing.values import array, objects

EMPTY: Final = "holds no messages"
UNNOTED: Final = "for a reason that was not noted"
_TORN: Final = "the file ends in the middle of it"
_LARGE: Final = f"larger than {MOST_ELEMENT // 1_000_000} MB"

Told = Callable[[Progress], None]


class Found(Struct, frozen=True):
    """A draft, or why there is none. `end` is how many bytes of its file were read by then."""

    draft: Draft | None
    end: int
    why: str = ""
    passed: bool = False


class Import:
    """One import into `target`.

    `app` is what heads say, `shrink` as in `build`. With `dry_run` nothing is written, and the
    report says what would be. `told` hears how far it is. `mask` masks secrets in what other
    programs kept; lines of Patina's own stay as they were written.
    """

    def __init__(
        self,
        target: Target,
        *,
        app: str,
        shrink: Shrink,
        dry_run: bool = False,
        told: Told | None = None,
        mask: Mask = unmasked,
    ) -> None:
        self.report = Report()
        self._target = target
        self._app = app
        self._dry_run = dry_run
        self._mask = mask
        self._told = told or _nobody
        self._done = self._total = 0
        self._seen: set[str] = set()
        put: PutBlob = _name if dry_run else target.put_blob
        self._maker = Maker(device=target.device, app=app, put_blob=put, shrink=shrink)

    async def add(self, path: Path, wanted: Format = "auto") -> None:
        """Import a file, folder or archive.

        Raises `UsageFault` where it cannot be opened and `StoreFault` where nothing can be
        written. Whatever else is wrong is in the report.
        """
        with open_source(path) as source:
            for why, number in source.refused.items():
                self.report.not_read.append((f"{number} files in {path.name}", why))
            entries = [each for each in source.entries if source.single or may_hold(each)]
            self._total += sum(each.size for each in entries)
            for entry in entries:
                start = self._done
                await self._entry(entry, source, wanted)
                self._done = start + entry.size
                self._told(Progress(self._done, self._total))

    async def _entry(self, entry: Entry, source: Source, wanted: Format) -> None:
        try:
            kind = await anyio.to_thread.run_sync(file_kind, entry)
            if wanted == "jsonl" and entry.base.casefold().endswith(".jsonl"):
                kind = "jsonl"  # however its first lines were damaged
            if kind == "jsonl" and wanted in ("auto", "jsonl"):
                await self._lines(entry, source)
            elif kind == "database" and wanted in ("auto", "llm"):
                await self._drafts(entry, _database(entry))
            elif kind == "json" and wanted not in ("jsonl", "llm"):
                await self._drafts(entry, _conversations(entry, source, wanted))
            else:
                self.report.not_read.append((entry.name, "not conversations of this format"))
        except Damaged:
            self.report.lost("conversations", "the file is damaged from here on")
            self.report.not_read.append((entry.name, "damaged"))

    async def _drafts(self, entry: Entry, found: Iterator[Found]) -> None:
        start, taken, passed = self._done, False, 0
        while (each := await anyio.to_thread.run_sync(next, found, None)) is not None:
            passed += each.passed
            if each.draft is not None:
                taken = True
                await self._keep(each.draft)
            elif not each.passed:
                self.report.lost("conversations", each.why)
            self._done = start + min(each.end, entry.size)
            self._told(Progress(self._done, self._total))
        if not taken:
            self.report.not_read.append((entry.name, "no conversations of a known program"))
        elif passed:
            self.report.lost("conversations", "not in the shape of the others", passed)

    async def _lines(self, entry: Entry, source: Source) -> None:
        lines = Lines(self._target, source, self.report, self._app, dry_run=self._dry_run)
        start, found = self._done, batches(entry)
        if is_id(entry.base[:36]):
            # What a lost first line would have said, the name says too.
            await lines.begin(entry.base[:36])
        while (batch := await anyio.to_thread.run_sync(next, found, None)) is not None:
            await lines.take(batch)
            self._told(Progress(start + batch[-1].end, self._total))

    async def _keep(self, draft: Draft) -> None:
        self.report.products[draft.product] += 1
        built = await build(draft, self._maker)
        if not any(isinstance(each.item, Message | Result) for each in built.pieces):
            self.report.lost("conversations", EMPTY)
            for kind in draft.found:
                self.report.lost(kind, f"its conversation {EMPTY}", draft.found[kind])
            return
        here = await self._here(built.conversation)
        known = {item.id for item in here.items} if here else set()
        fresh = [each for each in built.pieces if each.item.id not in known]
        again = self._dry_run and built.conversation in self._seen
        if again or not any(isinstance(each.item, TREE_KINDS) for each in fresh):
            fresh = []
        if fresh and not self._dry_run:
            items = masked(self._items(built, fresh, here), self._mask)
            await self._target.append(built.conversation, items)
        if fresh:
            self.report.conversations.append(built.conversation)
        self._seen.add(built.conversation)
        self._count(draft, built, fresh)

    async def _here(self, conversation: str) -> Transcript | None:
        if not await self._target.mark(conversation):
            return None
        return await self._target.read(conversation)

    def _items(self, built: Built, fresh: list[Piece], here: Transcript | None) -> list[AnyItem]:
        items = [each.item for each in fresh]
        if here is None:
            return items
        tree = Tree(here.items)
        made = {each.item.id for each in built.pieces}
        own = [item for item in here.items if isinstance(item, TREE_KINDS) and item.id not in made]
        if own and tree.leaf is not None:
            # It went on here: what the export adds is a branch, and not the one that is open.
            items = [item for item in items if not isinstance(item, Leaf)]
            last, device = items[-1].ts, self._maker.device
            items.append(Leaf(id=new_id(), ts=last, device=device, item=tree.leaf))
        return items

    def _count(self, draft: Draft, built: Built, fresh: list[Piece]) -> None:
        report, new = self.report, {id(each) for each in fresh}
        told: dict[Kind, int] = {}
        for piece in built.pieces:
            count = report.imported if id(piece) in new else report.already
            for kind, number in piece.holds.items():
                count(kind, number)
                told[kind] = told.get(kind, 0) + number
        for (kind, why), number in built.lost.items():
            report.lost(kind, why, number)
            told[kind] = told.get(kind, 0) + number
        for kind, number in draft.found.items():
            if number > told.get(kind, 0):
                report.lost(kind, UNNOTED, number - told.get(kind, 0))
        if fresh:
            report.changed.update(built.changed)


def _conversations(entry: Entry, source: Source, wanted: Format) -> Iterator[Found]:
    with entry.reading() as file:
        for element in elements(file):
            if element.data is None or not element.whole:
                yield Found(None, element.end, _LARGE if element.whole else _TORN)
                continue
            try:
                value = decode(element.data)
            except ValueError:
                yield Found(None, element.end, "not valid JSON")
                continue
            for each in _unwrapped(value):
                reader = reader_of(each, wanted)
                if reader is None:
                    yield Found(None, element.end, passed=True)
                    continue
                draft = reader.read(each, source)
                if not draft.key:
                    draft.key = hashlib.sha256(element.data).hexdigest()
                yield Found(draft, element.end)


def _unwrapped(value: Any) -> Iterator[Any]:  # noqa: ANN401 - of somebody's JSON
    """Yield the conversations of an export that has them under a key, or the value itself."""
    inner = value.get("conversations") if isinstance(value, dict) else None
    yield from objects(inner) if array(inner) else [value]


def _database(entry: Entry) -> Iterator[Found]:
    if entry.path is None:
        yield Found(None, entry.size, "a database inside an archive: unpack it first")
        return
    for draft in llm_db.drafts(entry.path):
        yield Found(draft, 0)


async def _name(content: bytes) -> str:
    return blobs.name_of(content)


def _nobody(_: Progress) -> None:
    return
