"""A branch as the beginning of another conversation."""

from collections.abc import Iterable

from msgspec.structs import replace

from patina.model.faults import UsageFault
from patina.model.ids import new_id
from patina.model.items import (
    Answer,
    AnyItem,
    Ask,
    Call,
    Decision,
    Head,
    Meta,
    Note,
    Question,
    Result,
    Task,
    TreeItem,
)
from patina.model.tree import Tree

# Where the source stands is no fact about the copy.
_LEFT_OUT = {"archived", "pinned", "deleted"}


def fork_items(source: Tree, head: Head, item: str | None = None) -> list[AnyItem]:
    """Return the items of a conversation that begins with `head`, as a copy of `source`.

    The copy ends with `item`, or else with the active branch. Raises `UsageFault` where `source`
    has no such item.
    """
    if item is not None and item not in source:
        raise UsageFault(f"There is no item {item} to fork at.")
    branch = copy_branch(source.path(item))
    facts = {name: value for name, value in source.facts.items() if name not in _LEFT_OUT}
    meta = Meta(id=new_id(), ts=head.ts, device=head.device, **facts)
    origin = source.head.conversation if source.head else ""
    note = Note(
        id=new_id(),
        ts=head.ts,
        parent=branch[-1].id if branch else None,
        device=head.device,
        level="info",
        text=f"Forked from {origin}.",
    )
    return [head, meta, *branch, note]


def copy_branch(branch: Iterable[TreeItem]) -> list[TreeItem]:
    """Return `branch` with ids of its own, each item the child of the one before it.

    Times, authors and usage stay: the copy says when and by whom something was said. A task
    without its result stays with the source alone: two that follow it would end it for each other.
    """
    branch = list(branch)
    ended = {(item.message, item.call_id) for item in branch if isinstance(item, Result)}
    names: dict[str, str] = {}
    copies: list[TreeItem] = []
    before: str | None = None
    for item in branch:
        if isinstance(item, Task) and (item.message, item.call_id) not in ended:
            continue
        names[item.id] = new_id()
        copy = replace(item, id=names[item.id], parent=before)
        if isinstance(copy, (Ask, Call, Decision, Result, Question, Answer, Task)):
            copy = replace(copy, message=names.get(copy.message, copy.message))
        if isinstance(copy, Decision) and copy.ask is not None:
            copy = replace(copy, ask=names.get(copy.ask, copy.ask))
        if isinstance(copy, Answer):
            copy = replace(copy, question=names.get(copy.question, copy.question))
        if isinstance(copy, Note) and copy.covers is not None:
            copy = replace(copy, covers=names.get(copy.covers, copy.covers))
        copies.append(copy)
        before = copy.id
    return copies
