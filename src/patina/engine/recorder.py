"""Journal, then publish: the one way by which a durable fact comes into a conversation."""

from collections.abc import Iterable
from typing import Any, Final

import anyio
from msgspec.structs import replace

from patina.engine.services import Services
from patina.model import durable, events, items
from patina.model.codec import Unknown
from patina.model.ids import new_id
from patina.model.masking import masked
from patina.model.tree import Tree
from patina.ports.journal import Appended
from patina.views.tool_card import finished_card, running_text

LEAF: Final = ""  # the parent of an item that comes after the newest one
_EVENT_OF: dict[type[items.Item], type[Any]] = {
    item: event for event, item in durable.DURABLE.items()
}
StoredItem = items.AnyItem | Unknown


class Recorder:
    """Writes items of one conversation, keeps its tree, and tells the bus.

    Each durable item is told once, whether it was written here or found in the journal because
    another process wrote it.
    """

    def __init__(self, services: Services, conversation: str) -> None:
        self._services = services
        self._lock = anyio.Lock()
        self._known: set[str] = set()  # entries of a mark up to which the tree has everything
        self._told: set[str] = set()
        self.conversation = conversation
        self.tree = Tree()

    @property
    def mark(self) -> str:
        """What the journal held when it was last read, with our own writing since, if nobody
        else wrote in between.
        """
        return " ".join(sorted(self._known))

    def is_current(self, mark: str) -> bool:
        """Whether the tree has all that the journal holds at `mark`, whoever wrote it."""
        return self.mark == " ".join(sorted(mark.split(" ")))

    def forget(self) -> None:
        """Drop all items."""
        self.tree = Tree()
        self._known, self._told = set(), set()

    def replace(self, found: Iterable[StoredItem], mark: str) -> None:
        """Take `found` as all that the journal holds at `mark`.

        Where a tree was there before, the items that are new are told.
        """
        found = tuple(found)
        told = self._told if self.tree.head is not None else None
        self.tree = Tree(found)
        self._told = {item.id for item in found}
        self._known = set(mark.split(" "))
        for item in found:
            if told is not None and item.id not in told:
                self._publish(item)

    def extend(self, found: Iterable[StoredItem], mark: str) -> bool:
        """Take what was appended up to `mark`, and tell what is new of it.

        False where that does not come after all there is: then everything is to be read again.
        """
        found = tuple(found)
        fresh = [item for item in found if item.id not in self._told]
        if fresh and list(found[-len(fresh) :]) != fresh:
            return False
        self._known = set(mark.split(" "))
        for item in fresh:
            self._take(item)
        return True

    async def take_facts(self) -> None:
        """Take the facts that someone else wrote, while a turn of ours goes on. Raises `Fault`s."""
        journal = self._services.journal
        async with self._lock:  # else our own writing might look like someone else's
            if self.is_current(await journal.mark(self.conversation)):
                return
            found = await journal.since(self.conversation, self.mark)
            for item in found.items if found else ():
                if isinstance(item, items.Meta) and item.id not in self._told:
                    self._take(item)

    def keys(self, parent: str | None = LEAF) -> dict[str, Any]:
        """Return the keys every item has, for a new item after `parent`."""
        return {
            "id": new_id(),
            "ts": self._services.clock.now(),
            "parent": parent,
            "device": self._services.device,
        }

    async def write(self, *written: items.AnyItem, text: str = "") -> None:
        """Append items, and publish each once all are acknowledged; secrets in them are masked.

        An item whose parent is `LEAF` comes after whatever is the newest then: tools that run
        side by side write one chain. `text` goes into the events of tool calls and results.
        Raises `StoreFault`: then nothing is published and the tree stays as it was.
        """
        # A fact that is being written is not to be torn from its event by an interruption. The
        # journal bounds its own waiting.
        with anyio.CancelScope(shield=True):
            async with self._lock:
                placed = self._placed(masked(written, self._services.mask))
                self._follow(await self._services.journal.append(self.conversation, placed))
                for item in placed:
                    self._take(item, text)

    def _follow(self, appended: Appended) -> None:
        """Keep the mark in step with our own writing. At a gap someone else wrote: it stays, so
        that what they wrote is read.
        """
        if not appended.before or appended.before in self._known:
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

    def _take(self, item: StoredItem, text: str = "") -> None:
        self.tree.add(item)
        self._told.add(item.id)
        self._publish(item, text)

    def _publish(self, item: StoredItem, text: str = "") -> None:
        event_type = _EVENT_OF.get(type(item))
        if event_type is None:
            return
        fields: dict[str, Any] = {"item": item, "conversation": self.conversation}
        if event_type in (events.ToolStarted, events.ToolFinished):
            fields["text"] = text or _text(item)
        self._services.bus.publish(event_type(**fields))

    def tell(self, event: events.AnyEvent) -> None:
        """Publish a live-only event about this conversation."""
        event.conversation = self.conversation
        self._services.bus.publish(event)


def _text(item: StoredItem) -> str:
    """Return what to show of a call or result that another process wrote."""
    if isinstance(item, items.Call):
        return running_text(f"{item.server}.{item.tool}")
    if isinstance(item, items.Result):
        return finished_card(item).text
    return ""
