"""A look at a remote server from outside: its name, its certificate, and what its port speaks.

For a diagnosis only; whoever connects uses the transports. It asks twice at most: a `ping` as
Streamable HTTP has it, which no server minds, and, where that is not understood, for a stream of
events as the older transport has it.
"""

import importlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct

from patina.mcp.text import shortened, visible
from patina.mcp.transports.credentials import Credentials
from patina.mcp.transports.remote import Network, Remote
from patina.model.faults import Fault

if TYPE_CHECKING:
    import httpx2

WAIT: Final = 5.0
_STREAM_WAIT: Final = 2.0
_MOST_BYTES: Final = 4096
_SHOWN: Final = 200
_PING: Final = b'{"jsonrpc":"2.0","id":0,"method":"ping"}'
_MOST_ADDRESSES: Final = 8
Trouble = Literal[
    "",
    "address",
    "unknown_host",
    "refused",
    "unreachable",
    "silent",
    "expired",
    "untrusted",
    "tls",
    "proxy",
    "cut",
]


class Certificate(Struct, frozen=True):
    """Who vouches for the server; `expires` is UTC, `days` how many are left."""

    issuer: str
    expires: str
    days: int
    version: str


class Answer(Struct, frozen=True):
    """The answer to one question: its status and, made harmless, its first words."""

    method: str
    status: int
    media_type: str
    words: str


class Look(Struct, frozen=True, kw_only=True):
    """What is to be seen of `url` (its query values masked).

    `spoken` is the transport that answers there, "" where none is known; `trouble` is what
    stands in the way of any answer, `detail` the system's word for it.
    """

    url: str
    proxy: str = ""
    addresses: tuple[str, ...] = ()
    certificate: Certificate | None = None
    answers: tuple[Answer, ...] = ()
    spoken: Literal["", "streamable-http", "sse", "websocket"] = ""
    trouble: Trouble = ""
    detail: str = ""

    def status(self) -> int:
        """Return the status of the answer to the ping, 0 without one."""
        return self.answers[0].status if self.answers else 0


def shown_url(url: str) -> str:
    """Return `url` without what may be secret in it: user, password, values of the query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(not an address)"
    query = "&".join(f"{pair.partition('=')[0]}=***" for pair in parts.query.split("&") if pair)
    user = "***@" if "@" in parts.netloc else ""
    tail = f"?{query}" if query else ""
    return visible(f"{parts.scheme}://{user}{host}{parts.path}{tail}")


async def look(remote: Remote) -> Look:
    """Look at `remote`. Bounded, about 15 s at most; raises nothing of the network's."""
    shown = shown_url(remote.url)
    try:
        parts = urlsplit(remote.url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        return Look(url=shown, trouble="address", detail=visible(str(error)))
    secure = parts.scheme in ("https", "wss")
    if not host or parts.scheme not in ("http", "https", "ws", "wss"):
        return Look(url=shown, trouble="address", detail="it begins with none of http, https, ws")
    await anyio.to_thread.run_sync(importlib.import_module, "patina.mcp.transports.http_network")
    url = _http_url(parts)
    proxy = _proxy(url, remote.network)
    addresses: tuple[str, ...] = ()
    if not proxy:
        addresses = await _addresses(host, port or (443 if secure else 80))
        if not addresses:
            return Look(url=shown, trouble="unknown_host", detail=visible(host))
    seen = await _asked(remote, url)
    return msgspec.structs.replace(
        seen, url=shown, proxy=shown_url(proxy) if proxy else "", addresses=addresses
    )


def _http_url(parts: SplitResult) -> str:
    """Return the address by which a WebSocket server, too, is asked over plain HTTP."""
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return parts._replace(scheme=scheme, fragment="").geturl()


def _proxy(url: str, network: Network) -> str:
    import httpx2

    from patina.mcp.transports.http_network import proxy_for

    return proxy_for(httpx2.URL(url), network)


async def _addresses(host: str, port: int) -> tuple[str, ...]:
    found: list[str] = []
    with anyio.move_on_after(WAIT):
        try:
            for *_, where in await anyio.getaddrinfo(host, port):
                found.append(str(where[0]))
        except (OSError, UnicodeError):
            return ()
    return tuple(dict.fromkeys(found))[:_MOST_ADDRESSES]


async def _asked(remote: Remote, url: str) -> Look:
    """Ask the port, and return all but how it was reached."""
    import httpx2

    from patina.mcp.transports.http_network import Transport
    from patina.mcp.transports.http_trouble import ERRORS

    answers: list[Answer] = []
    certificate: Certificate | None = None
    trouble: Trouble = ""
    detail = ""
    wait = min(WAIT, remote.wait)
    credentials = Credentials(remote)
    transport = Transport(remote.network)
    with anyio.move_on_after(2 * wait):
        async with httpx2.AsyncClient(transport=transport, timeout=wait) as client:
            for method in ("POST", "GET"):
                try:
                    async with _answer(client, method, url, remote, credentials) as response:
                        certificate = certificate or _certificate(response)
                        answers.append(await _read(method, response, credentials.secrets))
                except ERRORS as error:
                    trouble, detail = _trouble(error)
                    if trouble != "cut":  # there are servers that hang up on what they do not know
                        break
                if _spoken(answers):
                    break
    if answers:
        trouble, detail = "", ""
    elif not trouble:
        trouble = "silent"
    return Look(
        url="",
        certificate=certificate,
        answers=tuple(answers),
        spoken=_spoken(answers),
        trouble=trouble,
        detail=_masked(detail, credentials.secrets),
    )


@asynccontextmanager
async def _answer(
    client: "httpx2.AsyncClient", method: str, url: str, remote: Remote, credentials: Credentials
) -> "AsyncGenerator[httpx2.Response]":
    accept = "text/event-stream"
    headers = {**remote.headers, "Accept": accept}
    if method == "POST":
        headers |= {"Accept": f"application/json, {accept}", "Content-Type": "application/json"}
    content = _PING if method == "POST" else None
    with suppress(Fault):  # without, it is seen that it wants them
        headers |= await credentials.headers(method, url)
    request = client.stream(method, url, headers=headers, content=content)
    async with request as response:
        yield response


async def _read(method: str, response: "httpx2.Response", secrets: tuple[str, ...]) -> Answer:
    """Read the beginning of an answer, which may be a stream that never ends."""
    data = bytearray()
    with anyio.move_on_after(_STREAM_WAIT):
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) >= _MOST_BYTES or b"\n\n" in data or b"\r\n\r\n" in data:
                break
    words = _masked(data[:_MOST_BYTES].decode("utf-8", "replace"), secrets)
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Answer(method, response.status_code, visible(media_type), words)


def _masked(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if len(secret) > 3:
            text = text.replace(secret, "***")
    return shortened(visible(text.strip()), _SHOWN * 5)


def _spoken(answers: list[Answer]) -> Literal["", "streamable-http", "sse", "websocket"]:
    for answer in answers:
        if '"jsonrpc"' in answer.words:
            return "streamable-http"
        if answer.status == 426 or "upgrade header" in answer.words.lower():
            return "websocket"
        if answer.method == "GET" and answer.media_type == "text/event-stream":
            # The older transport begins by naming where to post.
            return "sse" if "event: endpoint" in answer.words else "streamable-http"
    return ""


def _trouble(error: Exception) -> tuple[Trouble, str]:
    """Return what kept the port from answering: its kind, and the words for it."""
    import httpcore2

    from patina.mcp.transports import http_trouble

    words = http_trouble.trouble(error).words
    for one in http_trouble.causes(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return "expired" if "expired" in one.verify_message else "untrusted", one.verify_message
        if isinstance(one, ssl.SSLError):
            waiting = isinstance(one, ssl.SSLWantReadError)
            return "tls", "no answer to the handshake" if waiting else one.reason or str(one)
        if isinstance(one, ConnectionRefusedError):
            return "refused", words
    if isinstance(error, httpcore2.ProxyError):
        return "proxy", words
    if isinstance(error, httpcore2.ConnectTimeout | httpcore2.ConnectError):
        return "unreachable", words
    if isinstance(error, httpcore2.TimeoutException):
        return "silent", words
    return "cut", words


def _certificate(response: "httpx2.Response") -> Certificate | None:
    stream = response.extensions.get("network_stream")
    secured: Any = stream.get_extra_info("ssl_object") if stream is not None else None
    if secured is None:
        return None
    found = secured.getpeercert() or {}
    names = dict(pair for part in found.get("issuer", ()) for pair in part)
    seconds = ssl.cert_time_to_seconds(found["notAfter"]) if "notAfter" in found else 0
    left = seconds - datetime.now(UTC).timestamp()
    return Certificate(
        issuer=visible(names.get("organizationName") or names.get("commonName") or "not named"),
        expires=datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d"),
        days=int(left // 86_400),
        version=secured.version() or "",
    )
