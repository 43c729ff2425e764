"""HTTP requests to the origin of one remote server. Imported late, with httpx2."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final

import anyio
import httpx2

from patina import __version__
from patina.mcp.transports.credentials import Credentials
from patina.mcp.transports.http_network import Transport
from patina.mcp.transports.remote import Remote
from patina.model.sse import MAX_EVENT, EventParser, EventTooLargeError, ServerSentEvent

_WRITE_WAIT: Final = 30.0
_MOST_REDIRECTS: Final = 5
# How long an event stream may go on after its answer. One that ends leaves a usable connection.
_DRAIN_WAIT: Final = 1.0


class Client:
    """Asks the origin of `remote.url`, with its headers and its `auth`. Close it with `aclose`.

    `credentials` are what it knows of `auth`.
    """

    def __init__(self, remote: Remote) -> None:
        self.url = httpx2.URL(remote.url)
        self.credentials = Credentials(remote)
        self._http = httpx2.AsyncClient(
            transport=Transport(remote.network),
            headers={
                "User-Agent": f"patina/{__version__}",
                # An event that waits in a compressor is an event too late.
                "Accept-Encoding": "identity",
                **remote.headers,
            },
            timeout=httpx2.Timeout(
                connect=remote.wait, pool=remote.wait, write=_WRITE_WAIT, read=None
            ),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        url: httpx2.URL | None = None,
    ) -> AsyncGenerator[httpx2.Response]:
        """Send a request and give its answer as soon as its head is there.

        There is no limit for the answer, callers have theirs. Redirects are followed within the
        origin where they keep the method; any other is the answer. A request that is refused for
        its credentials is sent again where they were renewed, `MOST_SENDS` times in all. Leaving
        the block before the end of the body closes the connection. Raises `http_trouble.ERRORS`,
        and the `Fault`s of `Authority.headers`.
        """
        request = self._http.build_request(
            method, url or self.url, headers=headers, content=content
        )
        added: Mapping[str, str] = {}
        followed, attempt = 0, 1
        while True:
            for name in added:
                del request.headers[name]
                if name in self._http.headers:
                    request.headers[name] = self._http.headers[name]
            # Anew for each sending: a proof is for one, and for one address.
            added = await self.credentials.headers(method, str(request.url))
            request.headers.update(added)
            response = await self._http.send(request, stream=True)
            again = await self._again(response, added, attempt)
            following = None if again else _within_origin(request, response)
            if not again and (following is None or followed == _MOST_REDIRECTS):
                break
            await response.aclose()
            if following is None:
                attempt += 1
                continue
            if response.status_code == 308 and url is None:
                self.url = following.url  # permanent: no detour for what comes next
            request = following
            followed += 1
        try:
            yield response
        finally:
            await response.aclose()

    async def _again(
        self, response: httpx2.Response, sent: Mapping[str, str], attempt: int
    ) -> bool:
        if not self.credentials.may_change:
            return False
        try:
            answer = dict(response.headers.items())
            return await self.credentials.again(response.status_code, answer, sent, attempt)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await response.aclose()
            raise


def _within_origin(request: httpx2.Request, response: httpx2.Response) -> httpx2.Request | None:
    """Return the request that `response` leads to, if it is one to follow."""
    following = response.next_request
    if (
        following is None
        or following.method != request.method
        or following.url.userinfo != request.url.userinfo
        or not same_origin(request.url, following.url)
    ):
        return None
    return following


def same_origin(one: httpx2.URL, other: httpx2.URL) -> bool:
    """Whether both have the same scheme, host and port."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


async def body_of(response: httpx2.Response, limit: int) -> bytes:
    """Return the body of `response`, cut off after `limit` bytes."""
    body = bytearray()
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) >= limit:
                break
    return bytes(body[:limit])


async def whole_body(response: httpx2.Response) -> bytes:
    """Return the body of `response`. Raises `EventTooLargeError` over 64 MiB."""
    body = await body_of(response, MAX_EVENT + 1)
    if len(body) > MAX_EVENT:
        raise EventTooLargeError(f"an answer is larger than {MAX_EVENT} bytes")
    return body


class EventStream:
    """What is known of an event stream, over all the responses that it comes in.

    `last_id` is the last event's, `retry_ms` what the server last asked to wait before it is asked
    again; `heard` the number of events.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self.heard = 0

    async def read(
        self, response: httpx2.Response, take: Callable[[ServerSentEvent], Awaitable[bool]]
    ) -> bool:
        """Give each event to `take` until it returns true, and then return true.

        The rest of the stream is dropped, for a second at most. False: it ended. Raises
        `http_trouble.ERRORS`; what was `heard` before is known.
        """
        parser = EventParser()
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                events = parser.feed(chunk)
                self.retry_ms = parser.retry if parser.retry is not None else self.retry_ms
                if await self._take(events, take):
                    with anyio.move_on_after(_DRAIN_WAIT):
                        async for _ in chunks:
                            pass
                    return True
            return await self._take(parser.flush(), take)

    async def _take(
        self,
        events: list[ServerSentEvent],
        take: Callable[[ServerSentEvent], Awaitable[bool]],
    ) -> bool:
        for event in events:
            self.heard += 1
            self.last_id = event.id or self.last_id
            if await take(event):
                return True
        return False
