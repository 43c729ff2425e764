"""Journal, then publish: the one way by which a durable fact comes into a conversation."""

from collections.abc import Iterable
from typing import Any, Final

import anyio
from msgspec.structs import replace

from patina.engine.services import Services
from patina.model import durable, events, items
from patina.model.ids import new_id
from patina.model.tree import Tree
from patina.ports.journal import Appended

LEAF: Final = ""  # the parent of an item that comes after the newest one
_EVENT_OF: dict[type[items.Item], type[Any]] = {
    item: event for event, item in durable.DURABLE.items()
}


class Recorder:
    """Writes items of one conversation, keeps its tree, and tells the bus."""

    def __init__(self, services: Services, conversation: str, tree: Tree) -> None:
        self._services = services
        self._lock = anyio.Lock()
        self._known: set[str] | None = set()  # the mark's entries; None: someone else wrote
        self.conversation = conversation
        self.tree = tree

    def replace(self, tree: Tree, mark: str) -> None:
        """Take `tree` as what the journal holds at `mark`."""
        self.tree = tree
        self._known = set(mark.split())

    def is_current(self, mark: str) -> bool:
        """Whether the tree has all that the journal holds at `mark`, whoever wrote it."""
        return self._known == set(mark.split())

    def keys(self, parent: str = LEAF) -> dict[str, Any]:
        """Return the keys every item has, for a new item after `parent`."""
        return {
            "id": new_id(),
            "ts": self._services.clock.now(),
            "parent": parent,
            "device": self._services.device,
        }

    async def write(self, *written: items.AnyItem, text: str = "") -> None:
        """Append items, and publish each once all are acknowledged.

        An item whose parent is `LEAF` comes after whatever is the newest then: tools that run
        side by side write one chain. `text` goes into the events of tool calls and results.
        Raises `StoreFault`: then nothing is published and the tree stays as it was.
        """
        # A fact that is being written is not to be torn from its event by an interruption. The
        # journal bounds its own waiting.
        with anyio.CancelScope(shield=True):
            async with self._lock:
                placed = self._placed(written)
                self._follow(await self._services.journal.append(self.conversation, placed))
                for item in placed:
                    self.tree.add(item)
                    self._publish(item, text)

    def _follow(self, appended: Appended) -> None:
        """Keep the mark in step with our own writing; a gap means that someone else wrote."""
        if self._known is None or (appended.before and appended.before not in self._known):
            self._known = None
            return
        self._known.discard(appended.before)
        self._known.add(appended.after)

    def _placed(self, written: Iterable[items.AnyItem]) -> list[items.AnyItem]:
        leaf = self.tree.leaf
        placed = []
        for item in written:
            if item.parent == LEAF:
                item = replace(item, parent=leaf)
            if isinstance(item, items.TREE_KINDS):
                leaf = item.id
            placed.append(item)
        return placed

    def _publish(self, item: items.AnyItem, text: str) -> None:
        event_type = _EVENT_OF.get(type(item))
        if event_type is None:
            return
        fields: dict[str, Any] = {"item": item, "conversation": self.conversation}
        if event_type in (events.ToolStarted, events.ToolFinished):
            fields["text"] = text
        self._services.bus.publish(event_type(**fields))

    def tell(self, event: events.AnyEvent) -> None:
        """Publish a live-only event about this conversation."""
        event.conversation = self.conversation
        self._services.bus.publish(event)
