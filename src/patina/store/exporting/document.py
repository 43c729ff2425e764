"""What people and programs read of a conversation: the active branch, without what is hidden."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from patina.model.items import Message, Result, TreeItem
from patina.model.parts import File, Image, Part, ResultPart, Text, Thinking, ToolCall, text_of
from patina.model.tree import Tree
from patina.model.usage import Cost, Usage
from patina.views.conversation import Row, RowKind, rows

_TITLE = 60
_WHAT: Final = {"tool": "Result", "question": "Question", "task": "Task"}
_WHO: Final = {"user": "You", "note": "Note"}


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row of `sessions show --json`, by the same names.

    `parts` have neither signatures nor what a provider wanted back: that is in the JSONL only.
    """

    item_id: str
    kind: RowKind
    ts: str
    text: str
    name: str = ""
    state: str = ""
    partial: bool = False
    parts: tuple[Part | ResultPart, ...] = ()
    provider: str = ""
    model: str = ""
    usage: Usage | None = None
    cost: Cost | None = None
    call_id: str = ""


class Document(Struct, frozen=True, kw_only=True):
    """A conversation to be read. `damaged` counts lines that were left out."""

    session_id: str
    title: str
    created: str
    damaged: int
    messages: tuple[Entry, ...]
    model: str = ""
    folder: str = ""
    tags: tuple[str, ...] = ()
    pinned: bool = False
    archived: bool = False
    system: str = ""


def document(tree: Tree, conversation: str, damaged: int, *, thinking: bool) -> Document:
    """Return what `tree` shows. Its texts are to be whole already; see `engine.large`.

    Without `thinking` the models' reasoning is left out.
    """
    partial = tree.partial()
    items = [*tree.path(), *([partial] if partial is not None and partial.parts else [])]
    shown = {row.item_id: row for row in rows(tree)}
    entries = tuple(
        _entry(item, shown[item.id], thinking=thinking) for item in items if item.id in shown
    )
    first = next((entry.text for entry in entries if entry.kind == "user"), "")
    return Document(
        session_id=conversation,
        title=tree.fact("title") or " ".join(first.split())[:_TITLE],
        created=tree.head.ts if tree.head else (entries[0].ts if entries else ""),
        damaged=damaged,
        messages=entries,
        model=tree.fact("model"),
        folder=tree.fact("folder"),
        tags=tuple(tree.facts.get("tags", ())),
        pinned=bool(tree.facts.get("pinned")),
        archived=bool(tree.facts.get("archived")),
        system=tree.fact("system"),
    )


def attachments(of: Document) -> Iterator[Image | File]:
    """Yield the images and files of a document, in order, each time they stand in it."""
    for entry in of.messages:
        for part in entry.parts:
            if isinstance(part, Image | File):
                yield part


def heading(entry: Entry, name: str) -> str:
    """Return what stands above an entry. `name` is its name, escaped for where it will stand."""
    name = name or _WHO.get(entry.kind, "Assistant")
    if entry.kind in _WHAT:
        name = f"{_WHAT[entry.kind]} of {name}, {entry.state}"
    return f"{name}, cut off" if entry.partial else name


def _entry(item: TreeItem, row: Row, *, thinking: bool) -> Entry:
    if isinstance(item, Message):
        return Entry(
            item_id=item.id,
            kind=item.role,
            ts=item.ts,
            text=text_of(item.parts),
            name=f"{item.provider}/{item.model}".strip("/"),
            state=item.stop_reason or "",
            partial=item.partial,
            parts=tuple(_bare(part) for part in item.parts if thinking or not _is_thinking(part)),
            provider=item.provider,
            model=item.model,
            usage=item.usage,
            cost=item.cost,
        )
    if isinstance(item, Result):
        return Entry(
            item_id=item.id,
            kind="tool",
            ts=item.ts,
            text=text_of(item.parts),
            name=f"{item.server}.{item.tool}".strip("."),
            state=item.status,
            parts=tuple(_bare(part) for part in item.parts),
            call_id=item.call_id,
        )
    return Entry(
        item_id=row.item_id, kind=row.kind, ts=row.ts, text=row.text, name=row.name, state=row.state
    )


def _is_thinking(part: Part | ResultPart) -> bool:
    return isinstance(part, Thinking)


def _bare(part: Part | ResultPart) -> Part | ResultPart:
    """Return `part` without what only its provider can read."""
    if isinstance(part, Text):
        return Text(part.text, citations=part.citations)
    if isinstance(part, Thinking):
        return Thinking(part.text)
    if isinstance(part, ToolCall):
        return ToolCall(part.id, part.name, part.arguments)
    return part
