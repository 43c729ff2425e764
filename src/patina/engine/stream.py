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
from patina.model.parts import Citation, Part, Text, Thinking, ToolCall
from patina.ports.clock import Clock

_log = logging.getLogger(__name__)

CHECKPOINT_SECONDS: Final = 1.0
CUT: Final = Failure(
    "cut",
    "The answer was cut off: the model's endpoint ended the stream without a finish.",
    "What arrived is kept. Send the message again, or ask the model to continue.",
)

_BROKEN: Final = Failure(
    "internal",
    "Patina made a mistake while it read the answer.",
    "What arrived is kept. The log has the details: `patina doctor` says where.",
)


_Coming = chat.TextDelta | chat.ThinkingDelta | chat.ToolCallDelta | chat.Retrying


class Reply(Struct, frozen=True):
    """What came of one request. `end` is None where the user interrupted it. Milliseconds."""

    parts: tuple[Part, ...]
    end: chat.Finished | chat.Failed | None
    duration_ms: int
    first_token_ms: int | None


class _Growing:
    """One part while it grows."""

    __slots__ = ("citations", "id", "name", "opaque", "pieces", "signature")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.citations: tuple[Citation, ...] = ()
        self.signature: str | None = None
        self.opaque: str | None = None
        self.id = ""
        self.name = ""


class _Fold:
    """The parts of a reply while they grow, in the order in which they began."""

    def __init__(self) -> None:
        self._parts: dict[tuple[type, int], _Growing] = {}

    def add(self, delta: chat.TextDelta | chat.ThinkingDelta | chat.ToolCallDelta) -> None:
        key = (type(delta), delta.index)
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = _Growing()
        if delta.opaque is not None:
            part.opaque = delta.opaque
        if isinstance(delta, chat.ToolCallDelta):
            part.id, part.name = part.id or delta.id, part.name or delta.name
            part.pieces.append(delta.arguments)
            return
        part.pieces.append(delta.text)
        if isinstance(delta, chat.TextDelta):
            if delta.citations:
                part.citations += delta.citations
        elif delta.signature is not None:
            part.signature = delta.signature

    def alias(self, index: int) -> str:
        return self._parts[chat.ToolCallDelta, index].name

    def parts(self, name_of: Callable[[str], str], *, calls: bool) -> tuple[Part, ...]:
        """Return the parts; without `calls`, unfinished tool calls are left out."""
        parts: list[Part] = []
        used: set[str] = set()
        for (kind, index), part in self._parts.items():
            text = "".join(part.pieces)
            if kind is chat.TextDelta:
                if text or part.citations or part.opaque:  # some end in a seal without words
                    parts.append(Text(text, citations=part.citations, opaque=part.opaque))
            elif kind is chat.ThinkingDelta:
                parts.append(Thinking(text, part.signature, part.opaque))
            elif calls:
                identifier, number = part.id, index
                while not identifier or identifier in used:  # some endpoints send none, or repeat
                    identifier, number = f"call_{number}", number + 1
                used.add(identifier)
                arguments = text.strip() or "{}"
                parts.append(ToolCall(identifier, name_of(part.name), arguments, part.opaque))
        return tuple(parts)


async def _read(
    stream: AsyncIterator[chat.StreamEvent], take: Callable[[_Coming], None]
) -> chat.Finished | chat.Failed | None:
    """Hand what comes to `take` and return the end; None where there was none. Never raises."""
    try:
        async for event in stream:
            if isinstance(event, (chat.Finished, chat.Failed)):
                return event
            take(event)
    except Exception:  # noqa: BLE001 - a named boundary: drivers do not raise, but plugins err
        _log.exception("a driver failed")
        return chat.Failed(_BROKEN)
    finally:
        # Closing is what ends the connection; it must happen in the task that read it.
        with anyio.CancelScope(shield=True), anyio.move_on_after(2):
            await cast("AsyncGenerator[chat.StreamEvent, None]", stream).aclose()
    return None


async def words_of(
    stream: AsyncIterator[chat.StreamEvent], interruption: Interruption
) -> tuple[str, chat.Finished | chat.Failed | None]:
    """Return the text of an answer that nobody watches, and its end: None if interrupted."""
    words: list[str] = []
    end: chat.Finished | chat.Failed | None = None

    def take(event: _Coming) -> None:
        if isinstance(event, chat.TextDelta):
            words.append(event.text)

    with interruption.scope():
        end = await _read(stream, take)
    if end is None and not interruption.requested:
        end = chat.Failed(CUT)
    return "".join(words), end


async def reply_of(
    stream: AsyncIterator[chat.StreamEvent], name_of: Callable[[str], str]
) -> tuple[tuple[Part, ...], chat.Finished | chat.Failed]:
    """Return the parts of an answer that nobody watches, and its end. Cancelling closes it."""
    fold = _Fold()

    def take(event: _Coming) -> None:
        if not isinstance(event, chat.Retrying):
            fold.add(event)

    end = await _read(stream, take) or chat.Failed(CUT)
    return fold.parts(name_of, calls=isinstance(end, chat.Finished)), end


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
                end = await _read(stream, self._take)
            tasks.cancel_scope.cancel()
        if not interruption.requested and end is None:
            end = chat.Failed(CUT)
        first = None if self._first is None else int((self._first - began) * 1000)
        return Reply(
            # A call that was cut while the model wrote it never ran and has no result.
            self._fold.parts(self._name_of, calls=isinstance(end, chat.Finished)),
            end,
            int((self._clock.monotonic() - began) * 1000),
            first,
        )

    def _take(self, event: _Coming) -> None:
        if isinstance(event, chat.Retrying):
            self._retrying(event)
        else:
            self._delta(event)

    def _delta(self, delta: chat.TextDelta | chat.ThinkingDelta | chat.ToolCallDelta) -> None:
        if self._first is None:
            self._first = self._clock.monotonic()
        self._fold.add(delta)
        index, tell = delta.index, self._recorder.tell
        if isinstance(delta, chat.TextDelta):
            if delta.text:  # else it brings sources or a seal only
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
