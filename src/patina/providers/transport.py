"""The part below HTTP: sockets that are surely closed, and what errors of httpcore2 mean.

Imported with the first request only.
"""

import socket
import ssl
from collections.abc import Iterable
from typing import Any

import anyio
import httpcore2

from patina.providers.chunking import ChunkJoiner
from patina.providers.trouble import TransportError

TRANSPORT_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.ProxyError,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
    OSError,
    UnicodeError,
)


class Backend(httpcore2.AnyIOBackend):
    """Connects as httpcore2 does, with streams that join chunks and are surely closed."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Return a connection to `host`."""
        stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream)


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection of httpcore2 whose HTTP chunks are joined, see `chunking`."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self._joiner = ChunkJoiner()

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
    ) -> bytes:
        while data := await self._inner.read(max_bytes, timeout):
            if joined := self._joiner.feed(data):
                return joined
        return b""

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
    ) -> None:
        self._joiner.restart()
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return _Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))
        except anyio.get_cancelled_exc_class():
            # httpcore2 2.16 closes a stream whose handshake fails, but not if it is cancelled.
            with anyio.CancelScope(shield=True):
                await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore2's signature
        return self._inner.get_extra_info(info)


def translate(error: Exception, *, begun: bool) -> TransportError:
    """Return what `error`, one of `TRANSPORT_ERRORS`, means.

    `begun` says whether the head of the answer had arrived.
    """
    if isinstance(error, (httpcore2.ConnectTimeout, httpcore2.PoolTimeout)):
        return TransportError("timeout", "the connection was not made in time", unsent=True)
    if isinstance(error, (httpcore2.ReadTimeout, httpcore2.WriteTimeout)):
        return TransportError("timeout", "nothing came for too long")
    if isinstance(error, httpcore2.ProxyError):
        return TransportError("network", f"the proxy refused: {error}", unsent=True)
    if isinstance(error, (httpcore2.ConnectError, UnicodeError)):
        return TransportError("network", _why(error), unsent=True)
    if begun:
        return TransportError("cut", "the connection was lost")
    return TransportError("network", _why(error))


def _why(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its TLS certificate was not accepted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return "the TLS handshake failed"
        if isinstance(cause, (socket.gaierror, UnicodeError)):
            return "its name could not be resolved"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(cause, (ConnectionResetError, BrokenPipeError)):
            return "the connection was closed before an answer"
    if isinstance(error, httpcore2.LocalProtocolError):
        return "the request could not be put into HTTP"
    if isinstance(error, httpcore2.RemoteProtocolError):
        return "the connection was closed before an answer, or the answer is not HTTP"
    return "the connection could not be made or was lost"


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < 50:
        current = waiting.pop(0)
        if current is None or current in found:
            continue
        found.append(current)
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)
        waiting += [current.__cause__, current.__context__]
        waiting += [arg for arg in current.args if isinstance(arg, BaseException)]
    return found
