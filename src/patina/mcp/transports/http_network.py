"""Connections to remote servers: pools over httpcore2, the proxy that leads there, trust.

Imported late, with httpx2. Facts about both libraries: their releases 2.16 on PyPI.
"""

import ipaddress
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from functools import lru_cache
from typing import Any, Final

import anyio
import httpcore2
import httpx2

from patina.mcp.transports.remote import Network

MOST_CONNECTIONS: Final = 100
_IDLE_CONNECTIONS: Final = 10
# Idle connections are given up (seconds) before the usual servers do, 5 s on this machine and
# 60 s behind a gateway: a request that meets the end of its connection is not sent again.
_KEEP_ALIVE: Final = {True: 50.0, False: 4.0}

# Their records hold addresses, whose queries may be secrets, and headers, which are.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Transport(httpx2.AsyncBaseTransport):
    """httpx2's way to the network. Raises the errors of httpcore2 as they are.

    `backend` makes the connections that go through no proxy, in place of `Backend`.
    """

    def __init__(
        self, network: Network, backend: httpcore2.AsyncNetworkBackend | None = None
    ) -> None:
        self._network = network
        self._backend = backend or Backend()
        self._pools: dict[tuple[bool, str], httpcore2.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request` and return its answer as soon as the head of it is there."""
        url = request.url
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        raw = await self._pool(url).handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            status_code=raw.status,
            headers=raw.headers,
            stream=_Body(raw.stream),
            extensions=raw.extensions,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.aclose()

    def _pool(self, url: httpx2.URL) -> httpcore2.AsyncConnectionPool:
        key = (url.scheme == "https", proxy_for(url, self._network))
        if key not in self._pools:
            self._pools[key] = self._make_pool(tls=key[0], proxy=key[1])
        return self._pools[key]

    def _make_pool(self, *, tls: bool, proxy: str) -> httpcore2.AsyncConnectionPool:
        common: dict[str, Any] = {
            "network_backend": Backend() if proxy else self._backend,
            "ssl_context": trust(self._network.ca_file) if tls else None,
            "max_connections": MOST_CONNECTIONS,
            "max_keepalive_connections": _IDLE_CONNECTIONS,
            "keepalive_expiry": _KEEP_ALIVE[tls],
            "socket_options": _probes(),
        }
        if not proxy:
            return httpcore2.AsyncConnectionPool(**common)
        try:
            way = httpx2.Proxy(proxy)
            place = str(way.url)
            common["proxy_auth"] = way.raw_auth
            if way.url.scheme in {"socks5", "socks5h"}:
                del common["socket_options"]  # which it does not take
                return httpcore2.AsyncSOCKSProxy(place, **common)
            if way.url.scheme == "https":
                common["proxy_ssl_context"] = trust(self._network.ca_file)
            return httpcore2.AsyncHTTPProxy(place, **common)
        except (httpx2.InvalidURL, ValueError) as error:
            raise httpcore2.ProxyError("its address cannot be used") from error
        except (ImportError, RuntimeError) as error:
            raise httpcore2.ProxyError("a SOCKS proxy needs the package socksio") from error


def _probes() -> list[httpcore2.SOCKET_OPTION]:
    """Return the options that notice within two minutes that the other side is silently gone."""
    options: list[httpcore2.SOCKET_OPTION] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):  # not every system has all three
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


class _Body(httpx2.AsyncByteStream):
    """The bytes of an answer, as they come."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - httpcore2 does not name the type
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        chunks: AsyncIterator[bytes] = self._stream.__aiter__()
        return chunks

    async def aclose(self) -> None:
        await self._stream.aclose()


class Backend(httpcore2.AnyIOBackend):
    """Connects as httpcore2 does, with streams that are surely closed."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """As httpcore2 has it."""
        stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream)


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection that is closed where its TLS handshake is cancelled, not only where it fails."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self.read = inner.read  # type: ignore[method-assign]  # no detour for every chunk
        self.write = inner.write  # type: ignore[method-assign]

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
            with anyio.CancelScope(shield=True):
                await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore2's signature
        return self._inner.get_extra_info(info)


@lru_cache(maxsize=4)
def trust(ca_file: str) -> ssl.SSLContext:
    """Return what TLS trusts: the certificates (PEM) in `ca_file`, "" is the system's.

    Takes tens of milliseconds the first time. Raises `OSError`, also for what is no certificate.
    """
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    return httpcore2.default_ssl_context(_trust_env=False)


def proxy_for(url: httpx2.URL, network: Network) -> str:
    """Return the URL of the proxy to ask `url` through, or "". This machine never needs one."""
    proxy = network.https_proxy if url.scheme == "https" else network.http_proxy
    if not proxy or _is_loopback(url.host) or any(_covers(rule, url) for rule in network.no_proxy):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _covers(rule: str, url: httpx2.URL) -> bool:
    """Whether `rule`, a host with its sub-domains, `host:port`, a network or "*", covers `url`."""
    rule = rule.strip().lower()
    port = url.port or (443 if url.scheme == "https" else 80)
    if rule in {"*", f"{url.host}:{port}", f"[{url.host}]:{port}"}:
        return True
    if "/" in rule:
        try:
            return ipaddress.ip_address(url.host) in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name = rule.removeprefix("*").removeprefix(".").strip("[]")
    return bool(name) and (url.host == name or url.host.endswith(f".{name}"))
