"""A WebSocket server of the tests' own: the SDK's server over `websockets`, and worse ones."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp.server import Server
from mcp.shared.message import SessionMessage
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from patina.mcp.transports.inprocess import example_tools

Handler = Callable[[ServerConnection], Awaitable[None]]
Check = Callable[[ServerConnection, Request], Response | None]


class SocketServer:
    """Where it listens, and what it saw: the headers of every handshake, who is connected."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/mcp"
        self.headers: list[dict[str, str]] = []
        self.connections: set[ServerConnection] = set()


@asynccontextmanager
async def running(
    handler: Handler | None = None,
    *,
    port: int = 0,
    subprotocol: str | None = "mcp",
    check: Check | None = None,
    **options: Any,
) -> AsyncIterator[SocketServer]:
    """Serve `handler` to every client, by default an MCP server with the tools of the examples."""
    handle = handler or speak_mcp
    subprotocols = [Subprotocol(subprotocol)] if subprotocol else None

    async def welcome(connection: ServerConnection) -> None:
        server.connections.add(connection)
        try:
            await handle(connection)
        except ConnectionClosed:
            pass
        finally:
            server.connections.discard(connection)

    def look(connection: ServerConnection, request: Request) -> Response | None:
        server.headers.append(dict(request.headers.raw_items()))
        return check(connection, request) if check is not None else None

    options = {"max_size": 2**26, "close_timeout": 0.2, "compression": None} | options
    async with serve(
        welcome,
        "127.0.0.1",
        port,
        subprotocols=subprotocols,
        select_subprotocol=None if subprotocol else lambda *_: None,
        process_request=look,
        **options,
    ) as listening:
        server = SocketServer(next(iter(listening.sockets)).getsockname()[1])
        yield server


async def speak_mcp(connection: ServerConnection) -> None:
    """Run the SDK's server over the connection until it ends; it speaks both eras."""
    server = sdk_server()
    arrivals, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](16)
    outgoing, departures = anyio.create_memory_object_stream[SessionMessage](0)

    async def read() -> None:
        async with arrivals:
            try:
                async for raw in connection:
                    message = types.jsonrpc_message_adapter.validate_json(raw)
                    await arrivals.send(SessionMessage(message))
            except (ConnectionClosed, anyio.BrokenResourceError):
                pass

    async def write() -> None:
        async for message in departures:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                await connection.send(text)
            except ConnectionClosed:
                return

    async with anyio.create_task_group() as tasks, incoming, outgoing, departures:
        tasks.start_soon(read)
        tasks.start_soon(write)
        await server.run(incoming, outgoing, server.create_initialization_options())
        tasks.cancel_scope.cancel()


def sdk_server() -> Server[Any]:
    """Return a server with the tools of `example_tools`."""
    tools = {tool.name: tool for tool in example_tools()}

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(name=tool.name, description=tool.description, input_schema=tool.schema)
                for tool in tools.values()
            ]
        )

    async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        answer = await tools[params.name].answer(params.arguments or {})
        return types.CallToolResult.model_validate(answer)

    return Server("socket", version="1", on_list_tools=list_tools, on_call_tool=call_tool)


async def answer(connection: ServerConnection, on_call: Callable[[Any], Awaitable[None]]) -> None:
    """Speak the handshake era with one tool, `echo`; `on_call` gets the request of a call."""
    async for raw in connection:
        message = json.loads(raw)
        identifier, method = message.get("id"), message.get("method")
        if method == "initialize":
            info = {"name": "odd", "version": "1"}
            version = message["params"]["protocolVersion"]
            result: dict[str, Any] = {
                "protocolVersion": version,
                "capabilities": {"tools": {}},
                "serverInfo": info,
            }
            await reply(connection, identifier, result)
        elif method == "tools/list":
            tool = {"name": "echo", "inputSchema": {"type": "object"}}
            await reply(connection, identifier, {"tools": [tool]})
        elif method == "tools/call":
            await on_call(message)
        elif identifier is not None:
            error = {"code": -32601, "message": "unknown"}
            text = json.dumps({"jsonrpc": "2.0", "id": identifier, "error": error})
            await connection.send(text)


async def reply(connection: ServerConnection, identifier: object, result: object) -> None:
    """Send the answer to a request."""
    await connection.send(json.dumps({"jsonrpc": "2.0", "id": identifier, "result": result}))


def text_result(text: str) -> dict[str, Any]:
    """Return a result of one text."""
    return {"content": [{"type": "text", "text": text}]}
