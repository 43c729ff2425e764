"""Where the browser brings the answer of a sign-in: a listener on this machine, for one hit.

Facts: RFC 8252 7.3 and 8.3 (loopback redirects), RFC 9112 2, 3 (requests), Fetch Metadata 2.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener

from patina.mcp.auth.authorization import Pending, verdict
from patina.mcp.auth.failing import SignInFault
from patina.model.faults import Fault

PATH: Final = "/oauth/callback"
_HOST: Final = "127.0.0.1"
_MOST_BYTES: Final = 32 * 1024
_MOST_AT_ONCE: Final = 16
_SECONDS: Final = 5.0
_MOST_HELD: Final = 8.0
_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS: Final = (
    "Content-Type: text/html; charset=utf-8",
    "Connection: close",
    "Cache-Control: no-store",
    f"Content-Security-Policy: {_POLICY}",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: no-referrer",
    "Cross-Origin-Opener-Policy: same-origin",
    "Cross-Origin-Resource-Policy: same-origin",
)
_GONE: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
Page = tuple[str, str, str]
# Status, title and text of each page. None has a word of what was asked for.
_DONE: Final[Page] = (
    "200 OK",
    "Signed in",
    "You may close this window and go back to Patina.",
)
_FAILED: Final[Page] = (
    "200 OK",
    "Not signed in",
    "Patina says why. You may close this window.",
)
_OPEN: Final[Page] = (
    "200 OK",
    "Go back to Patina",
    "It has the answer, and says how the sign-in ends. You may close this window.",
)
_FOREIGN: Final[Page] = (
    "400 Bad Request",
    "Not this sign-in",
    "Patina still waits for the answer of its own. You may close this window.",
)
_BAD: Final[Page] = ("400 Bad Request", "Not understood", "")
_REFUSED: Final[Page] = ("403 Forbidden", "Refused", "")
_NOT_THERE: Final[Page] = ("404 Not Found", "Nothing here", "")
_WRONG_WAY: Final[Page] = ("405 Method Not Allowed", "Refused", "")


class Loopback:
    """Listens for the answer of one sign-in. Made by `listening`.

    `most_held`: seconds that a browser waits to be told how the sign-in ended.
    """

    def __init__(self, listener: MultiListener[SocketStream], port: int) -> None:
        self.port = port
        self.most_held = _MOST_HELD
        self.redirect_uri = f"http://{_HOST}:{port}{PATH}"
        self._listener = listener
        self._browser: SocketStream | None = None  # that brought the answer, and waits

    async def callback(self, pending: Pending | None = None) -> str:
        """Return the address that the browser was sent to. Waits as long as the caller lets it.

        A browser that comes earlier is kept waiting. With `pending` what does not belong to it is
        passed over. The browser that brought it waits for `telling`. Call it once.
        """
        answers: list[str] = []
        came = anyio.Event()
        room = anyio.CapacityLimiter(_MOST_AT_ONCE)

        async def serve(stream: SocketStream) -> None:
            try:
                if room.available_tokens < 1:
                    return
                async with room:
                    address = await self._answer(stream, pending)
                if address and not answers:
                    answers.append(address)
                    self._browser = stream
                    came.set()
            finally:
                if self._browser is not stream:
                    await stream.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listener.serve, serve)
            await came.wait()
            tasks.cancel_scope.cancel()
        await self._listener.aclose()
        return answers[0]

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell the person in the browser how the block ended: they are signed in, unless it raised
        a `Fault`. One that lasts is not waited for.
        """
        ended, page = anyio.Event(), _DONE
        failed: Fault | None = None

        async def tell() -> None:
            with anyio.move_on_after(self.most_held) as held:
                await ended.wait()
            await self._send(_OPEN if held.cancelled_caught else page)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell)
            try:
                yield
            except Fault as fault:
                failed, page = fault, _FAILED
            ended.set()
        if failed is not None:
            raise failed

    async def close(self) -> None:
        """Leave no browser waiting."""
        with anyio.CancelScope(shield=True):
            await self._send(_OPEN)

    async def _send(self, page: Page) -> None:
        """Send the page to the browser that brought the answer, if it still waits."""
        browser, self._browser = self._browser, None
        if browser is None:
            return
        async with browser:
            with anyio.move_on_after(_SECONDS), suppress(*_GONE):
                await browser.send(_response(page, body=True))
                await browser.send_eof()

    async def _answer(self, stream: SocketStream, pending: Pending | None) -> str:
        """Return the address that a connection brought; else answer it and return ""."""
        with anyio.move_on_after(_SECONDS), suppress(*_GONE):
            method, target, headers = _request_of(await _head_of(stream))
            page = self._trouble(method, target, headers)
            if page is None:
                address = f"http://{_HOST}:{self.port}{target}"
                if pending is None or verdict(pending, address) != "foreign":
                    return address
                page = _FOREIGN
            await stream.send(_response(page, body=method != "HEAD"))
            await stream.send_eof()
        return ""

    def _trouble(self, method: str, target: str, headers: Mapping[str, str]) -> Page | None:
        """Return the page for what is no visit of a person's browser to our path."""
        if not method:
            return _BAD
        # A page elsewhere whose name was made to lead here has that name in Host.
        if headers.get("host") != f"{_HOST}:{self.port}":
            return _REFUSED
        if target.partition("?")[0] != PATH:
            return _NOT_THERE
        if method != "GET":
            return _WRONG_WAY
        purpose = headers.get("sec-purpose", "") + headers.get("purpose", "")
        if "prefetch" in purpose.lower() or headers.get("sec-fetch-mode", "navigate") != "navigate":
            return _REFUSED
        if headers.get("sec-fetch-dest", "document") != "document":
            return _REFUSED
        return None


@asynccontextmanager
async def listening(port: int = 0, *, prefer: int = 0) -> AsyncIterator[Loopback]:
    """Listen on 127.0.0.1 until the end of the block, on any free port unless `port` is given.

    `prefer` is a port to have if it is free. Raises `SignInFault` where `port` is taken.
    """
    listener = await _listener_at(port or prefer, must=bool(port))
    async with listener:
        attributes = listener.extra_attributes
        loopback = Loopback(listener, attributes[SocketAttribute.local_port]())
        try:
            yield loopback
        finally:
            await loopback.close()


async def _listener_at(port: int, *, must: bool) -> MultiListener[SocketStream]:
    try:
        return await anyio.create_tcp_listener(local_host=_HOST, local_port=port)
    except OSError:
        if must or not port:
            raise SignInFault(
                f"Patina cannot listen on port {port} of this machine for the end of the sign-in.",
                step="callback",
                hint="Another program has it: end that, or set another `redirect_port`.",
            ) from None
    return await _listener_at(0, must=False)


async def _head_of(stream: SocketStream) -> bytes:
    """Return a request up to its empty line, or b"" where that is too long."""
    head = bytearray()
    while b"\r\n\r\n" not in head:
        if len(head) > _MOST_BYTES:
            return b""
        head += await stream.receive(4096)
    return bytes(head.partition(b"\r\n\r\n")[0])


def _request_of(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Return method, target and headers of a request; the method is "" where it is none.

    Of names in small letters; one that is there twice has the value "", which nothing is.
    """
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].isascii():
        return "", "", {}
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return "", "", {}
        name = name.lower()
        headers[name] = "" if name in headers else value.strip()
    return words[0], words[1], headers


def _response(page: Page, *, body: bool) -> bytes:
    status, title, text = page
    html = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{title} - Patina</title><h1>{title}</h1><p>{text}</p></html>\n"
    ).encode()
    allow = ("Allow: GET",) if status.startswith("405") else ()
    lines = (f"HTTP/1.1 {status}", *_HEADERS, *allow, f"Content-Length: {len(html)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (html if body else b"")
