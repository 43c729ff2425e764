"""Streamable HTTP: every message is a POST, its answer JSON or an event stream.

Facts: MCP specification 2025-11-25 and 2026-07-28, transports. Imported late, with httpx2.
"""

from typing import Any, Final

import anyio
import httpx2
import mcp_types as types
import msgspec
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp_types import INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from patina.mcp.text import shortened, visible
from patina.mcp.transports.http_client import Client, EventStream, body_of, whole_body
from patina.mcp.transports.http_link import UNSENT, HttpLink
from patina.mcp.transports.http_sse import SseWay, is_forgotten
from patina.mcp.transports.http_trouble import ERRORS, media_type, rpc_error, trouble
from patina.mcp.transports.remote import Remote
from patina.model.faults import Fault
from patina.model.sse import ServerSentEvent

ACCEPT: Final = "application/json, text/event-stream"
EVENT_STREAM: Final = "text/event-stream"
JSON: Final = "application/json"
SESSION: Final = "mcp-session-id"
VERSION: Final = "mcp-protocol-version"
FORGOTTEN: Final = "knows the session no more"
_ERROR_BODY: Final = 1024 * 1024
_LONGEST_SESSION_ID: Final = 4096
# What servers of the transport before this one answer to a POST.
_OLDER: Final = frozenset({400, 404, 405})
_OLDER_WAIT: Final = 5.0
_MOST_RESUMPTIONS: Final = 5
_RESUME_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_SHORTEST_PAUSE: Final = 0.1
# A server that answers in JSON, and yet holds a stream, opens it at once.
_LISTEN_WAIT: Final = 5.0


class StreamableLink(HttpLink):
    """A link over Streamable HTTP, or the older transport where `initialize` shows the need."""

    def __init__(self, remote: Remote, client: Client) -> None:
        super().__init__(remote, client)
        self._version = ""
        self._streams = False  # whether `initialize` was answered with a stream
        self._announces = False  # whether it said that it will tell of changes
        self._older: SseWay | None = None

    async def _goodbye(self) -> None:
        """End the session of the server."""
        if self.session_id:
            async with self._client.ask("DELETE", self._own_headers()):
                pass

    def _headers(self, message: SessionMessage) -> dict[str, str]:
        body, metadata = message.message, message.metadata
        stamped: dict[str, str] = {}
        if isinstance(metadata, ClientMessageMetadata) and metadata.headers:
            stamped = {name.lower(): value for name, value in metadata.headers.items()}
        if isinstance(body, types.JSONRPCRequest) and body.method == "initialize":
            # The version is what it is about; and who asks this has given up the question before.
            self._version = ""
            for post in self._posts.values():
                if post.method == "server/discover":
                    post.scope.cancel()
        else:
            self._version = stamped.get(VERSION, self._version)
        return {"Accept": ACCEPT, "Content-Type": JSON, **self._own_headers(), **stamped}

    def _own_headers(self) -> dict[str, str]:
        headers = {}
        if self.session_id:
            headers[SESSION] = self.session_id
        if self._version:
            headers[VERSION] = self._version
        return headers

    def _is_modern(self) -> bool:
        return self._version in MODERN_PROTOCOL_VERSIONS

    async def _exchange(
        self, request: types.JSONRPCRequest, line: bytes, headers: dict[str, str]
    ) -> None:
        if self._older is not None:
            await self._older.ask(request, line, headers)
            return
        stream = EventStream()
        async with self._client.ask("POST", headers, line) as response:
            self._reached = True
            if response.status_code == 202 or not response.is_success:
                body = await body_of(response, _ERROR_BODY)
                settled = False
            else:
                self._note_session(request, response)
                settled = await self._answered(request, response, stream)
                body = None
        if body is not None:
            await self._refused(request, line, headers, response, body)
        elif not settled:
            await self._resume(request, stream)

    def _note_session(self, request: types.JSONRPCRequest, response: httpx2.Response) -> None:
        if request.method != "initialize":
            return
        self._streams = media_type(response) == EVENT_STREAM
        session_id: str = response.headers.get(SESSION, "")
        if session_id.isascii() and session_id.isprintable():
            self.session_id = session_id[: _LONGEST_SESSION_ID + 1]
        if len(self.session_id) > _LONGEST_SESSION_ID:
            self.session_id = ""

    async def _answered(
        self, request: types.JSONRPCRequest, response: httpx2.Response, stream: EventStream
    ) -> bool:
        """Pass the answer on. False: the stream ended, or broke, before it."""
        kind = media_type(response)
        if kind == EVENT_STREAM:
            return await self._follow(request, response, stream)
        if kind != JSON:
            named = shortened(visible(kind), 60) or "something of no type"
            words = f"answered with {named}, not with JSON or an event stream"
            body = await body_of(response, _ERROR_BODY)
            if not body:
                words = f"answered {response.status_code} and nothing else"
            await self.fail(request.id, words, INVALID_REQUEST)
            return True
        body = await whole_body(response)
        if request.method == "initialize":
            self._announces = _announces(body)
        if not await self.take(body, request.id):
            words = "the answer is none to what was asked"
            if rubbish := self.rubbish():
                words = f"the answer is no MCP message: {rubbish}"
            await self.fail(request.id, words, PARSE_ERROR)
        return True

    async def _follow(
        self, request: types.JSONRPCRequest, response: httpx2.Response, stream: EventStream
    ) -> bool:
        async def take(event: ServerSentEvent) -> bool:
            if event.event != "message" or not event.data:
                return False
            return await self.take(event.data, request.id)

        try:
            return await stream.read(response, take)
        except ERRORS as error:
            if not stream.last_id:
                raise
            self.log(f"an answer broke off: {trouble(error).words}")
            return False

    async def _resume(self, request: types.JSONRPCRequest, stream: EventStream) -> None:
        """Ask for the rest of a stream that ended before the answer."""
        words = "the stream ended before the answer"
        tries = 0
        while stream.last_id and tries < _MOST_RESUMPTIONS:
            await anyio.sleep(_pause(stream.retry_ms, tries))
            tries += 1
            known = stream.last_id
            headers = {"Accept": EVENT_STREAM, **self._own_headers(), "Last-Event-ID": known}
            try:
                async with self._client.ask("GET", headers) as response:
                    if response.status_code == 200 and media_type(response) == EVENT_STREAM:
                        if await self._follow(request, response, stream):
                            return
                        tries = 0 if stream.last_id != known else tries
                        continue
                    body = await body_of(response, _ERROR_BODY)
            except ERRORS as error:
                found = trouble(error)
                if found.away and tries == _MOST_RESUMPTIONS:
                    self.lose(f"could not be reached: {found.words}", away=True)
                    return
                self.log(f"the rest of an answer is not there yet: {found.words}")
                continue
            except Fault as fault:
                # Its own data would say that nothing was sent, but the server had begun.
                words = f"the stream ended before the answer, and for the rest: {fault}"
                break
            refused = self.refused(response, body)
            words = f"the stream ended before the answer, and for the rest the server {refused}"
            if self.session_id and is_forgotten(response, body):
                # Not `UNSENT`: the server had begun.
                await self.fail(request.id, words)
                self.lose(FORGOTTEN, forgotten=True)
                return
            if response.status_code < 500:
                break
        await self.fail(request.id, words)

    async def _refused(
        self,
        request: types.JSONRPCRequest,
        line: bytes,
        headers: dict[str, str],
        response: httpx2.Response,
        body: bytes,
    ) -> None:
        status, error = response.status_code, rpc_error(body)
        if status == 202:
            words = "the server accepted the request (202) but gives no answer to it"
            await self.fail(request.id, words, INVALID_REQUEST)
            return
        if self.session_id and is_forgotten(response, body):
            # The protocol's number for it, whichever the server used.
            known = {**UNSENT, "status": 404}
            self.lose(FORGOTTEN, request_id=request.id, forgotten=True, data=known)
            return
        data = self.facts(response)
        words = self.refused(response, body)
        if error is not None:
            if status in {401, 403}:
                data["data"] = error.data
                await self.fail(request.id, error.message or words, error.code, data)
            else:
                await self.fail(request.id, error.message, error.code, error.data)
            return
        if request.method == "initialize" and status in _OLDER and await self._went_older():
            await self._exchange(request, line, headers)
            return
        code = METHOD_NOT_FOUND if status in _OLDER and not self.session_id else None
        if code is not None and request.method != "initialize":
            await self.fail(request.id, words, code, data)
        else:
            self._words = self._words or words
            await self.fail(request.id, words, data=data)

    async def _went_older(self) -> bool:
        """Whether the server speaks the transport before this one: then that is used from now."""
        way = SseWay(self, self._client)
        self._tasks.start_soon(way.read)
        with anyio.move_on_after(min(_OLDER_WAIT, self._wait / 2)):
            await way.settled.wait()
        if way.endpoint is None:
            way.scope.cancel()
            return False
        self.log("it speaks the older HTTP transport (SSE)")
        self._older = way
        return True

    async def _tell(self, line: bytes, headers: dict[str, str]) -> None:
        if self._older is not None:
            await self._older.tell(line, headers)
            return
        async with self._client.ask("POST", headers, line) as response:
            self._reached = True
            body = await body_of(response, _ERROR_BODY)
        if response.is_success:
            return
        self.log(f"a message was not taken: it {self.refused(response, body)}")
        if self.session_id and is_forgotten(response, body):
            self.lose(FORGOTTEN, forgotten=True)

    def _initialized(self) -> None:
        # A server without sessions, or that answers in JSON and announces nothing, has nothing to
        # say there; some of them never answer the question, and meanwhile nothing else.
        if self._older is None and self.session_id and (self._streams or self._announces):
            self._tasks.start_soon(self._listen)

    async def _listen(self) -> None:
        """Hear what the server says of its own accord, for as long as the link lives."""
        stream, tries, opened = EventStream(), 0, False
        while True:
            heard, began = stream.heard, anyio.current_time()
            try:
                again = await self._listen_once(stream, opened=opened)
                if not again:
                    return
                opened = True
            except ERRORS as error:
                self.log(f"its stream of notifications broke: {trouble(error).words}")
            except Fault as fault:
                self.log(f"its stream of notifications cannot be asked for now: {fault}")
            except Exception as error:  # noqa: BLE001 - boundary: `auth` may raise anything
                self.log(f"its stream of notifications cannot be asked for: {error}")
                return
            if stream.heard > heard or anyio.current_time() - began > _LONGEST_PAUSE:
                tries = 0
            await anyio.sleep(_pause(stream.retry_ms, tries))
            tries = min(tries + 1, 10)

    async def _listen_once(self, stream: EventStream, *, opened: bool) -> bool:
        """Read the stream to its end. False: it will never be there."""

        async def take(event: ServerSentEvent) -> bool:
            if event.event == "message" and event.data:
                await self.take(event.data)
            return False

        headers = {"Accept": EVENT_STREAM, **self._own_headers()}
        if stream.last_id:
            headers["Last-Event-ID"] = stream.last_id
        with anyio.CancelScope() as scope:
            if not self._streams:
                scope.deadline = anyio.current_time() + _LISTEN_WAIT
            async with self._client.ask("GET", headers) as response:
                if response.status_code == 200 and media_type(response) == EVENT_STREAM:
                    scope.deadline = float("inf")
                    await stream.read(response, take)
                    return True
                if response.status_code >= 500:
                    return True
                if response.status_code in (401, 403) and self._client.credentials.may_change:
                    return True  # a sign-in lets it pass
                if opened and response.status_code == 404:
                    self.lose(FORGOTTEN, forgotten=True)
        return False


def _pause(retry_ms: int | None, tries: int) -> float:
    """Return the seconds to wait before a stream is asked for again."""
    base = _RESUME_PAUSE if retry_ms is None else retry_ms / 1000
    return float(min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, base) * 2**tries))


def _announces(body: bytes) -> bool:
    """Whether the answer to `initialize` in `body` promises to tell of changes."""
    try:
        answer: Any = msgspec.json.decode(body)
        abilities = answer["result"]["capabilities"]
        return any(
            isinstance(ability, dict) and (ability.get("listChanged") or ability.get("subscribe"))
            for ability in dict(abilities).values()
        )
    except (msgspec.MsgspecError, UnicodeError, RecursionError, LookupError, TypeError, ValueError):
        return False
