"""NDJSON, parsed incrementally on bytes: one JSON text per line (ndjson.org).

Lines end in LF, a CR before it is white space to JSON, and empty lines are nothing. U+2028 and
the other line ends of Unicode are data.
"""

from patina.model.sse import BOM, MAX_EVENT, EventTooLargeError, ServerSentEvent


class LineParser:
    """Turns the bytes of a stream, however they are split, into one event per line.

    Implements `reading.Parser`. `max_line` is bytes.
    """

    def __init__(self, max_line: int = MAX_EVENT) -> None:
        self._max_line = max_line
        self._tail: list[bytes] = []  # an unfinished line, in the pieces it came in
        self._tail_size = 0
        self._at_start = True

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the lines that `chunk` completes. Raises `EventTooLargeError`."""
        first, *lines = chunk.split(b"\n")
        self._hold(first)
        if not lines:
            return []
        lines.insert(0, self._take())
        self._hold(lines.pop())
        return [ServerSentEvent(data) for line in lines if (data := line.strip())]

    def flush(self) -> list[ServerSentEvent]:
        """Return the line that the end of the stream left without its LF, if any."""
        data = self._take().strip()
        return [ServerSentEvent(data)] if data else []

    def _hold(self, piece: bytes) -> None:
        self._tail_size += len(piece)
        if self._tail_size > self._max_line:
            raise EventTooLargeError(f"a line is larger than {self._max_line} bytes")
        if piece:
            self._tail.append(piece)

    def _take(self) -> bytes:
        """Return the held line, without a byte order mark at the start of the stream."""
        line = b"".join(self._tail)
        self._tail, self._tail_size = [], 0
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BOM)
        return line
