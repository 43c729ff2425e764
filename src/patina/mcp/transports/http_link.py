"""What the links over HTTP have in common. Imported late, with httpx2 and the SDK."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2
import mcp_types as types
import msgspec
from anyio.abc import TaskGroup
from mcp.shared.message import SessionMessage
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR
from msgspec import UNSET, Struct, UnsetType

from patina.mcp.failing import Told
from patina.mcp.text import shortened, visible
from patina.mcp.transports.http_client import Client
from patina.mcp.transports.http_network import trust
from patina.mcp.transports.http_trouble import ERRORS, refusal, rpc_error, trouble
from patina.mcp.transports.link import Link
from patina.mcp.transports.remote import Remote
from patina.model.faults import Fault, McpFault

# What a cancelled request of the older era may still take: its answer may be on its way.
_GRACE: Final = 1.0
_GOODBYE_WAIT: Final = 2.0
_QUEUE: Final = 64
# `data` of the error of a request that the server has surely not acted on.
UNSENT: Final[dict[str, object]] = {"unsent": True}


class _Envelope(Struct):
    id: int | str | UnsetType | None = UNSET
    method: msgspec.Raw | UnsetType = UNSET


_envelopes: Final = msgspec.json.Decoder(_Envelope)


class _Post:
    """A request under way. `modern`: closing it is how it is cancelled."""

    def __init__(self, method: str, *, modern: bool) -> None:
        self.method = method
        self.modern = modern
        self.scope = anyio.CancelScope()


class HttpLink(Link):
    """A link whose requests are POSTs, each in a task of its own.

    Notifications and answers are sent one after the other. A subclass says how: `_exchange`,
    `_tell`, and if need be `_headers`, `_is_modern`, `_initialized` and `_goodbye`.
    """

    def __init__(self, remote: Remote, client: Client) -> None:
        super().__init__(_place(remote.url), remote.notes)
        self._client = client
        self._wait = remote.wait
        self._words = ""
        self._reached = False
        self._posts: dict[types.RequestId, _Post] = {}
        self._queue, self._queued = anyio.create_memory_object_stream[
            tuple[SessionMessage, dict[str, str]]
        ](_QUEUE)
        self._tasks: TaskGroup

    async def run(self) -> None:
        """Send what the session says, until the link ends."""
        with self._queue, self._queued, self._departures:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._send)
                self._tasks.start_soon(self._tell_in_order)
                await self.ended.wait()
                self._tasks.cancel_scope.cancel()

    async def part(self) -> None:
        """Tell the server, if it can hear it, that this was all. Bounded by the caller."""
        if self.away or self.forgotten:
            return
        try:
            await self._goodbye()
        except Exception as error:  # noqa: BLE001 - boundary: it is over, whatever happens
            self.log(f"did not hear that this was all: {error}")

    async def _goodbye(self) -> None:
        """Tell the server that this was all."""

    async def last_words(self) -> str:
        """As `Link.last_words`: what the last request failed of."""
        if self._words:
            return self._words
        if self.ended.is_set():
            return "ended"
        return "is still running" if self._reached else "has not answered"

    def lose(
        self,
        words: str,
        *,
        request_id: types.RequestId | None = None,
        away: bool = False,
        forgotten: bool = False,
        data: dict[str, object] = UNSENT,
    ) -> None:
        """End the link; `words` say why, after "it". The first reason is the one that counts.

        A `request_id` is that of the request that met it, which the server did not act on;
        `data` goes with its error.
        """
        if not self.ended.is_set():
            self.away, self.forgotten, self._words = away, forgotten, words
            self.log(f"{self.tried} {words}")
        if request_id is not None:
            # Told before the stream's end is, which says less.
            with suppress(anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
                self._arrivals.send_nowait(_error(request_id, CONNECTION_CLOSED, words, data))
        self.end()

    async def fail(
        self,
        request_id: types.RequestId,
        words: str,
        code: int = INTERNAL_ERROR,
        data: Any = None,  # noqa: ANN401 - JSON
    ) -> None:
        """Answer a request in the server's place, which will not."""
        self.log(f"a request failed: {words}")
        await self.deliver(_error(request_id, code, words, data))

    async def take(self, raw: bytes, request_id: types.RequestId | None = None) -> bool:
        """Pass on the message in `raw`. True: it answers `request_id`."""
        self._reached = True
        try:
            envelope = _envelopes.decode(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            await self.arrive(raw)
            return False
        is_answer = envelope.method is UNSET and envelope.id is not UNSET
        error = rpc_error(raw) if is_answer and envelope.id is None else None
        if error is not None and request_id is not None:
            # The server could not read the id, and there is only this one.
            await self.deliver(_error(request_id, error.code, error.message, error.data))
            return True
        return (
            await self.arrive(raw, request_id) and is_answer and str(envelope.id) == str(request_id)
        )

    def refused(self, response: httpx2.Response, body: bytes) -> str:
        """Return `http_trouble.refusal` without what no text may show."""
        return refusal(response, body, (*self._client.credentials.secrets, self.session_id))

    def facts(self, response: httpx2.Response) -> Told:
        """Return what is to be known of a refusal: `data` of the error of the request."""
        challenge = response.headers.get("www-authenticate", "")
        return self._client.credentials.refusal(response.status_code, challenge)

    def unsent_facts(self, fault: Fault) -> Told:
        """Return the same of a request that was not sent, for want of credentials."""
        return self._client.credentials.fault(fault)

    def _headers(self, message: SessionMessage) -> dict[str, str]:
        """Return the headers of the POST of `message`. Called in the order of the messages."""
        return {"Content-Type": "application/json"}

    def _is_modern(self) -> bool:
        """Whether closing a request is how it is cancelled."""
        return False

    async def _exchange(
        self, request: types.JSONRPCRequest, line: bytes, headers: dict[str, str]
    ) -> None:
        """Send a request and see to it that it gets an answer. May raise `ERRORS`."""
        raise NotImplementedError

    async def _tell(self, line: bytes, headers: dict[str, str]) -> None:
        """Send what has no answer. May raise `ERRORS`."""
        raise NotImplementedError

    async def _send(self) -> None:
        async for message in self._departures:
            body = message.message
            headers = self._headers(message)
            if isinstance(body, types.JSONRPCRequest):
                post = _Post(body.method, modern=self._is_modern())
                self._posts[body.id] = post
                self._tasks.start_soon(self._ask, post, body, self.depart(message), headers)
            elif _method(body) == "notifications/initialized":
                # Nothing may overtake it.
                await self._tell_one(message, headers)
                self._initialized()
            elif _method(body) != "notifications/cancelled" or self._must_tell(body):
                await self._queue.send((message, headers))

    def _initialized(self) -> None:
        """Hear that the handshake of the older era is done."""

    def _must_tell(self, cancelled: types.JSONRPCMessage) -> bool:
        """Let the cancelled request go. False: that says it all."""
        params = cancelled.params if isinstance(cancelled, types.JSONRPCNotification) else None
        post = self._posts.get((params or {}).get("requestId", ""))
        if post is None:
            return not self._is_modern()
        if post.modern:
            post.scope.cancel()
            return False
        post.scope.deadline = anyio.current_time() + _GRACE
        return True

    async def _ask(
        self, post: _Post, request: types.JSONRPCRequest, line: bytes, headers: dict[str, str]
    ) -> None:
        try:
            with post.scope:
                await self._exchange(request, line, headers)
        except ERRORS as error:
            found = trouble(error)
            if found.away:
                words = f"could not be reached: {found.words}"
                self.lose(words, request_id=request.id, away=True)
            else:
                await self.fail(request.id, found.words)
        except Fault as fault:
            await self.fail(request.id, str(fault), data=self.unsent_facts(fault))
        except Exception as error:  # noqa: BLE001 - boundary: one request never ends the others
            words = shortened(visible(str(error)), 500) or type(error).__name__
            await self.fail(request.id, f"the request failed: {words}")
        finally:
            if self._posts.get(request.id) is post:
                del self._posts[request.id]

    async def _tell_in_order(self) -> None:
        async for message, headers in self._queued:
            await self._tell_one(message, headers)

    async def _tell_one(self, message: SessionMessage, headers: dict[str, str]) -> None:
        words = f"did not take a message within {self._wait:g} s"
        try:
            with anyio.move_on_after(self._wait):
                await self._tell(self.depart(message), headers)
                return
        except ERRORS as error:
            found = trouble(error)
            words = found.words
            if found.away:
                self.lose(f"could not be reached: {words}", away=True)
        except Exception as error:  # noqa: BLE001 - boundary: `auth` may raise anything
            words = str(error)
        self.log(f"a message was not taken: {words}")


def _method(message: types.JSONRPCMessage) -> str:
    return message.method if isinstance(message, types.JSONRPCNotification) else ""


def _error(request_id: types.RequestId, code: int, words: str, data: Any) -> SessionMessage:  # noqa: ANN401 - JSON
    error = types.ErrorData(code=code, message=words, data=data)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error))


def _place(url: str) -> str:
    """Return `url` without what may be a secret: a user, a query."""
    try:
        parts = urlsplit(url)
        return visible(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
    except ValueError:
        return "an address that is none"


@asynccontextmanager
async def opened(remote: Remote, kind: type[HttpLink]) -> AsyncGenerator[HttpLink]:
    """Yield a link to `remote`; the first request connects. On leaving, every socket is closed.

    Raises `McpFault` for an address or a file of certificates that cannot be used.
    """
    client = await _client(remote)
    link = kind(remote, client)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.run)
            try:
                yield link
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(_GOODBYE_WAIT):
                await link.part()
            await client.aclose()
        link.close()


async def _client(remote: Remote) -> Client:
    server = remote.notes.server
    try:
        client = Client(remote)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise McpFault(
            f"Server {server} cannot be asked: {shortened(visible(str(error)), 200)}.",
            hint="Check its `url` and `headers`.",
        ) from None
    if client.url.scheme not in {"http", "https"} or not client.url.host:
        raise McpFault(
            f"Server {server} cannot be asked: {_place(remote.url)} is no http or https address.",
            hint="Check its `url`.",
        )
    if client.url.scheme == "https":
        try:
            await anyio.to_thread.run_sync(trust, remote.network.ca_file)
        except OSError as error:
            reason = error.strerror or str(error)
            raise McpFault(
                f"Server {server} cannot be asked: the certificates in SSL_CERT_FILE,"
                f" {remote.network.ca_file}, cannot be used: {reason}.",
                hint="Check that the file is there and holds certificates (PEM).",
            ) from None
    return client
