"""Journal, then publish: the one way by which a durable fact comes into a conversation."""

from typing import Any

import anyio

from patina.engine.services import Services
from patina.model import durable, events, items
from patina.model.ids import new_id
from patina.model.tree import Tree

_EVENT_OF: dict[type[items.Item], type[Any]] = {
    item: event for event, item in durable.DURABLE.items()
}


class Recorder:
    """Writes items of one conversation, keeps its tree, and tells the bus."""

    def __init__(self, services: Services, conversation: str, tree: Tree) -> None:
        self._services = services
        self.conversation = conversation
        self.tree = tree

    def keys(self, parent: str | None = None) -> dict[str, Any]:
        """Return the keys every item has, for a new item after `parent` (default: the leaf)."""
        return {
            "id": new_id(),
            "ts": self._services.clock.now(),
            "parent": parent or self.tree.leaf,
            "device": self._services.device,
        }

    async def write(self, *written: items.AnyItem, text: str = "") -> None:
        """Append items, and publish each once all are acknowledged.

        `text` goes into the events of tool calls and results. Raises `StoreFault`: then nothing
        is published and the tree stays as it was.
        """
        # A fact that is being written is not to be torn from its event by an interruption. The
        # journal bounds its own waiting.
        with anyio.CancelScope(shield=True):
            await self._services.journal.append(self.conversation, written)
        for item in written:
            self.tree.add(item)
            event_type = _EVENT_OF.get(type(item))
            if event_type is None:
                continue
            fields: dict[str, Any] = {"item": item, "conversation": self.conversation}
            if event_type in (events.ToolStarted, events.ToolFinished):
                fields["text"] = text
            self._services.bus.publish(event_type(**fields))

    def tell(self, event: events.AnyEvent) -> None:
        """Publish a live-only event about this conversation."""
        event.conversation = self.conversation
        self._services.bus.publish(event)
