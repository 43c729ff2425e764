"""What the readers of all wire protocols share: bytes to events, texts joined, ends told.

A protocol's reader says what one event means (`_take`), whether the answer is complete
(`_is_complete`) and how it ended (`_finished`); everything else is here.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

from msgspec.structs import replace

from patina.model.chat import (
    Failed,
    Finished,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from patina.model.faults import Failure
from patina.model.ids import new_id
from patina.model.sse import BOM, EventParser, EventTooLargeError, ServerSentEvent
from patina.model.usage import Usage
from patina.providers import failures
from patina.providers.charges import billed_of, service_of
from patina.providers.endpoint import Endpoint
from patina.providers.http import BODY_LIMIT
from patina.providers.text import SurrogateJoiner
from patina.providers.trouble import TransportError

MAX_BODY: Final = 256 * 1024 * 1024
_FIELDS: Final = (b":", b"data:", b"event:", b"id:", b"retry:")

Channel = Literal["text", "thinking", "arguments"]


class Parser(Protocol):
    """Turns the bytes of a body into events."""

    def feed(self, chunk: bytes) -> Sequence[ServerSentEvent]:
        """Return the events that `chunk` completes. Raises `EventTooLargeError`."""

    def flush(self) -> Sequence[ServerSentEvent]:
        """Return what a body that ended in order left unfinished."""


class StreamReader:
    """Reads one answer. Implements `converse.Reader`.

    Pieces of one part that come in one network read become one delta. `plain` are the first bytes
    of a body that is a whole answer instead of a stream; it is given to `_take` as one event.
    `fields` are what a stream may begin with.
    """

    plain: tuple[bytes, ...] = (b"{", b"[")
    fields: tuple[bytes, ...] = _FIELDS

    def __init__(self, endpoint: Endpoint, model: str, parser: Parser | None = None) -> None:
        self.begun = False
        self.ended = False
        self._endpoint = endpoint
        self._model = model
        self._usage: Usage | None = None
        self._billed: Decimal | None = None
        self._tier = ""
        self._answered_by = ""
        self._failure: Failure | None = None
        self._parser = parser or EventParser()
        self._whole: bytearray | None = None  # the body of an answer that is not a stream
        self._start = b""
        self._seen = False
        self._received = 0
        self._out: list[StreamEvent] = []
        self._pieces: list[str] = []
        self._part: tuple[Channel, int] = ("text", 0)  # what the pieces belong to
        self._joiners: dict[tuple[Channel, int], SurrogateJoiner] = {}
        self._ids: set[str] = set()  # of calls

    # What a protocol says.

    def _take(self, event: ServerSentEvent) -> None:
        """Take one event; nothing comes after `ended`."""
        raise NotImplementedError

    def _is_complete(self) -> bool:
        """Whether the protocol's own word for the end of the answer was seen."""
        raise NotImplementedError

    def _finished(self) -> Finished:
        """Return the good end of a complete answer."""
        raise NotImplementedError

    def _empty(self) -> Failure | None:
        """Return what it means that the body ended in order and held no delta and no end."""
        return None

    # What it says it with.

    def _say(self, text: str, index: int) -> None:
        """Give out more of the text part `index`."""
        self._add("text", index, text)

    def _think(self, text: str, index: int) -> None:
        """Give out more of the thinking part `index`."""
        self._add("thinking", index, text)

    def _argue(self, text: str, index: int) -> None:
        """Give out more of the arguments of the call `index`."""
        self._add("arguments", index, text)

    def _emit(self, event: TextDelta | ThinkingDelta | ToolCallDelta) -> None:
        """Give out an event that holds more than text."""
        self._speak()
        self._out.append(event)

    def _call_id(self, given: str) -> str:
        """Return the id of a call that begins, a new one where none of its own was `given`."""
        if not given or given in self._ids:
            given = f"call_{new_id().replace('-', '')}"
        self._ids.add(given)
        return given

    def _charge(self, usage: Any, tier: Any = None) -> None:  # noqa: ANN401 - whatever is sent
        """Take what an endpoint says of the cost in a `usage` object, and its word for the service.

        What is not said stays as it was.
        """
        if (billed := billed_of(usage)) is not None:
            self._billed = billed
        self._tier = service_of(tier) or self._tier

    def _fail(self, failure: Failure) -> None:
        """End the answer badly. The first failure counts."""
        self.ended = True
        if self._failure is None:
            self._failure = failure

    def _add(self, channel: Channel, index: int, text: str) -> None:
        part = (channel, index)
        if part != self._part:
            self._speak()
            self._part = part
        if not text.isascii() or part in self._joiners:
            text = self._joined(part, text)
        if text:
            self._pieces.append(text)

    def _joined(self, part: tuple[Channel, int], text: str) -> str:
        """Join surrogate halves; a joiner stays only while it holds one."""
        joiner = self._joiners.pop(part, None) or SurrogateJoiner()
        text = joiner.feed(text)
        if joiner.held:
            self._joiners[part] = joiner
        return text

    def _speak(self) -> None:
        """Turn the pieces since the last time into one delta."""
        if not self._pieces:
            return
        text = "".join(self._pieces)
        self._pieces.clear()
        channel, index = self._part
        if channel == "text":
            self._out.append(TextDelta(text, index))
        elif channel == "thinking":
            self._out.append(ThinkingDelta(text, index))
        else:
            self._out.append(ToolCallDelta(index, arguments=text))

    # What `converse` calls.

    def feed(self, chunk: bytes) -> Sequence[StreamEvent]:
        """Return the deltas in `chunk`. Never raises."""
        self._received += len(chunk)
        if not self._start:
            self._sniff(chunk)
        bound = MAX_BODY if self._whole is None else BODY_LIMIT
        if self._received > bound:
            self._fail(failures.unreadable(self._endpoint, f"more than {bound} bytes"))
        elif self._whole is not None:
            self._whole += chunk
        else:
            try:
                events = self._parser.feed(chunk)
            except EventTooLargeError as error:
                self._fail(failures.unreadable(self._endpoint, str(error)))
            else:
                self._seen = self._seen or bool(events)
                self._take_all(events)
        return self._given()

    def finish(self) -> Sequence[StreamEvent]:
        """Return the rest of a body that ended in order, and how the answer ended."""
        if not self.ended:
            if self._whole is not None:
                self._take_all([ServerSentEvent(bytes(self._whole).removeprefix(BOM))])
            else:
                self._take_rest()
        return self._end(clean=True)

    def lose(self, error: TransportError) -> Sequence[StreamEvent]:
        """Return how an answer ended whose connection was lost."""
        end = self._end(clean=False)
        if isinstance(end[-1], Failed) and self._failure is None and error.kind != "cut":
            why = failures.lost(self._endpoint, self._model, error)
            return [*end[:-1], Failed(why, self._usage, self._billed, self._tier)]
        return end

    def _sniff(self, chunk: bytes) -> None:
        """A body that begins like an object is no event stream; one like a page is no answer."""
        start = self._start = chunk.removeprefix(BOM).lstrip()[:80]
        if start.startswith(b"<"):
            self._fail(failures.unreadable(self._endpoint, "a web page"))
        elif self.plain and start.startswith(self.plain):
            self._whole = bytearray()

    def _take_rest(self) -> None:
        """Take what the body left unfinished. Half an event is no nonsense: the body was cut."""
        self._take_all(self._parser.flush())
        failure = self._failure
        if failure is not None and failure.code == failures.UNREADABLE and self._looked_right():
            self._failure, self.ended = None, False

    def _take_all(self, events: Sequence[ServerSentEvent]) -> None:
        for event in events:
            if self.ended:
                return
            self._take(event)

    def _given(self) -> list[StreamEvent]:
        self._speak()
        out, self._out = self._out, []
        if out:
            self.begun = True
        return out

    def _end(self, *, clean: bool) -> list[StreamEvent]:
        """Return what is left, held-back halves included, and the terminal event.

        `clean`: the body ended in order, or the protocol's end was seen.
        """
        self._speak()
        for part, joiner in self._joiners.items():
            self._part = part
            self._pieces.append(joiner.flush())
            self._speak()
        self._joiners.clear()
        out = self._given()
        failure = self._failure or self._missing(clean=clean or self.ended)
        if failure:
            out.append(Failed(failure, self._usage, self._billed, self._tier))
        elif self._billed is None and not self._tier:
            out.append(self._finished())
        else:
            out.append(replace(self._finished(), billed=self._billed, tier=self._tier))
        return out

    def _missing(self, *, clean: bool) -> Failure | None:
        """Return the failure of an answer without an end of its own, or without anything."""
        if not self.begun and clean and (failure := self._empty()):
            return failure
        if self._is_complete():
            return None
        if not self.begun and not self._looked_right():
            return failures.unreadable(self._endpoint, beginning(self._start))
        return failures.cut(self._endpoint, self._model)

    def _looked_right(self) -> bool:
        """Whether the body was an event stream, or nothing at all."""
        start = self._start
        if self._whole is not None:
            return False
        return (
            self._seen
            or start.startswith(self.fields)
            or any(field.startswith(start) for field in self.fields)
        )


def beginning(data: bytes) -> str:
    """Return the first bytes of what could not be read, for a message."""
    return f"it begins {data[:80].decode(errors='replace')!r}"
