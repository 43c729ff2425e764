"""Gemini's event stream, and the errors that it puts between the events without being events.

When an answer breaks off, the endpoint writes its error as bare JSON after the last event,
without "data:". The standard has such lines ignored, and the answer would just seem cut.
"""

from patina.model.sse import EventParser, ServerSentEvent


class GoogleEvents(EventParser):
    """As `EventParser`; a bare JSON object that begins a line is an event too."""

    def __init__(self) -> None:
        super().__init__()
        self._bare: list[bytes] = []

    def _line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if not self._bare and not line.startswith((b"{", b"[{")):
            super()._line(line, events)
            return
        if line:
            self._check(sum(map(len, self._bare)) + len(line))
            self._bare.append(line)
        # It ends where its closing brace stands first in a line, at the latest with a blank line.
        brace = b"}" if self._bare[0].startswith(b"{") else b"]"
        alone = len(self._bare) == 1 and line.rstrip().endswith(brace)
        if not line or alone or line.startswith(brace):
            events.append(ServerSentEvent(b"\n".join(self._bare)))
            self._bare = []
