"""Server-sent events, parsed incrementally on bytes.

The rules are those of the WHATWG HTML standard, section 9.2.6 ("Interpreting an event stream").
Lines end in CR, LF or CRLF and nothing else: U+2028, U+2029, U+0085 and form feeds are data.
"""

from typing import Final

from msgspec import Struct

MAX_EVENT: Final = 64 * 1024 * 1024
BOM: Final = b"\xef\xbb\xbf"


class ServerSentEvent(Struct, frozen=True, gc=False):
    """One event. `data` is the bytes of its data lines, joined by LF; not yet decoded."""

    data: bytes
    event: str = "message"
    id: str = ""


class EventTooLargeError(ValueError):
    """An event is larger than the parser's bound."""


class EventParser:
    """Turns the bytes of a stream, however they are split, into events.

    `retry` is the reconnection time the stream last asked for, in milliseconds.
    """

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event
        self._tail: list[bytes] = []  # an unfinished line, in the pieces it came in
        self._tail_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._name = ""
        self._id = ""
        self._at_start = True
        self._skip_lf = False  # an LF that comes first belongs to the CR before it
        self._between = True  # no line of an event is held back, but for an unfinished one
        self.retry: int | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that `chunk` completes. Raises `EventTooLargeError`."""
        if self._at_start:
            chunk = self._without_mark(chunk)
        if (
            not self._between
            or b"\n" not in chunk
            or b"\r" in chunk
            or self._tail_size + len(chunk) > self._max_event
        ):
            return self._feed(chunk)
        # Between two events, and with LF alone, an event is what stands before an empty line.
        # Most have one line of data only: they skip the general way.
        if self._tail:
            chunk = b"".join((*self._tail, chunk))
            self._tail, self._tail_size = [], 0
        *blocks, rest = chunk.split(b"\n\n")
        events: list[ServerSentEvent] = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(ServerSentEvent(block[6:], "message", self._id))
            else:
                for line in block.split(b"\n"):
                    self._line(line, events)
                self._line(b"", events)
        return events + self._feed(rest) if rest else events

    def flush(self) -> list[ServerSentEvent]:
        """Return the event that the end of the stream left without its blank line, if any.

        The standard drops it; servers that forget the last blank line are common enough that a
        whole last event is worth having. Only for streams that ended in order.
        """
        events: list[ServerSentEvent] = []
        rest = b"".join(self._tail)
        if self._at_start:
            rest = rest.removeprefix(BOM)
        self._tail, self._tail_size = [], 0
        if rest:
            self._line(rest, events)
        self._line(b"", events)
        return events

    def _without_mark(self, chunk: bytes) -> bytes:
        """Drop a byte order mark at the start, or hold what may become one."""
        chunk = b"".join((*self._tail, chunk))
        self._tail, self._tail_size = [], 0
        if len(chunk) < len(BOM) and BOM.startswith(chunk):
            self._hold(chunk)
            return b""
        self._at_start = False
        return chunk.removeprefix(BOM)

    def _feed(self, chunk: bytes) -> list[ServerSentEvent]:
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._skip_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        elif b"\n" not in chunk:
            self._hold(chunk)
            return []
        first, *lines = chunk.split(b"\n")
        lines.insert(0, b"".join((*self._tail, first)))
        self._tail, self._tail_size = [], 0
        rest = lines.pop()
        events: list[ServerSentEvent] = []
        for line in lines:
            self._line(line, events)
        self._hold(rest)
        self._between = not (self._data or self._name or self._skip_lf)
        return events

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._tail.append(piece)
            self._tail_size += len(piece)
            self._check(0)

    def _check(self, more: int) -> None:
        if self._tail_size + self._data_size + more > self._max_event:
            raise EventTooLargeError(f"an event is larger than {self._max_event} bytes")

    def _line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if not line:
            if self._data:
                data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                events.append(ServerSentEvent(data, self._name or "message", self._id))
                self._data, self._data_size = [], 0
            self._name = ""
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._check(len(value))
            self._data.append(value)
            self._data_size += len(value) + 1
        elif name == b"event":
            self._name = value.decode(errors="replace")
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode(errors="replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self.retry = int(value)
