"""A provider's stream into one reply: folds deltas, tells them live, checkpoints them.

Whatever the driver does, a reply ends in exactly one of `Finished` and `Failed`: a stream that
just stops is `Failed(cut)`, and what came after the end is ignored.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final, cast

import anyio
from msgspec import Struct

from patina.engine.interruption import Interruption
from patina.engine.recorder import Recorder
from patina.model import chat, events
from patina.model.faults import Failure, StoreFault
from patina.model.items import Checkpoint
from patina.model.parts import Part, Text, Thinking, ToolCall
from patina.ports.clock import Clock

_log = logging.getLogger(__name__)

CHECKPOINT_SECONDS: Final = 1.0
_CUT: Final = Failure(
    "cut",
    "The answer was cut off: the model's endpoint ended the stream without a finish.",
    "What arrived is kept. Send the message again, or ask the model to continue.",
)

_BROKEN: Final = Failure(
    "internal",
    "Patina made a mistake while it read the answer.",
    "What arrived is kept. The log has the details: `patina doctor` says where.",
)


class Reply(Struct, frozen=True):
    """What came of one request. `end` is None where the user interrupted it. Milliseconds."""

    parts: tuple[Part, ...]
    end: chat.Finished | chat.Failed | None
    duration_ms: int
    first_token_ms: int | None


class _Fold:
    """The parts of a reply while they grow, in the order in which they began."""

    def __init__(self) -> None:
        self._texts: dict[tuple[type, int], list[str]] = {}
        self._seals: dict[int, tuple[str | None, str | None]] = {}
        self._calls: dict[int, tuple[str, str]] = {}

    def add(self, delta: chat.TextDelta | chat.ThinkingDelta | chat.ToolCallDelta) -> None:
        kind = type(delta)
        pieces = self._texts.get((kind, delta.index))
        if pieces is None:
            pieces = self._texts[kind, delta.index] = []
        if isinstance(delta, chat.ToolCallDelta):
            identifier, name = self._calls.get(delta.index, ("", ""))
            self._calls[delta.index] = (identifier or delta.id, name or delta.name)
            pieces.append(delta.arguments)
            return
        pieces.append(delta.text)
        if isinstance(delta, chat.ThinkingDelta):
            signature, opaque = self._seals.get(delta.index, (None, None))
            self._seals[delta.index] = (delta.signature or signature, delta.opaque or opaque)

    def alias(self, index: int) -> str:
        return self._calls[index][1]

    def parts(self, name_of: Callable[[str], str], *, calls: bool) -> tuple[Part, ...]:
        """Return the parts; without `calls`, unfinished tool calls are left out."""
        parts: list[Part] = []
        used: set[str] = set()
        for (kind, index), pieces in self._texts.items():
            text = "".join(pieces)
            if kind is chat.TextDelta:
                if text:
                    parts.append(Text(text))
            elif kind is chat.ThinkingDelta:
                parts.append(Thinking(text, *self._seals.get(index, (None, None))))
            elif calls:
                identifier, alias = self._calls[index]
                number = index
                while not identifier or identifier in used:  # some endpoints send none, or repeat
                    identifier, number = f"call_{number}", number + 1
                used.add(identifier)
                parts.append(ToolCall(identifier, name_of(alias), text.strip() or "{}"))
        return tuple(parts)


class Receiver:
    """Receives one reply with the id `message`."""

    def __init__(
        self, recorder: Recorder, clock: Clock, message: str, name_of: Callable[[str], str]
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._message = message
        self._name_of = name_of
        self._fold = _Fold()
        self._unsaved: tuple[list[str], list[str]] = ([], [])
        self._first: float | None = None

    async def receive(
        self, stream: AsyncIterator[chat.StreamEvent], interruption: Interruption
    ) -> Reply:
        """Read `stream` to its end, or until the turn is interrupted, and return the reply."""
        began = self._clock.monotonic()
        end: chat.Finished | chat.Failed | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._checkpoints)
            with interruption.scope():
                end = await self._read(stream)
            tasks.cancel_scope.cancel()
        if not interruption.requested and end is None:
            end = chat.Failed(_CUT)
        first = None if self._first is None else int((self._first - began) * 1000)
        return Reply(
            # A call that was cut while the model wrote it never ran and has no result.
            self._fold.parts(self._name_of, calls=isinstance(end, chat.Finished)),
            end,
            int((self._clock.monotonic() - began) * 1000),
            first,
        )

    async def _read(
        self, stream: AsyncIterator[chat.StreamEvent]
    ) -> chat.Finished | chat.Failed | None:
        try:
            async for event in stream:
                if isinstance(event, (chat.Finished, chat.Failed)):
                    return event
                if isinstance(event, chat.Retrying):
                    self._retrying(event)
                else:
                    self._delta(event)
        except Exception:  # noqa: BLE001 - a named boundary: drivers do not raise, but plugins err
            _log.exception("a driver failed")
            return chat.Failed(_BROKEN)
        finally:
            # Closing is what ends the connection; it must happen in the task that read it.
            with anyio.CancelScope(shield=True), anyio.move_on_after(2):
                await cast("AsyncGenerator[chat.StreamEvent, None]", stream).aclose()
        return None

    def _delta(self, delta: chat.TextDelta | chat.ThinkingDelta | chat.ToolCallDelta) -> None:
        if self._first is None:
            self._first = self._clock.monotonic()
        self._fold.add(delta)
        index, tell = delta.index, self._recorder.tell
        if isinstance(delta, chat.TextDelta):
            self._unsaved[0].append(delta.text)
            tell(events.TextDelta(item_id=self._message, text=delta.text, index=index))
        elif isinstance(delta, chat.ThinkingDelta):
            if delta.text:
                self._unsaved[1].append(delta.text)
                tell(events.ThinkingDelta(item_id=self._message, text=delta.text, index=index))
        else:
            name = self._name_of(self._fold.alias(index))
            text = delta.arguments
            tell(events.ToolCallDelta(item_id=self._message, index=index, name=name, text=text))

    def _retrying(self, event: chat.Retrying) -> None:
        self._recorder.tell(
            events.ReplyRetrying(
                item_id=self._message,
                error=event.failure,
                wait=event.wait,
                attempt=event.attempt,
            )
        )

    async def _checkpoints(self) -> None:
        """Write what arrived, once a second while something does: a crash loses at most that."""
        while True:
            await self._clock.sleep(CHECKPOINT_SECONDS)
            texts, thoughts = self._unsaved
            if texts or thoughts:
                self._unsaved = ([], [])
                checkpoint = Checkpoint(
                    **self._recorder.keys(),
                    message=self._message,
                    text="".join(texts),
                    thinking="".join(thoughts),
                )
                try:
                    await self._recorder.write(checkpoint)
                except StoreFault as fault:
                    # The answer goes on; writing the whole message will say what is wrong.
                    _log.warning("no checkpoint: %s", fault)
