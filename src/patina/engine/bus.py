"""Events to whoever listens, numbered, each reader with a bounded queue of its own.

Overflow has a stated answer. Deltas of one part are merged while they wait, so a slow reader gets
fewer and longer ones. A reader whose queue is full loses first its deltas, which the whole message
will repeat; if that is not enough, it loses the queue and gets `Resync`, which says which turns
still run: it reads the journal again and goes on. Writers never wait for readers.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import anyio
import msgspec

from patina.model.durable import DURABLE
from patina.model.events import (
    AnyEvent,
    Resync,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    TurnEnded,
    TurnStarted,
)
from patina.model.masking import Mask, mask_in_place, unmasked
from patina.ports.clock import Clock

BOUND: Final = 1000
_Delta = TextDelta | ThinkingDelta | ToolCallDelta
_DELTAS: Final = (TextDelta, ThinkingDelta, ToolCallDelta)


class _Waiting:
    """A delta in a queue, and the text of those that came after it; the first one's number."""

    __slots__ = ("event", "more")

    def __init__(self, event: _Delta) -> None:
        self.event = event
        self.more: list[str] = []

    def take(self) -> _Delta:
        if not self.more:
            return self.event
        # A copy: the event is shared with the other readers.
        text = self.event.text + "".join(self.more)
        return msgspec.structs.replace(self.event, text=text)


class Subscription:
    """One reader's view of the bus: `async for event in subscription`."""

    def __init__(self, conversation: str | None, bound: int, running: Mapping[str, str]) -> None:
        self.conversation = conversation
        self._bound = bound
        self._running = running
        self._queue: deque[AnyEvent | _Waiting] = deque()
        self._growing: dict[tuple[type, str, int], _Waiting] = {}  # deltas that may still grow
        self._lost: Resync | None = None
        self._closed = False
        self._arrived = anyio.Event()

    def push(self, event: AnyEvent) -> None:
        """Take `event` if it concerns this reader. Never waits."""
        if self.conversation is not None and event.conversation not in ("", self.conversation):
            return
        if isinstance(event, _DELTAS):
            self._push_delta(event)
        else:
            # What is told after an item must not be read before it.
            self._growing.clear()
            self._make_room(event)
            self._queue.append(event)
        self._arrived.set()

    def _push_delta(self, event: _Delta) -> None:
        key = (type(event), event.item_id, event.index)
        growing = self._growing.get(key)
        if growing is not None:
            growing.more.append(event.text)
        else:
            self._make_room(event)
            waiting = self._growing[key] = _Waiting(event)
            self._queue.append(waiting)

    def _make_room(self, event: AnyEvent) -> None:
        if len(self._queue) < self._bound:
            return
        self._growing.clear()
        kept: deque[AnyEvent | _Waiting]
        kept = deque(entry for entry in self._queue if not isinstance(entry, _Waiting))
        if len(kept) == len(self._queue):  # no delta to give away
            dropped = len(kept) + (self._lost.dropped if self._lost else 0)
            self._lost = Resync(dropped=dropped, seq=event.seq - 1, ts=event.ts)
            kept.clear()
        self._queue = kept

    def take_nowait(self) -> AnyEvent | None:
        """Return the next event, or None where none waits."""
        if self._lost is not None:  # what was lost came before all that waits now
            lost, self._lost = self._lost, None
            lost.conversation = self.conversation or ""
            lost.running = tuple(
                name for name in self._running if self.conversation in (None, name)
            )
            return lost
        if not self._queue:
            return None
        entry = self._queue.popleft()
        if not isinstance(entry, _Waiting):
            return entry
        self._growing.pop((type(entry.event), entry.event.item_id, entry.event.index), None)
        return entry.take()

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
    """Where the engine speaks. One per engine.

    `watch` hears every event but deltas, at once, and must not wait: it is for the log. `mask`
    masks secrets: no event passes without it, and no item of the engine's is written.
    """

    def __init__(
        self,
        clock: Clock,
        watch: Callable[[AnyEvent], None] | None = None,
        mask: Mask = unmasked,
    ) -> None:
        self.mask = mask
        self._clock = clock
        self._watch = watch
        self._seq = 0
        self._readers: list[Subscription] = []
        self._running: dict[str, str] = {}  # conversation -> the turn that runs in it

    def is_heard(self, conversation: str | None = None) -> bool:
        """Whether anyone listens: to `conversation` by its id, or to anything."""
        return any(conversation in (None, reader.conversation) for reader in self._readers)

    def publish(self, event: AnyEvent) -> None:
        """Number and date `event`, mask it, and hand it to every reader concerned."""
        if self.mask is not unmasked:
            self._masked(event)
        self._seq += 1
        event.seq = self._seq
        event.ts = self._clock.now()
        if isinstance(event, TurnStarted):
            self._running[event.conversation] = event.turn_id
        elif isinstance(event, TurnEnded):
            self._running.pop(event.conversation, None)
        if self._watch is not None and not isinstance(event, _DELTAS):
            self._watch(event)
        for reader in self._readers:
            reader.push(event)

    def _masked(self, event: AnyEvent) -> None:
        if isinstance(event, _DELTAS):
            event.text = self.mask(event.text)
        elif type(event) not in DURABLE:  # items were masked as they were written
            mask_in_place(event, self.mask)

    @contextmanager
    def subscribe(
        self, conversation: str | None = None, bound: int = BOUND
    ) -> Iterator[Subscription]:
        """Listen to `conversation` and to events about none; None is to all."""
        reader = Subscription(conversation, bound, self._running)
        self._readers.append(reader)
        try:
            yield reader
        finally:
            self._readers.remove(reader)
            reader.close()
