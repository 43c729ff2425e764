"""What is asked of a server and answered by it, and when: the facts behind a diagnosis."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec
from msgspec import Struct

MOST: Final = 200
_KEPT_RESULTS: Final = frozenset({"initialize", "server/discover"})


class Exchange(Struct):
    """One request of ours. Times are milliseconds since the listener was made, None: never.

    `error` is the number of a JSON-RPC error; `result` is kept of the answers in which a server
    introduces itself. All text is the server's own.
    """

    method: str
    asked_ms: int
    answered_ms: int | None = None
    error: int | None = None
    message: str = ""
    result: dict[str, Any] = {}


class _Message(Struct):
    id: Any = None
    method: Any = None
    result: msgspec.Raw = msgspec.Raw()
    error: Any = None


_decoder: Final = msgspec.json.Decoder(_Message)


class Listener:
    """Hears what passes over the links that are made under `heard_by`; at most `MOST` requests.

    `first_ms` is when the first message of the server arrived.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.first_ms: int | None = None
        self.exchanges: list[Exchange] = []
        self._open: dict[object, Exchange] = {}

    def now_ms(self) -> int:
        """Return the milliseconds since this listener was made."""
        return int((time.monotonic() - self._began) * 1000)

    def sent(self, line: bytes) -> None:
        """Hear what goes to the server."""
        message = _read(line)
        if message is None or not isinstance(message.method, str):
            return
        if isinstance(message.id, int | str) and len(self.exchanges) < MOST:
            exchange = Exchange(message.method, self.now_ms())
            self.exchanges.append(exchange)
            self._open[message.id] = exchange

    def received(self, line: bytes) -> None:
        """Hear what comes from the server."""
        if self.first_ms is None:
            self.first_ms = self.now_ms()
        message = _read(line)
        if message is None or message.method is not None or not isinstance(message.id, int | str):
            return
        exchange = self._open.pop(message.id, None)
        if exchange is None:
            return
        exchange.answered_ms = self.now_ms()
        if isinstance(message.error, dict):
            code = message.error.get("code")
            exchange.error = code if isinstance(code, int) else 0
            exchange.message = str(message.error.get("message") or "")
        elif exchange.method in _KEPT_RESULTS:
            exchange.result = _object(message.result)


_listener: ContextVar[Listener | None] = ContextVar("patina_mcp_listener", default=None)


def listener() -> Listener | None:
    """Return who listens here, None where nobody does."""
    return _listener.get()


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let `listener` hear the links that are made in the body, as long as they last."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def _read(line: bytes) -> _Message | None:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
