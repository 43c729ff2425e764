"""The tree of a conversation's items, its active branch, and what a crash left open in it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from patina.model.codec import Unknown
from patina.model.items import (
    TREE_KINDS,
    AnyItem,
    Ask,
    Call,
    Checkpoint,
    Decision,
    Head,
    Hide,
    Leaf,
    Message,
    Meta,
    ReplyStart,
    Result,
    TreeItem,
)
from patina.model.parts import Part, Text, Thinking, ToolCall

_FACTS = ("title", "tags", "folder", "archived", "pinned", "system", "model")


class Tree:
    """A fold of items: feed them in journal order with `add`, then ask.

    The active branch ends in the newest tree item, or in what a later `Leaf` names.
    """

    def __init__(self, items: Iterable[AnyItem | Unknown] = ()) -> None:
        self.head: Head | None = None
        self.leaf: str | None = None
        self.facts: dict[str, Any] = {}
        self._nodes: dict[str, TreeItem] = {}
        self._starts: dict[str, ReplyStart] = {}
        self._checkpoints: dict[str, list[Checkpoint]] = {}
        self._hidden: set[str] = set()
        for item in items:
            self.add(item)

    def add(self, item: AnyItem | Unknown) -> None:
        """Take the next item. One whose id is known changes nothing."""
        if isinstance(item, TREE_KINDS):
            if item.id not in self._nodes:
                self._nodes[item.id] = item
                self.leaf = item.id
        elif isinstance(item, Head):
            self.head = self.head or item
        elif isinstance(item, ReplyStart):
            self._starts[item.message] = item
        elif isinstance(item, Checkpoint):
            self._checkpoints.setdefault(item.message, []).append(item)
        elif isinstance(item, Meta):
            self.facts.update({k: v for k in _FACTS if (v := getattr(item, k)) is not None})
        elif isinstance(item, Leaf):
            if item.item in self._nodes:
                self.leaf = item.item
        elif isinstance(item, Hide):
            self._hidden.add(item.item)

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._nodes

    def fact(self, name: str) -> str:
        """Return a textual fact (title, folder, system, model), or ""."""
        value = self.facts.get(name)
        return value if isinstance(value, str) else ""

    def path(self, leaf: str | None = None) -> list[TreeItem]:
        """Return the branch that ends in `leaf` (default: the active one), oldest first.

        Hidden items are left out.
        """
        branch: list[TreeItem] = []
        seen: set[str] = set()
        identifier = leaf or self.leaf
        while identifier is not None and identifier not in seen:
            seen.add(identifier)
            node = self._nodes.get(identifier)
            if node is None:
                break
            if identifier not in self._hidden:
                branch.append(node)
            identifier = node.parent
        branch.reverse()
        return branch

    def partial(self) -> Message | None:
        """Return the answer that a crash cut off at the end of the active branch, if any.

        It has the id its whole message would have had, and what the checkpoints kept of it; its
        parts are empty where nothing was kept.
        """
        for start in reversed(self._starts.values()):
            if start.message not in self._nodes:
                return self._partial(start) if start.parent == self.leaf else None
        return None

    def _partial(self, start: ReplyStart) -> Message:
        kept = self._checkpoints.get(start.message, [])
        thinking = "".join(checkpoint.thinking for checkpoint in kept)
        text = "".join(checkpoint.text for checkpoint in kept)
        parts: list[Part] = []
        if thinking:
            parts.append(Thinking(thinking))
        if text:
            parts.append(Text(text))
        return Message(
            id=start.message,
            ts=kept[-1].ts if kept else start.ts,
            parent=start.parent,
            device=start.device,
            role="assistant",
            parts=tuple(parts),
            provider=start.provider,
            model=start.model,
            stop_reason="cancelled",
            partial=True,
        )

    def open_calls(self) -> "OpenCalls | None":
        """Return the calls of the last assistant message that have no result yet, if any."""
        asks: dict[str, Ask] = {}
        decided: dict[str, Decision] = {}
        started: set[str] = set()
        answered: set[str] = set()
        for item in reversed(self.path()):
            if isinstance(item, Result):
                answered.add(item.call_id)
            elif isinstance(item, Call):
                started.add(item.call_id)
            elif isinstance(item, Decision):
                decided[item.call_id] = item
            elif isinstance(item, Ask):
                asks[item.call_id] = item
            elif isinstance(item, Message):
                calls = tool_calls(item)
                still = tuple(call for call in calls if call.id not in answered)
                if item.role == "user" or not still:
                    return None
                return OpenCalls(item, still, asks, decided, frozenset(started))
        return None


class OpenCalls(msgspec.Struct, frozen=True):
    """Calls of `message` without a result, and what is known of each by its call id."""

    message: Message
    calls: tuple[ToolCall, ...]
    asks: dict[str, Ask]
    decided: dict[str, Decision]
    started: frozenset[str]

    def waiting(self) -> bool:
        """Whether a question to the user is among them that nobody answered."""
        return any(
            call.id in self.asks and call.id not in self.decided and call.id not in self.started
            for call in self.calls
        )


def tool_calls(message: Message) -> tuple[ToolCall, ...]:
    """Return the tool calls of `message` in its order."""
    return tuple(part for part in message.parts if isinstance(part, ToolCall))
