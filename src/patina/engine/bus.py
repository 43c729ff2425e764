"""Events to whoever listens, numbered, each reader with a bounded queue of its own.

Overflow has a stated answer. Deltas of one part are merged while they wait, so a slow reader gets
fewer and longer ones. A reader that falls behind by more than its bound loses its queue and gets
`Resync` instead: it reads the journal again and goes on. Writers never wait for readers.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio
import msgspec

from patina.model.events import (
    AnyEvent,
    Resync,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from patina.ports.clock import Clock

BOUND: Final = 1000
_Delta = TextDelta | ThinkingDelta | ToolCallDelta
_DELTAS: Final = (TextDelta, ThinkingDelta, ToolCallDelta)


class _Waiting:
    """A delta in a queue, and the text of those that came after it."""

    __slots__ = ("event", "more", "seq")

    def __init__(self, event: _Delta) -> None:
        self.event = event
        self.seq = event.seq
        self.more: list[str] = []

    def take(self) -> _Delta:
        if not self.more:
            return self.event
        # A copy: the event is shared with the other readers.
        text = self.event.text + "".join(self.more)
        return msgspec.structs.replace(self.event, text=text, seq=self.seq)


class Subscription:
    """One reader's view of the bus: `async for event in subscription`."""

    def __init__(self, conversation: str | None, bound: int) -> None:
        self._conversation = conversation
        self._bound = bound
        self._queue: deque[AnyEvent | _Waiting] = deque()
        self._dropped = 0
        self._closed = False
        self._arrived = anyio.Event()

    def push(self, event: AnyEvent) -> None:
        """Take `event` if it concerns this reader. Never waits."""
        if self._conversation is not None and event.conversation not in ("", self._conversation):
            return
        if not (isinstance(event, _DELTAS) and self._merge(event)):
            if len(self._queue) >= self._bound:
                self._dropped += len(self._queue)
                self._queue.clear()
            self._queue.append(_Waiting(event) if isinstance(event, _DELTAS) else event)
        self._arrived.set()

    def _merge(self, event: _Delta) -> bool:
        last = self._queue[-1] if self._queue else None
        if (
            type(last) is not _Waiting
            or type(last.event) is not type(event)
            or last.event.item_id != event.item_id
            or last.event.index != event.index
        ):
            return False
        last.more.append(event.text)
        last.seq = event.seq
        return True

    def take_nowait(self) -> AnyEvent | None:
        """Return the next event, or None where none waits."""
        if self._dropped:  # what was dropped came before all that waits now
            dropped, self._dropped = self._dropped, 0
            return Resync(dropped=dropped, conversation=self._conversation or "")
        if not self._queue:
            return None
        entry = self._queue.popleft()
        return entry.take() if isinstance(entry, _Waiting) else entry

    def close(self) -> None:
        """End the iteration after what already waits."""
        self._closed = True
        self._arrived.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> AnyEvent:
        while (event := self.take_nowait()) is None:
            if self._closed:
                raise StopAsyncIteration
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return event


class Bus:
    """Where the engine speaks. One per engine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seq = 0
        self._readers: list[Subscription] = []

    def publish(self, event: AnyEvent) -> None:
        """Number and date `event` and hand it to every reader concerned."""
        self._seq += 1
        event.seq = self._seq
        event.ts = self._clock.now()
        for reader in self._readers:
            reader.push(event)

    @contextmanager
    def subscribe(
        self, conversation: str | None = None, bound: int = BOUND
    ) -> Iterator[Subscription]:
        """Listen to `conversation` and to events about none; None is to all."""
        reader = Subscription(conversation, bound)
        self._readers.append(reader)
        try:
            yield reader
        finally:
            self._readers.remove(reader)
            reader.close()
