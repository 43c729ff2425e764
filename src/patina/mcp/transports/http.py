"""Streamable HTTP, the way to a remote server, and what both HTTP transports load late."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from patina.mcp.transports.link import Link, load, load_sdk
from patina.mcp.transports.remote import Remote

_MODULE: Final = "patina.mcp.transports.http_streamable"


async def load_http() -> None:
    """Have the SDK and the HTTP client imported, in a worker thread."""
    await load_sdk()
    await load(_MODULE)


@asynccontextmanager
async def open_http(remote: Remote) -> AsyncGenerator[Link]:
    """Yield a link over Streamable HTTP to `remote`; the first request connects.

    A request that has no answer gets a JSON-RPC error with words for people, and with the `data`
    `{"status", "www_authenticate"}` where the server answered with an HTTP error, and `sign_in`
    where `auth` says that a sign-in would let it pass (`failing.Told`). `Link.away` and
    `Link.forgotten` say what to do when it ended; a request whose error has the `data`
    `{"unsent": true}` was surely not acted on. A server of the older transport just works.
    Raises `McpFault` for an address that cannot be used.
    """
    await load_http()
    from patina.mcp.transports.http_link import opened
    from patina.mcp.transports.http_streamable import StreamableLink

    async with opened(remote, StreamableLink) as link:
        yield link
