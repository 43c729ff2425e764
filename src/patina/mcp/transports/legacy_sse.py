"""The older HTTP transport (SSE), for servers that are configured as such."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from patina.mcp.transports.http import load_http
from patina.mcp.transports.link import Link
from patina.mcp.transports.remote import Remote


@asynccontextmanager
async def open_sse(remote: Remote) -> AsyncGenerator[Link]:
    """Yield a link over the older HTTP transport to `remote`, whose URL is that of its stream.

    It connects at once; that it cannot is told to the first request, as `open_http` does.
    Raises `McpFault` for an address that cannot be used.
    """
    await load_http()
    from patina.mcp.transports.http_link import opened
    from patina.mcp.transports.http_sse import SseLink

    async with opened(remote, SseLink) as link:
        yield link
