"""Servers of the SDK itself, over HTTP, in a thread of this process."""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer


async def _list_tools(
    _: ServerRequestContext[Any], __: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    tools = [
        types.Tool(name=name, input_schema={"type": "object"}) for name in ("echo", "big", "slow")
    ]
    return types.ListToolsResult(tools=tools)


async def _call_tool(
    _: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    text = str((params.arguments or {}).get("text", ""))
    if params.name == "big":
        text = "x" * int(text)
    if params.name == "slow":
        await anyio.Event().wait()
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def streamable(**options: Any) -> Any:
    """Return a server with the tools echo, big and slow, over Streamable HTTP."""
    server: Server[Any] = Server(
        "sdk", version="1", on_list_tools=_list_tools, on_call_tool=_call_tool
    )
    return server.streamable_http_app(**options)


def older() -> Any:
    """Return a server with the tool echo over the older HTTP transport."""
    server = MCPServer("older")

    @server.tool()
    def echo(text: str) -> str:
        return text

    return server.sse_app()


@contextmanager
def running(app: Any) -> Generator[str]:
    """Serve `app` on a port of this machine and give its origin."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_level="critical", ws="none", lifespan="on", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
