"""All configured servers: who runs, who may, and who is started when."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from msgspec import Struct

from patina.mcp import environment
from patina.mcp.connection import CONNECT_WAIT, INSTALL_WAIT, LEGACY, Connection
from patina.mcp.definitions import Definition, ToolListCache
from patina.mcp.diagnosis import may_install, no_program
from patina.mcp.opening import Surroundings, opener
from patina.mcp.transports.link import Opener
from patina.mcp.trust import Trust
from patina.model.events import ServerState
from patina.model.faults import McpFault, PermissionFault, UsageFault
from patina.model.settings import ServerSettings
from patina.ports.keys import References

if TYPE_CHECKING:
    from mcp_types import CallToolResult

OnChange = Callable[[str, ServerState, str, int], None]
STARTING_AT_ONCE: Final = 3
UNTRUSTED: Final = "not yet allowed to start: patina mcp trust "


class ServerStatus(Struct, frozen=True):
    """What a person sees of a server. `tools` counts what it offers, -1 where not known."""

    server: str
    display_name: str
    state: ServerState
    text: str
    tools: int


class Supervisor:
    """Owns the connections of all servers; enter it, and they end when it is left.

    `environ` is the parent's environment, `allow_start` names servers that may start in this run
    without lasting consent, `openers` gives servers that need no process. `on_change` hears
    (server, state, text, tools) whenever one of them changes; it must not wait.
    """

    def __init__(
        self,
        servers: Mapping[str, ServerSettings],
        *,
        keys: References,
        environ: Mapping[str, str],
        data: Path,
        state: Path,
        cache: Path,
        put_blob: Callable[[bytes], Awaitable[str]],
        on_change: Callable[[str, ServerState, str, int], None],
        allow_start: frozenset[str] = frozenset(),
        openers: Mapping[str, Opener] | None = None,
        connect_wait: float = CONNECT_WAIT,
    ) -> None:
        self.servers = servers
        self.put_blob = put_blob
        self.trust = Trust(servers, environ, data)
        self._keys = keys
        self._environ = environ
        self._state = state
        self._lists = ToolListCache(cache)
        self._on_change = on_change
        self._allow_start = allow_start
        self._openers = openers or {}
        self._connect_wait = connect_wait
        self._connections: dict[str, Connection] = {}
        self._known: dict[str, tuple[str, tuple[Definition, ...]]] = {}
        self._told: dict[str, tuple[ServerState, str, int]] = {}
        self._tasks: TaskGroup | None = None
        self._starts = anyio.Semaphore(STARTING_AT_ONCE)

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = self._running()
        tasks.cancel_scope.cancel()
        try:
            # Without the error: the group would wrap it, and who waits for a fault would miss it.
            await tasks.__aexit__(None, None, None)
        finally:
            self._tasks = None

    def settings(self, server: str) -> ServerSettings:
        """Return the settings of an enabled server. Raises `UsageFault` for any other name."""
        settings = self.servers.get(server)
        if settings is None:
            known = ", ".join(self.servers) or "none"
            raise UsageFault(
                f"There is no MCP server named {server}.", hint=f"Configured are: {known}."
            )
        if not settings.enabled:
            raise UsageFault(
                f"MCP server {server} is disabled.",
                hint=f"`patina mcp enable {server}` enables it.",
            )
        return settings

    def startable(self, server: str) -> None:
        """Return where `server` may be connected; else raise what stands in the way.

        `PermissionFault` where consent is missing, `McpFault` where nothing could be started.
        """
        settings = self.settings(server)
        if server in self._openers:
            return
        if settings.transport != "stdio":
            raise McpFault(
                f"Server {server} is remote ({settings.transport}); "
                "this version of Patina connects to local servers (stdio) only.",
                hint=f"Disable it with `patina mcp disable {server}`, or use a local server.",
            )
        if environment.binary(settings, self._environ) is None:
            search = environment.search_path(settings, self._environ)
            raise no_program(server, settings, search)
        if not self._may_start(server):
            raise self.trust.needed(server)

    def _may_start(self, server: str) -> bool:
        allowed = server in self._allow_start or server in self._openers
        return allowed or self.trust.is_trusted(server)

    def waiting(self, servers: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return those of `servers` (None: of all) that only wait for consent to their start.

        Raises `UsageFault` for a name that is not that of an enabled server.
        """
        chosen = servers
        if chosen is None:
            chosen = tuple(name for name, one in self.servers.items() if one.enabled)
        return tuple(
            name
            for name in chosen
            if self.settings(name).transport == "stdio" and not self._may_start(name)
        )

    def skip(self, server: str, fault: McpFault | PermissionFault) -> None:
        """Say, as the state of `server`, why it is left out."""
        text = fault.failure.message
        if isinstance(fault, PermissionFault):
            text = f"{UNTRUSTED}{server}"
        self._tell(server, "error", text, -1)

    def start_background(self) -> None:
        """Begin to connect every server with `connect = "auto"`, a few at a time.

        Returns at once; `on_change` tells how it goes. One that fails never holds up another.
        """
        for server, settings in self.servers.items():
            if settings.enabled and settings.connect == "auto":
                self._running().start_soon(self._start_quietly, server)

    async def _start_quietly(self, server: str) -> None:
        async with self._starts:
            try:
                await self.connect(server)
            except PermissionFault as fault:
                self.skip(server, fault)
            except McpFault as fault:
                self._tell(server, "error", fault.failure.message, -1)

    async def connect(self, server: str) -> None:
        """Have `server` connected, once more where it died. Bounded; shared by all who ask.

        Raises `UsageFault`, `PermissionFault` or `McpFault`.
        """
        connection = self._connections.get(server)
        if connection is not None and connection.connected:
            return
        self.startable(server)
        if connection is None:
            connection = self._connections[server] = self._connection(server)
        await connection.connect()

    async def connect_within(self, servers: tuple[str, ...], seconds: float) -> None:
        """Connect `servers`, all at once, but wait no longer than `seconds`.

        What is not ready then goes on in the background; failures are told by `on_change`.
        """
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                for server in servers:
                    tasks.start_soon(self._connect_quietly, server)

    async def _connect_quietly(self, server: str) -> None:
        try:
            await self.connect(server)
        except (McpFault, PermissionFault) as fault:
            self.skip(server, fault)

    async def call(self, server: str, tool: str, arguments: Mapping[str, Any]) -> "CallToolResult":
        """Run a tool of a connected server, as `Connection.call`."""
        return await self._connections[server].call(tool, arguments)

    async def refresh(self, server: str) -> None:
        """Connect `server` and ask it for its tools anew. Raises as `connect`."""
        connection = self._connections.get(server)
        if connection is not None and connection.connected:
            await connection.refresh()
        else:
            await self.connect(server)

    def connected(self, server: str) -> bool:
        """Whether `server` is connected now."""
        connection = self._connections.get(server)
        return connection is not None and connection.connected

    def definitions(self, server: str) -> tuple[Definition, ...] | None:
        """Return what `server` lists, by its connection or the cache; None: never seen."""
        if self.connected(server):
            return self._connections[server].tools
        key = self.trust.key(server)
        known = self._known.get(server)
        if known is None or known[0] != key:
            kept = self._lists.load(server, key)
            if kept is None:
                return None
            known = self._known[server] = (key, kept.tools)
        return known[1]

    def status(self) -> tuple[ServerStatus, ...]:
        """Return the state of every configured server, in the order of the configuration."""
        return tuple(self._status(server) for server in self.servers)

    def _status(self, server: str) -> ServerStatus:
        settings = self.servers[server]
        state, text, tools = self._told.get(server, ("idle", "", -1))
        if not settings.enabled:
            state, text, tools = "disabled", "", -1
        elif server not in self._told and not self._may_start(server):
            text = f"{UNTRUSTED}{server}"
        if settings.enabled and tools < 0:
            known = self.definitions(server)
            tools = len(known) if known is not None else -1
        return ServerStatus(server, settings.display_name or server, state, text, tools)

    async def stop(self, server: str) -> None:
        """Stop `server` and everything it started; a later call starts it again. Bounded."""
        connection = self._connections.get(server)
        if connection is not None:
            await connection.close()

    async def close(self) -> None:
        """Stop all servers, at the same time. Bounded."""
        async with anyio.create_task_group() as tasks:
            for server in self._connections:
                tasks.start_soon(self.stop, server)

    def _connection(self, server: str) -> Connection:
        settings = self.servers[server]
        slow = may_install(settings) and server not in self._openers
        protocol = settings.protocol_version
        if protocol == "auto":
            # What it spoke the last time saves a question; a newer server still says so.
            kept = self._lists.load(server, self.trust.key(server))
            protocol = LEGACY if kept is not None and kept.protocol <= LEGACY else "auto"
        wait = max(INSTALL_WAIT, self._connect_wait) if slow else self._connect_wait
        around = Surroundings(self._keys, self._environ, self._state)
        return Connection(
            server,
            self._openers.get(server) or opener(server, settings, around, wait),
            self._running(),
            lambda: self._changed(server),
            wait=wait,
            starting="Installing…" if slow else "Starting…",
            protocol=protocol,
        )

    def _changed(self, server: str) -> None:
        connection = self._connections[server]
        tools = -1
        if connection.state == "connected":
            tools = len(connection.tools)
            known = (self.trust.key(server), connection.tools)
            if self._known.get(server) != known:
                self._known[server] = known
                self._lists.save(server, known[0], connection.protocol, connection.tools)
        self._tell(server, connection.state, connection.text, tools)

    def _tell(self, server: str, state: ServerState, text: str, tools: int) -> None:
        if self._told.get(server) != (state, text, tools):
            self._told[server] = (state, text, tools)
            self._on_change(server, state, text, max(tools, 0))

    def _running(self) -> TaskGroup:
        assert self._tasks is not None, "the supervisor is not entered"
        return self._tasks
