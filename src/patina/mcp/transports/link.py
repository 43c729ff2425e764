"""An open way to a server, and the late import of the SDK that speaks over it."""

import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage

    Arrivals = MemoryObjectSendStream[SessionMessage | Exception]
    Departures = MemoryObjectReceiveStream[SessionMessage]


async def load_sdk() -> None:
    """Have the SDK imported, in a worker thread: it takes half a second that no one may feel."""
    if "patina.mcp.sdk" in sys.modules:
        return
    await anyio.to_thread.run_sync(importlib.import_module, "patina.mcp.sdk")


class Link:
    """An open way to a server.

    `incoming` and `outgoing` are what the SDK's session speaks over. `ended` is set when nothing
    more can come. `tried` says what was started.
    """

    def __init__(self, tried: str) -> None:
        self.tried = tried
        self.ended = anyio.Event()
        self.incoming: MemoryObjectReceiveStream[SessionMessage | Exception]
        self.outgoing: MemoryObjectSendStream[SessionMessage]
        self._arrivals: Arrivals
        self._departures: Departures
        self._arrivals, self.incoming = anyio.create_memory_object_stream(16)
        self.outgoing, self._departures = anyio.create_memory_object_stream(0)

    async def last_words(self) -> str:
        """Return what became of the server and what it last said. Bounded, about a second."""
        return "ended" if self.ended.is_set() else "is still running"

    def log(self, text: str) -> None:
        """Note `text`, which came from the server outside of its answers."""

    def other_end(self) -> "tuple[Departures, Arrivals]":
        """Return the streams as the server's side of the link sees them."""
        return self._departures, self._arrivals

    def end(self) -> None:
        """Say that nothing more will come. What has arrived can still be read."""
        self.ended.set()
        self._arrivals.close()

    def close(self) -> None:
        """End the link and free all it holds."""
        self.ended.set()
        for stream in (self._arrivals, self.incoming, self.outgoing, self._departures):
            stream.close()


Opener = Callable[[], AbstractAsyncContextManager[Link]]
