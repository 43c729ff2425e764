"""All that touches the MCP SDK. Import it late and in a worker thread: about half a second.

Facts about the SDK: `mcp` 2.3 on PyPI.
"""

from typing import Any, Final

import anyio
import mcp_types as types
import msgspec
from mcp.client import IncomingMessage
from mcp.shared.message import SessionMessage
from mcp_types import CONNECTION_CLOSED, UNSUPPORTED_PROTOCOL_VERSION
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from mcp import ClientSession, MCPError
from patina import __version__
from patina.mcp.definitions import Definition
from patina.mcp.transports.link import Link
from patina.model.faults import McpFault

MOST_PAGES: Final = 500
MOST_TOOLS: Final = 10_000
# A server of the older era may ignore the question instead of refusing it.
_DISCOVER_WAIT: Final = 4.0

# All that a server, by what it sends or does, can make the session raise.
FAILURES: Final = (
    MCPError,
    ValidationError,
    McpFault,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    OSError,
    ExceptionGroup,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)


def decode(line: bytes) -> SessionMessage | None:
    """Return the JSON-RPC message in `line`, or None where there is none."""
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        return None


def encode(message: SessionMessage) -> bytes:
    """Return `message` as one line of JSON, without an end of line."""
    return message.message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def unreadable(request: int) -> SessionMessage:
    """Return the error that the caller of `request` gets for an answer that cannot be read."""
    words = "its answer cannot be read: too deep, not UTF-8, or no JSON-RPC"
    error = types.ErrorData(code=types.PARSE_ERROR, message=words)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request, error=error))


class Session(ClientSession):
    """The SDK's session over a link, with Patina's own bounds and words."""

    def __init__(self, link: Link) -> None:
        super().__init__(
            link.incoming,
            link.outgoing,
            client_info=types.Implementation(name="patina", version=__version__),
            logging_callback=self._log_message,
            message_handler=self._notice,
        )
        self._link = link
        self.list_changed = anyio.Event()
        self.heard = 0.0  # when it last spoke by itself, by the clock of the event loop

    @property
    def modern(self) -> bool:
        """Whether the server speaks the stateless era."""
        return self.protocol_version in MODERN_PROTOCOL_VERSIONS

    async def ping(self) -> None:
        """Ask for nothing but an answer. Raises `MCPError` or `ValidationError`."""
        if self.modern:
            await self.send_discover(self.protocol_version or "")
        else:
            await self.send_ping()

    async def _log_message(self, params: types.LoggingMessageNotificationParams) -> None:
        self.heard = anyio.current_time()
        data = params.data
        text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
        self._link.log(f"{params.level}: {text}")

    async def _notice(self, message: IncomingMessage) -> None:
        self.heard = anyio.current_time()
        if isinstance(message, types.ToolListChangedNotification):
            self.list_changed.set()

    async def validate_tool_result(self, name: str, result: types.CallToolResult) -> None:
        """Let every result pass: one that breaks its schema is still worth reading."""

    async def negotiate(self, protocol: str) -> str:
        """Agree on a protocol version with the server and return it.

        `protocol` is "auto", or a version: of the stateless era, or else of the handshake.
        Raises `MCPError`, `RuntimeError` or `ValidationError`.
        """
        if protocol == "auto":
            await self._discover_or_initialize()
        elif protocol in MODERN_PROTOCOL_VERSIONS:
            await self.discover()
        else:
            await self._initialize()
        return self.protocol_version or ""

    async def _discover_or_initialize(self) -> None:
        try:
            with anyio.fail_after(_DISCOVER_WAIT):
                await self.discover()
                return
        except MCPError as error:
            if error.code == CONNECTION_CLOSED and self._link.ended.is_set():
                raise
        except (TimeoutError, RuntimeError, ValidationError):
            pass
        await self._initialize()

    async def _initialize(self) -> None:
        try:
            await self.initialize()
        except MCPError as error:
            # A slow server may have taken our question late, and speak the newer era only now.
            if error.code != UNSUPPORTED_PROTOCOL_VERSION:
                raise
            await self.discover()

    async def definitions(self) -> tuple[Definition, ...]:
        """Return all tools, page by page. Raises `McpFault` where the paging has no end."""
        capabilities = self.server_capabilities
        if capabilities is not None and capabilities.tools is None:
            return ()
        found: dict[str, Definition] = {}
        seen: set[str] = set()
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            params = types.PaginatedRequestParams(cursor=cursor) if cursor is not None else None
            page = await self.list_tools(params=params)
            for tool in page.tools:
                found.setdefault(tool.name, _definition(tool))
            if len(found) > MOST_TOOLS:
                raise McpFault(f"The server lists more than {MOST_TOOLS:,} tools.")
            cursor = page.next_cursor
            if cursor is None:
                return tuple(found.values())
            if cursor in seen:
                raise McpFault("The server's list of tools goes round in circles.")
            seen.add(cursor)
        raise McpFault(f"The server's list of tools has more than {MOST_PAGES} pages.")

    async def run_tool(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """Call `tool`. Raises `MCPError`, `ValidationError` or `McpFault`."""
        result = await self.call_tool(tool, arguments, allow_input_required=True)
        if isinstance(result, types.CallToolResult):
            return result
        raise McpFault(
            f"The tool {tool} asks for more input in the middle of its call.",
            hint="Patina cannot give it yet.",
        )


def _definition(tool: types.Tool) -> Definition:
    notes = tool.annotations
    title = tool.title or (notes.title if notes else None) or ""
    return Definition(
        name=tool.name,
        title=title,
        description=tool.description or "",
        schema=tool.input_schema,
        output_schema=tool.output_schema,
        read_only=notes.read_only_hint if notes else None,
        destructive=notes.destructive_hint if notes else None,
        open_world=notes.open_world_hint if notes else None,
    )
