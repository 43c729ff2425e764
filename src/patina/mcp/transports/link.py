"""An open way to a server, and the late import of the SDK that speaks over it.

Every transport is an `Opener`: an async context manager that yields a `Link`. A transport moves
JSON-RPC messages, as bytes, and says when and why nothing more can come. Protocol, supervision and
words for people are the same for all of them.
"""

import importlib
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import Struct

from patina.mcp.server_log import ServerLog
from patina.mcp.text import shortened, visible
from patina.mcp.wire import Wire

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage
    from mcp_types import RequestId

    Arrivals = MemoryObjectSendStream[SessionMessage | Exception]
    Departures = MemoryObjectReceiveStream[SessionMessage]

LONGEST_MESSAGE: Final = 64 * 1024 * 1024
MOST_NOTICES: Final = 200
MOST_QUESTIONS: Final = 64
_RUBBISH_LINES: Final = 20
_SHOWN: Final = 300
# How an answer that cannot be read begins, in the order in which servers write it.
_ANSWER: Final = re.compile(
    rb'\s*\{(?:\s*"jsonrpc"\s*:\s*"2\.0"\s*,)?\s*"id"\s*:\s*(\d{1,15})\s*[,}]'
)


_loaded: Final = set[str]()
_loading: Final = dict[str, anyio.Event]()


async def load(module: str) -> None:
    """Have `module` imported, in a worker thread; those who come meanwhile wait.

    A module stands in `sys.modules` before it is whole, so that says nothing.
    """
    while module not in _loaded:
        begun = _loading.get(module)
        if begun is not None:
            await begun.wait()
            continue
        begun = _loading[module] = anyio.Event()
        try:
            await anyio.to_thread.run_sync(importlib.import_module, module)
            _loaded.add(module)
        finally:
            del _loading[module]
            begun.set()


async def load_sdk() -> None:
    """Have the SDK imported: it takes half a second that no one may feel."""
    await load("patina.mcp.sdk")


class Notes(Struct, frozen=True):
    """Where what happens on the way to `server` is written down; `secrets` never are."""

    server: str
    log: Path
    secrets: tuple[str, ...] = ()


class Link:
    """An open way to a server.

    `incoming` and `outgoing` are what the SDK's session speaks over. `ended` is set when nothing
    more can come. `tried` says what was started or asked. `away` says, once it ended, that the
    server could not be reached (not that it failed), so that waiting may help; `forgotten` that
    it answers but knows the session no more, so that connecting anew is all it needs.
    """

    def __init__(self, tried: str, notes: Notes | None = None) -> None:
        self.tried = tried
        self.ended = anyio.Event()
        self.away = False
        self.forgotten = False
        self.session_id = ""
        self.incoming: MemoryObjectReceiveStream[SessionMessage | Exception]
        self.outgoing: MemoryObjectSendStream[SessionMessage]
        self._arrivals: Arrivals
        self._departures: Departures
        self._arrivals, self.incoming = anyio.create_memory_object_stream(16)
        self.outgoing, self._departures = anyio.create_memory_object_stream(0)
        self._log = ServerLog(notes.log, notes.secrets) if notes is not None else None
        self._wire = Wire(notes.server, notes.secrets) if notes is not None else None
        self._rubbish: list[str] = []
        self._second = 0.0
        self._notices = 0
        self._questions = 0
        self._flooded = False

    async def last_words(self) -> str:
        """Return what became of the server and what it last said. Bounded, about a second."""
        return "ended" if self.ended.is_set() else "is still running"

    def log(self, text: str) -> None:
        """Note `text` in the server's log file. It may come from the server."""
        if self._log is not None:
            self._log.note(shortened(text, 2000))

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
        if self._log is not None:
            self._log.close()

    async def arrive(self, raw: bytes, related: "RequestId | None" = None) -> bool:
        """Pass on the message in `raw`, which came from the server. False: it is none.

        `related` is the request of ours on whose stream it came, where there is such a thing.
        Answers are never dropped. Notifications are, over `MOST_NOTICES` a second, and so are
        questions while `MOST_QUESTIONS` of them wait for their answers. An answer that cannot be
        read is passed on as an error, or its caller would wait for nothing.
        """
        from patina.mcp.frames import decode, unreadable

        message = decode(raw, related)
        if message is None:
            self._refuse(raw)
            answer = _ANSWER.match(raw)
            if answer is not None and b'"method"' not in raw[:200]:
                await self.deliver(unreadable(int(answer[1])))
            return False
        if self._passes(message):
            if self._wire is not None:
                self._wire.received(raw)
            await self.deliver(message)
        return True

    async def deliver(self, message: "SessionMessage") -> None:
        """Pass `message` to the session; after its end nobody reads, and that is no failure."""
        try:
            await self._arrivals.send(message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # The session is gone. Reading on lets the server write its last and exit.
            return

    def depart(self, message: "SessionMessage") -> bytes:
        """Return `message`, which goes to the server, as one line of JSON, and trace it."""
        from patina.mcp.frames import encode

        line = encode(message)
        if not hasattr(message.message, "method"):
            self._questions -= 1
        if self._wire is not None:
            self._wire.sent(line)
        return line

    def rubbish(self) -> str:
        """Return the first thing that arrived and is no message, "" if there is none."""
        return self._rubbish[0] if self._rubbish else ""

    def _passes(self, message: "SessionMessage") -> bool:
        if not hasattr(message.message, "method"):
            return True
        if not hasattr(message.message, "id"):
            return self._in_measure()
        if self._questions >= MOST_QUESTIONS:
            if not self._flooded:
                self._flooded = True
                self.log(f"over {MOST_QUESTIONS} questions wait for answers; more are dropped")
            return False
        self._questions += 1
        return True

    def _in_measure(self) -> bool:
        now = anyio.current_time()
        if now >= self._second + 1:
            self._second, self._notices = now, 0
        self._notices += 1
        if self._notices == MOST_NOTICES + 1:
            self.log(f"over {MOST_NOTICES} notifications in a second; the rest is dropped")
        return self._notices <= MOST_NOTICES

    def _refuse(self, raw: bytes) -> None:
        text = shortened(visible(raw[: 4 * _SHOWN].decode("utf-8", "replace").strip()), _SHOWN)
        if text and len(self._rubbish) < _RUBBISH_LINES:
            self._rubbish.append(text)
            self.log(f"not a message: {text}")


Opener = Callable[[], AbstractAsyncContextManager[Link]]
