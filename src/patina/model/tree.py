"""The tree of a conversation's items, its active branch, and what a crash left open in it."""

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeGuard

import msgspec

from patina.model.codec import Unknown
from patina.model.faults import TOOLS_REFUSED
from patina.model.items import (
    FACTS,
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
    Note,
    ReplyStart,
    Result,
    Task,
    TreeItem,
)
from patina.model.options import TurnOptions
from patina.model.parts import Part, Text, Thinking, ToolCall, text_of

FIRST_WORDS: Final = 60  # characters


class Tree:
    """A fold of items: feed them in journal order with `add`, then ask.

    The active branch ends in the newest node, or in what a later `Leaf` names. Items of kinds
    that this version does not know are nodes too, where they have a parent: nothing is shown of
    them, but what stands before them is not lost.
    """

    def __init__(self, items: Iterable[AnyItem | Unknown] = ()) -> None:
        self.head: Head | None = None
        self.leaf: str | None = None
        self.facts: dict[str, Any] = {}
        self.results: dict[tuple[str, str], Result] = {}  # by message and call id
        self.toolless = ""  # the model that is offered no tools, until another is chosen
        self.unpriced: set[str] = set()  # models that may be asked, whatever they cost
        self._nodes: dict[str, TreeItem | Unknown] = {}
        self._unanswered: dict[str, ReplyStart] = {}  # by what the reply is to follow
        self._checkpoints: dict[str, list[Checkpoint]] = {}
        self._options: dict[str, TurnOptions] = {}
        self._written: dict[str, tuple[str, str, str]] = {}  # when and by whom each fact was
        self._hidden: set[str] = set()
        for item in items:
            self.add(item)

    def add(self, item: AnyItem | Unknown) -> None:
        """Take the next item. One whose id is known changes nothing."""
        if isinstance(item, TREE_KINDS) or (
            isinstance(item, Unknown) and item.parent in self._nodes
        ):
            self._add_node(item)
        elif isinstance(item, Head):
            self.head = self.head or item
        elif isinstance(item, ReplyStart):
            self._unanswered[item.parent or ""] = item
            self._options[item.turn] = item.options
        elif isinstance(item, Checkpoint):
            self._checkpoints.setdefault(item.message, []).append(item)
        elif isinstance(item, Meta):
            self._take_facts(item)
        elif isinstance(item, Leaf):
            if item.item in self._nodes:
                self.leaf = item.item
        elif isinstance(item, Hide):
            self._hidden.add(item.item)

    def _take_facts(self, item: Meta) -> None:
        """Each fact is the last writer's, whatever the order in which files come together."""
        written = (item.ts, item.device, item.id)
        for name in FACTS:
            value = getattr(item, name)
            if value is None or written < self._written.get(name, written):
                continue
            if name == "model" and value != self.fact("model"):
                self.toolless = ""
            self.facts[name] = value
            self._written[name] = written

    def _add_node(self, item: TreeItem | Unknown) -> None:
        if item.id in self._nodes:
            return
        self._nodes[item.id] = item
        self.leaf = item.id
        # Whatever follows the same item ends the wait for the reply to it, a note of failure too.
        start = self._unanswered.pop(item.parent or "", None)
        if start is not None:
            self._checkpoints.pop(start.message, None)
        if isinstance(item, Result):
            self.results[item.message, item.call_id] = item
        elif isinstance(item, Note) and item.kind == TOOLS_REFUSED:
            self.toolless = f"{item.provider}/{item.model}"
        elif isinstance(item, Decision) and item.choice == "allow_session":
            asked = self._nodes.get(item.ask or "")
            if isinstance(asked, Ask) and asked.kind == "price":
                self.unpriced.add(asked.display_name)

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._nodes

    def node(self, identifier: str) -> TreeItem | None:
        """Return the shown item of that id, if there is one."""
        node = self._nodes.get(identifier)
        return node if node is not None and self._is_shown(node) else None

    def fact(self, name: str) -> str:
        """Return a textual fact (title, folder, system, model), or ""."""
        value = self.facts.get(name)
        return value if isinstance(value, str) else ""

    def written(self, name: str) -> str:
        """Return when the fact was written, "" where it never was."""
        return self._written.get(name, ("",))[0]

    def title(self) -> str:
        """Return the title; until there is one, how the first message of the user begins."""
        asked = (first_words(node) for node in self.nodes() if _is_asked(node))
        return self.fact("title") or next(asked, "")

    def nodes(self) -> Iterator[TreeItem]:
        """Iterate over the shown items of all branches, in the order they were written."""
        return filter(self._is_shown, self._nodes.values())

    def parents(self) -> dict[str, str]:
        """Return, for each shown item, the shown item before it on its branch, or ""."""
        return {node.id: next((a.id for a in self._back(node.parent)), "") for node in self.nodes()}

    def options(self, turn: str) -> TurnOptions:
        """Return the options of the turn that the user message `turn` began."""
        return self._options.get(turn, TurnOptions())

    def path(self, leaf: str | None = None) -> list[TreeItem]:
        """Return the branch that ends in `leaf` (default: the active one), oldest first.

        Hidden and unknown items are left out.
        """
        branch = list(self._back(leaf or self.leaf))
        branch.reverse()
        return branch

    def unsummarised(self) -> tuple[Note | None, list[TreeItem]]:
        """Return the newest summary of the active branch, if any, and the items that come after
        what it covers, oldest first.

        One that covers nothing of the branch is left aside.
        """
        branch: list[TreeItem] = []
        summary: Note | None = None
        for node in self._nodes_back(self.leaf):
            if summary is not None and node.id == summary.covers:
                branch.reverse()
                return summary, branch
            if self._is_shown(node):
                branch.append(node)
                if type(node) is Note and summary is None and node.covers in self._nodes:
                    summary = node
        branch.reverse()
        return None, branch

    def _back(self, identifier: str | None) -> Iterator[TreeItem]:
        """Walk from an item back to the first one, over those that are shown."""
        return filter(self._is_shown, self._nodes_back(identifier))

    def _is_shown(self, node: TreeItem | Unknown) -> TypeGuard[TreeItem]:
        return node.id not in self._hidden and not isinstance(node, Unknown)

    def _nodes_back(self, identifier: str | None) -> Iterator[TreeItem | Unknown]:
        """Walk from a node back to the first one; a circle of parents ends after one round."""
        left = len(self._nodes)
        while identifier is not None and left:
            left -= 1
            node = self._nodes.get(identifier)
            if node is None:
                return
            yield node
            identifier = node.parent

    def partial(self) -> Message | None:
        """Return the answer that a crash cut off at the end of the active branch, if any.

        It has the id its whole message would have had, and what the checkpoints kept of it; its
        parts are empty where nothing was kept.
        """
        start = self._unanswered.get(self.leaf or "")
        if start is None:
            return None
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
        """Return the calls of the branch's last message that have no result anywhere, if any."""
        asks: dict[str, Ask] = {}
        decided: dict[str, Decision] = {}
        tasks: dict[str, Task] = {}
        started: set[str] = set()
        for item in self._back(self.leaf):
            if isinstance(item, Call):
                started.add(item.call_id)
            elif isinstance(item, Decision):
                decided[item.call_id] = item
            elif isinstance(item, Ask):
                asks[item.call_id] = item
            elif isinstance(item, Task):
                tasks.setdefault(item.call_id, item)  # the newest comes first
            elif isinstance(item, Message):
                calls = tool_calls(item)
                still = tuple(call for call in calls if (item.id, call.id) not in self.results)
                if item.role == "user" or not still:
                    return None
                return OpenCalls(item, still, asks, decided, frozenset(started), tasks)
        return None


def _is_asked(node: TreeItem) -> TypeGuard[Message]:
    return isinstance(node, Message) and node.role == "user"


def first_words(message: Message) -> str:
    """Return how a message begins, on one line: its title where nothing better is known."""
    return " ".join(text_of(message.parts).split())[:FIRST_WORDS]


class OpenCalls(msgspec.Struct, frozen=True):
    """Calls of `message` without a result, and what is known of each by its call id.

    `tasks` are the newest of those calls that their servers carry out as tasks. A question about
    the turn, not about a call, has the call id "".
    """

    message: Message
    calls: tuple[ToolCall, ...]
    asks: dict[str, Ask]
    decided: dict[str, Decision]
    started: frozenset[str]
    tasks: dict[str, Task] = {}

    def going_on(self) -> tuple[ToolCall, ...]:
        """Return the calls that a server goes on with, or has the result of, without Patina."""
        return tuple(
            call
            for call in self.calls
            if call.id in self.tasks and self.tasks[call.id].state.status != "cancelled"
        )

    def waiting(self) -> bool:
        """Whether a question to the user is among them that nobody answered."""
        return any(
            identifier in self.asks
            and identifier not in self.decided
            and identifier not in self.started
            for identifier in ("", *(call.id for call in self.calls))
        )


def tool_calls(message: Message) -> tuple[ToolCall, ...]:
    """Return the tool calls of `message` in its order."""
    return tuple(part for part in message.parts if isinstance(part, ToolCall))
