"""An MCP server inside this process, spoken to over the real SDK and connection code."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from msgspec import Struct, field

from patina.mcp.transports.link import Link, Opener, load_sdk

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp.server.context import ServerRequestContext
    from mcp_types import (
        CallToolRequestParams,
        CallToolResult,
        ListToolsResult,
        PaginatedRequestParams,
    )

# The smallest PNG: one transparent pixel.
PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "YPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


class Tool(Struct, frozen=True):
    """A tool of the in-process server. `answer` returns the wire form of a `tools/call` result."""

    name: str
    answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "object"})
    output_schema: dict[str, Any] | None = None
    description: str = ""


class Script:
    """What the server offers, a page at a time; it may be changed while the server runs.

    `cancelled` counts the calls that the client cancelled. `end` makes the server hang up.
    """

    def __init__(self, tools: tuple[Tool, ...], page: int = 100) -> None:
        self.tools = tools
        self.page = page
        self.cancelled = 0
        self.end = anyio.Event()


def opener(script: Script) -> Opener:
    """Return what connects to a server that follows `script`."""

    @asynccontextmanager
    async def open_link() -> AsyncGenerator[Link]:
        await load_sdk()
        link = Link("an in-process server")
        server = _server(script)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_serve, server, link)
            tasks.start_soon(_hang_up, script, link)
            try:
                yield link
            finally:
                tasks.cancel_scope.cancel()
                link.close()

    return open_link


async def _serve(server: "Server[Any]", link: Link) -> None:
    try:
        incoming, outgoing = link.other_end()
        await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        link.end()


async def _hang_up(script: Script, link: Link) -> None:
    await script.end.wait()
    script.end = anyio.Event()
    link.end()


def _server(script: Script) -> "Server[Any]":
    import mcp_types as types
    from mcp.server import Server

    from mcp import MCPError

    async def list_tools(
        _: "ServerRequestContext[Any]", params: "PaginatedRequestParams | None"
    ) -> "ListToolsResult":
        start = int(params.cursor) if params is not None and params.cursor else 0
        end = start + script.page
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=tool.description,
                    input_schema=tool.schema,
                    output_schema=tool.output_schema,
                )
                for tool in script.tools[start:end]
            ],
            next_cursor=str(end) if end < len(script.tools) else None,
        )

    async def call_tool(
        _: "ServerRequestContext[Any]", params: "CallToolRequestParams"
    ) -> "CallToolResult":
        for tool in script.tools:
            if tool.name == params.name:
                try:
                    answer = await tool.answer(params.arguments or {})
                except anyio.get_cancelled_exc_class():
                    script.cancelled += 1
                    raise
                return types.CallToolResult.model_validate(answer)
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")

    return Server("in-process", version="1", on_list_tools=list_tools, on_call_tool=call_tool)


def text(words: str, *, error: bool = False) -> dict[str, Any]:
    """Return a result of one text."""
    return {"content": [{"type": "text", "text": words}], "isError": error}


async def _echo(arguments: dict[str, Any]) -> dict[str, Any]:
    return text(str(arguments["text"]))


async def _add(arguments: dict[str, Any]) -> dict[str, Any]:
    return text(str(arguments["a"] + arguments["b"]))


async def _fail(_: dict[str, Any]) -> dict[str, Any]:
    return text("This tool always fails.", error=True)


async def _hang(_: dict[str, Any]) -> dict[str, Any]:
    await anyio.sleep_forever()
    return text("")


async def _broken(_: dict[str, Any]) -> dict[str, Any]:
    from mcp import MCPError

    raise MCPError(-32603, "broken as scripted")


async def _image(_: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "image", "data": PIXEL, "mimeType": "image/png"}]}


async def _structured(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"content": [], "structuredContent": arguments}


def example_tools() -> tuple[Tool, ...]:
    """Return tools like those of `fake.example`, and some whose results are more than text."""
    words = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    numbers = {"a": {"type": "number"}, "b": {"type": "number"}}
    schema = {"type": "object", "properties": numbers, "required": ["a", "b"]}
    count = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    return (
        Tool("echo", _echo, words, description="Give a text back"),
        Tool("add", _add, schema, description="Add two numbers"),
        Tool("fail", _fail),
        Tool("broken", _broken),
        Tool("hang", _hang),
        Tool("image", _image),
        Tool("structured", _structured, output_schema=count),
    )
