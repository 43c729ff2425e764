"""The older HTTP transport: one event stream from the server, one POST for each message to it.

Facts: MCP specification 2024-11-05, transports, "HTTP with SSE". Imported late, with httpx2.
"""

from typing import Final

import anyio
import httpx2
import mcp_types as types
from mcp.shared.message import SessionMessage
from mcp_types import METHOD_NOT_FOUND

from patina.mcp.text import shortened, visible
from patina.mcp.transports.http_client import Client, EventStream, body_of, same_origin
from patina.mcp.transports.http_link import UNSENT, HttpLink
from patina.mcp.transports.http_trouble import ERRORS, media_type, rpc_error, trouble
from patina.mcp.transports.remote import Remote
from patina.model.faults import Fault
from patina.model.sse import ServerSentEvent

_ERROR_BODY: Final = 64 * 1024


class SseWay:
    """The stream of a server of the older transport, and the endpoint that it names.

    `settled` is set when there is an `endpoint`, or when there will be none: then `words` say why,
    after "it", `facts` are the data of the error, and `away` is whether it could not be reached.
    Cancelling `scope` gives it up.
    """

    def __init__(self, link: HttpLink, client: Client) -> None:
        self.settled = anyio.Event()
        self.endpoint: httpx2.URL | None = None
        self.words = ""
        self.away = False
        self.scope = anyio.CancelScope()
        self.facts: dict[str, object] = UNSENT
        self._link = link
        self._client = client

    async def read(self) -> None:
        """Pass on what arrives until the stream ends. That ends the link, if it had an endpoint."""
        try:
            with self.scope:
                async with self._client.ask("GET", {"Accept": "text/event-stream"}) as response:
                    await self._read(response)
        except ERRORS as error:
            found = trouble(error)
            self.away = found.away or self.endpoint is not None
            self.words = f"could not be reached: {found.words}" if found.away else found.words
        except Fault as fault:
            self.words, self.facts = str(fault), self._link.unsent_facts(fault)
        except Exception as error:  # noqa: BLE001 - boundary: `auth` may raise anything
            self.words = f"was not asked: {shortened(visible(str(error)), 200)}"
        if self.endpoint is not None:
            words = "closed the stream"
            if self.words:
                words += f": {self.words}"
            self._link.lose(words, away=self.away)
        self.settled.set()

    async def _read(self, response: httpx2.Response) -> None:
        if response.status_code != 200:
            body = await body_of(response, _ERROR_BODY)
            self.words = self._link.refused(response, body)
            self.facts = self._link.facts(response)
        elif media_type(response) != "text/event-stream":
            kind = shortened(visible(media_type(response)), 60) or "something of no type"
            self.words = f"answered with {kind}, not with an event stream"
        else:
            await EventStream().read(response, self._take)
            if self.endpoint is None and not self.words:
                self.words = "closed the stream before it named an endpoint"

    async def _take(self, event: ServerSentEvent) -> bool:
        if event.event == "message" and event.data:
            await self._link.take(event.data)
        elif event.event == "endpoint" and self.endpoint is None:
            try:
                endpoint = self._client.url.join(event.data.decode().strip())
            except (UnicodeError, ValueError, httpx2.InvalidURL):
                endpoint = None
            if endpoint is None or not same_origin(endpoint, self._client.url):
                place = shortened(visible(event.data.decode("utf-8", "replace")), 200)
                self.words = f"named an endpoint that is not its own: {place}"
                self.settled.set()
                return True
            self.endpoint = endpoint
            self.settled.set()
        return False

    async def ask(
        self, request: types.JSONRPCRequest, line: bytes, headers: dict[str, str]
    ) -> None:
        """Send a request; its answer comes with the stream."""
        if request.method == "server/discover":
            # No server of this transport speaks the newer era, and some never answer this.
            words = "the older HTTP transport has no server/discover"
            await self._link.fail(request.id, words, METHOD_NOT_FOUND)
            return
        async with self._client.ask("POST", headers, line, self.endpoint) as response:
            body = await body_of(response, _ERROR_BODY)
            if response.is_success:
                return
            words = self._link.refused(response, body)
            if is_forgotten(response, body):
                known = {**UNSENT, "status": 404}
                self._link.lose(words, request_id=request.id, forgotten=True, data=known)
                return
            error = rpc_error(body)
            if error is not None and response.status_code not in {401, 403}:
                await self._link.fail(request.id, error.message, error.code, error.data)
                return
            await self._link.fail(request.id, words, data=self._link.facts(response))

    async def tell(self, line: bytes, headers: dict[str, str]) -> None:
        """Send what has no answer."""
        async with self._client.ask("POST", headers, line, self.endpoint) as response:
            body = await body_of(response, _ERROR_BODY)
            if not response.is_success:
                self._link.log(f"a message was not taken: {self._link.refused(response, body)}")
                if is_forgotten(response, body):
                    self._link.lose("knows the session no more", forgotten=True)


def is_forgotten(response: httpx2.Response, body: bytes) -> bool:
    """Whether the answer to a request with a session says that there is no such session.

    The specification's word is 404; servers made after a widespread example answer 400.
    """
    if response.status_code == 404:
        return True
    return response.status_code == 400 and b"session" in body.lower()


class SseLink(HttpLink):
    """A link over the older transport."""

    def __init__(self, remote: Remote, client: Client) -> None:
        super().__init__(remote, client)
        self._way = SseWay(self, client)

    async def run(self) -> None:
        """As `HttpLink.run`, once the server has named its endpoint."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._way.read)
            with anyio.move_on_after(self._wait):
                await self._way.settled.wait()
            if self._way.endpoint is not None:
                await super().run()
            else:
                await self._refuse_first()
            tasks.cancel_scope.cancel()

    async def _refuse_first(self) -> None:
        """Answer the first request with the reason that there is no way, and end."""
        way, first = self._way, None
        with self._queue, self._queued, self._departures:
            with anyio.move_on_after(self._wait):
                first = (await self._departures.receive()).message
            self.lose(
                way.words or f"named no endpoint within {self._wait:g} s",
                request_id=first.id if isinstance(first, types.JSONRPCRequest) else None,
                away=way.away,
                data=way.facts,
            )

    async def _exchange(
        self, request: types.JSONRPCRequest, line: bytes, headers: dict[str, str]
    ) -> None:
        await self._way.ask(request, line, headers)

    async def _tell(self, line: bytes, headers: dict[str, str]) -> None:
        await self._way.tell(line, headers)

    def _headers(self, message: SessionMessage) -> dict[str, str]:
        return {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
