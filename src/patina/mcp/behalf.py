"""The calls in flight on a session, and which of them a message of the server belongs to.

Import it late. Nothing in a server's question says which call it is asked for. Over HTTP it arrives
on the stream of one; else it is taken for that of the newest that somebody listens to (MCP
2025-11-25 has no other rule).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Final

import mcp_types as types
from mcp.shared.dispatcher import CallOptions
from mcp.shared.message import MessageMetadata, ServerMessageMetadata

from patina.ports.dialog import Dialog

# Over all that the SDK counts itself.
_FIRST_ID: Final = 1_000_001


class _Call:
    def __init__(self, dialog: Dialog | None) -> None:
        self.dialog = dialog
        self.ids: list[types.RequestId] = []


_current: Final = ContextVar[_Call | None]("call", default=None)
_related: Final = ContextVar[types.RequestId | None]("related", default=None)


class Calls:
    """The calls of one session."""

    def __init__(self) -> None:
        self._running: list[_Call] = []
        self._by_request: dict[types.RequestId, _Call] = {}
        self._ids = count(_FIRST_ID)

    @contextmanager
    def on_behalf(self, dialog: Dialog | None) -> Iterator[None]:
        """What the body sends, it sends for the call that `dialog` belongs to."""
        call = _Call(dialog)
        self._running.append(call)
        token = _current.set(call)
        try:
            yield
        finally:
            _current.reset(token)
            self._running.remove(call)
            for request in call.ids:
                self._by_request.pop(request, None)

    def mark(self, options: CallOptions) -> None:
        """Give a request its id, so that what arrives on its stream is known to belong to it."""
        call = _current.get()
        if call is not None and "request_id" not in options:
            options["request_id"] = request = next(self._ids)
            call.ids.append(request)
            self._by_request[request] = call

    def hear(self, metadata: MessageMetadata) -> None:
        """Note, for the task that handles a message of the server, where it arrived."""
        _current.set(None)
        related = None
        if isinstance(metadata, ServerMessageMetadata):
            related = metadata.related_request_id
        _related.set(related)

    def dialog(self) -> Dialog | None:
        """Return the dialog of the call that is meant here; None where there is none."""
        call = _current.get()
        if call is None:
            related = _related.get()
            call = self._by_request.get(related) if related is not None else None
        if call is None:
            heard = (one for one in reversed(self._running) if one.dialog is not None)
            call = next(heard, None)
        return call.dialog if call is not None else None
