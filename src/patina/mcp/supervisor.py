"""All configured servers: who runs, who may, and who is started when."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

import anyio
from anyio.abc import TaskGroup

from patina.mcp import lookout
from patina.mcp.connection import Connection
from patina.mcp.connections import Connections
from patina.mcp.definitions import Definition, Offers
from patina.mcp.hosting import PutBlob
from patina.mcp.keeper import Keeper, NoticeLevel, Pace
from patina.mcp.keepers import Keepers
from patina.mcp.leftovers import reap
from patina.mcp.lists import KnownLists
from patina.mcp.opening import Surroundings
from patina.mcp.pins import Pins
from patina.mcp.roster import Roster
from patina.mcp.signing import Signing
from patina.mcp.status import UNTRUSTED, ServerStatus, same_start, status_of
from patina.mcp.transports.link import Opener
from patina.mcp.transports.remote import Network
from patina.model.events import ServerState
from patina.model.faults import McpFault, PermissionFault, UsageFault
from patina.model.masking import Mask, unmasked
from patina.model.settings import ServerSettings
from patina.ports.keys import References

if TYPE_CHECKING:
    from patina.mcp.auth.sign_ins import SignIns

__all__ = ["UNTRUSTED", "OnChange", "OnNotice", "Pace", "ServerStatus", "Supervisor"]

OnChange = Callable[[str, ServerState, str, int], None]
OnNotice = Callable[[str, NoticeLevel, str], None]
R = TypeVar("R")
_USUAL: Final = Pace()
_DIRECT: Final = Network()


def _untold(*_: object) -> None:
    pass


class Supervisor:
    """Owns the connections of all servers; enter it, and they end when it is left.

    Entering it ends what a Patina that crashed left running, in the background. `environ` is the
    parent's environment, `allow_start` names servers that may start in this run without lasting
    consent, `openers` gives servers that need no process. `on_change` hears
    (server, state, text, tools) whenever one of them changes, `on_notice` (server, level, text)
    what people should be told at once, `on_resource` (server, URI) of resources that were
    subscribed to and changed; none may wait. `connect_wait` overrides the seconds
    that the settings give servers to connect. `servers` are those configured now, with the
    commands that their packages mean, as `roster` has them; `trust` holds the consents to them,
    `pins` what their tools were when people let them in. `sign_ins` know who is signed in where;
    call `retry` when somebody is from now on.
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
        put_blob: PutBlob,
        on_change: OnChange,
        on_notice: OnNotice = _untold,
        on_resource: Callable[[str, str], None] = _untold,
        allow_start: frozenset[str] = frozenset(),
        openers: Mapping[str, Opener] | None = None,
        network: Network = _DIRECT,
        sign_ins: "SignIns | None" = None,
        mask: Mask = unmasked,
        pace: Pace = _USUAL,
        connect_wait: float | None = None,
    ) -> None:
        self.put_blob = put_blob
        self.sign_ins = sign_ins
        self.signing = Signing(sign_ins, self.settings)
        self._around = Surroundings(keys, environ, state, network, sign_ins, mask)
        self._data = data
        self._on_change = on_change
        self._on_notice = on_notice
        self._allow_start = allow_start
        self._given = frozenset(openers or {})
        self._pace = pace
        self._use(self._listed(servers))
        self._lists = KnownLists(cache, self._key)
        self.pins = Pins(data, self._key)
        self._connections = Connections(
            self._around, openers or {}, connect_wait, self._lists, put_blob, on_resource
        )
        self._keepers = Keepers(self._make_keeper)
        self._told: dict[str, tuple[ServerState, str, int]] = {}
        self._tasks: TaskGroup | None = None
        self._background = False
        self._changing = anyio.Lock()
        self._starts = anyio.Semaphore(pace.starting_at_once)
        self._reaches = anyio.Semaphore(pace.reaching_at_once)

    def _listed(self, servers: Mapping[str, ServerSettings]) -> Roster:
        environ, allowed = self._around.environ, self._allow_start
        return Roster(servers, environ, self._data, allowed=allowed, given=self._given)

    def _use(self, roster: Roster) -> None:
        self.roster = roster
        self.servers = roster.servers
        self.trust = roster.trust

    async def __aenter__(self) -> Self:
        await self.roster.look_up()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(reap, self._around.state)
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
            # Without the error: the group would wrap it.
            await tasks.__aexit__(None, None, None)
        finally:
            self._tasks = None

    def _key(self, server: str) -> str:
        return self.roster.key(server, running=self.connected(server))

    def settings(self, server: str) -> ServerSettings:
        """Return the settings of an enabled server. Raises `UsageFault` for any other name."""
        return self.roster.settings(server)

    def startable(self, server: str) -> None:
        """Return where `server` may be connected; else raise what stands in the way.

        `PermissionFault` where consent is missing, `McpFault` where nothing could be started. A
        remote server needs no consent.
        """
        self.roster.startable(server)

    def skip(self, server: str, fault: McpFault | PermissionFault) -> None:
        """Say, as the state of `server`, why it is left out."""
        keeper = self._keepers.find(server)
        if keeper is not None and keeper.state != "idle":
            return  # it says so itself, and what comes next
        untrusted = isinstance(fault, PermissionFault)
        text = f"{UNTRUSTED}{server}" if untrusted else fault.failure.message
        self._tell(server, "error", text, -1)

    def start_background(self) -> None:
        """Begin to connect every server with `connect = "auto"`, a few at a time.

        Returns at once; `on_change` tells how it goes. One that fails never holds up another. It
        begins after a rest, in which a message that is sent at once leaves first: the SDK's import
        would hold it up.
        """
        self._background = True
        self._running().start_soon(self._start_all)

    async def _start_all(self) -> None:
        await anyio.sleep(self._pace.rest)
        for server, settings in self.servers.items():
            if settings.enabled and settings.connect == "auto":
                self._running().start_soon(self._start_quietly, server)

    async def _start_quietly(self, server: str) -> None:
        settings = self.servers.get(server)
        local = settings is None or settings.transport == "stdio"
        async with self._starts if local else self._reaches:
            try:
                await self._connect(server, lasting=True)
            except (McpFault, PermissionFault) as fault:
                self.skip(server, fault)
            except UsageFault:
                return  # removed or disabled while it waited for its turn

    async def connect(self, server: str) -> None:
        """Have `server` connected, once more where it died. Bounded; shared by all who ask.

        Raises `UsageFault`, `PermissionFault` or `McpFault`.
        """
        if not self.connected(server):
            await self._connect(server, lasting=False)

    async def _connect(self, server: str, *, lasting: bool) -> None:
        self.startable(server)
        keeper = await self._keepers.of(server)
        await keeper.connect(lasting=lasting)

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

    async def use(self, server: str, deed: Callable[[Connection], Awaitable[R]]) -> R:
        """Return what `deed` gets from the connection of a connected server."""
        keeper = self._keepers.find(server)
        if keeper is None:
            raise McpFault(f"Server {server} is not connected.", hint="Try again.")
        return await keeper.use(deed)

    async def refresh(self, server: str) -> None:
        """Connect `server` and ask it for its tools anew. Raises as `connect`."""
        keeper = self._keepers.connected(server)
        if keeper is not None:
            await keeper.connection.refresh()
        else:
            await self.connect(server)

    async def health(self, server: str) -> bool:
        """Whether `server` is connected and answers a ping, as `Keeper.health`. Bounded."""
        keeper = self._keepers.find(server)
        return keeper is not None and await keeper.health()

    async def restart(self, server: str) -> None:
        """Stop `server` and connect it afresh, also one that had failed for good.

        Bounded. Raises as `connect`.
        """
        self.startable(server)
        keeper = await self._keepers.of(server)
        await keeper.restart()

    def retry(self, server: str) -> None:
        """Connect `server` at once, in the background, if it only waits for a sign-in."""
        keeper = self._keepers.find(server)
        if self._tasks is not None and keeper is not None and keeper.wants_sign_in:
            self._tasks.start_soon(self._start_quietly, server)

    def connected(self, server: str) -> bool:
        """Whether `server` is connected now."""
        return self._keepers.connected(server) is not None

    def active_count(self) -> int:
        """Return how many servers are connected."""
        return sum(keeper.connected for keeper in self._keepers)

    def definitions(self, server: str) -> tuple[Definition, ...] | None:
        """Return what `server` lists, by its connection or the cache; None: never seen."""
        keeper = self._keepers.connected(server)
        if keeper is not None:
            return keeper.connection.tools
        return self._lists.tools(server)

    def offers(self, server: str) -> Offers | None:
        """Return what `server` offers beside tools, as `definitions`; None: never asked."""
        keeper = self._keepers.connected(server)
        if keeper is not None and keeper.connection.offering.now is not None:
            return keeper.connection.offering.now
        return self._lists.offers(server)

    def status(self) -> tuple[ServerStatus, ...]:
        """Return the state of every configured server, in the order of the configuration."""
        return tuple(self._status(server) for server in self.servers)

    def _status(self, server: str) -> ServerStatus:
        settings, told = self.servers[server], self._told.get(server)
        known = self.definitions(server) if settings.enabled else None
        trusted = self.roster.may_start(server)
        return status_of(server, settings, told, self._keepers.find(server), known, trusted=trusted)

    async def stop(self, server: str) -> None:
        """Stop `server` and everything it started; a later call starts it again. Bounded."""
        await self._keepers.stop((server,))

    async def cleanup_idle(self) -> tuple[str, ...]:
        """Stop the servers that rest now, and return their names. They do so by themselves, too."""
        resting = tuple(keeper.server for keeper in self._keepers if keeper.rests())
        await self._keepers.stop(resting)
        return resting

    async def close(self) -> None:
        """Stop all servers, at the same time. Bounded."""
        await self._keepers.stop(tuple(keeper.server for keeper in self._keepers))

    async def reconfigure(self, servers: Mapping[str, ServerSettings]) -> None:
        """Let `servers` be the configuration from now on. Bounded by the stop of servers.

        Those that are gone, disabled or to be started otherwise are stopped; of the last, those
        that ran are connected anew, and so are new ones with `connect = "auto"` once
        `start_background` was called. All others go on as they are.
        """
        async with self._changing:
            before, roster = self.servers, self._listed(servers)
            await roster.look_up()
            self._use(roster)
            ran = {keeper.server for keeper in self._keepers if keeper.state != "idle"}
            ended = {name for name, old in before.items() if not self._goes_on(name, old)}
            for keeper in self._keepers:
                if keeper.server not in ended:
                    self._adopt(keeper, self.servers[keeper.server])
            await self._keepers.end(ended)
            for name in {*before, *self.servers}:
                self._tell_configured(name, afresh=name in ended)
            for name in before.keys() - self.servers.keys():
                self._running().start_soon(self.signing.forget, name)
            for name, settings in self.servers.items():
                old = before.get(name)
                new = name in ended or old is None or not old.enabled or old.connect != "auto"
                auto = self._background and settings.connect == "auto"
                if settings.enabled and ((new and auto) or (name in ended and name in ran)):
                    self._running().start_soon(self._start_quietly, name)

    def _adopt(self, keeper: Keeper, settings: ServerSettings) -> None:
        keeper.connection.wait = self._connections.wait(keeper.server, settings)
        keeper.connection.request_wait = self._connections.request_wait(settings)
        keeper.adopt(settings)

    def _goes_on(self, server: str, old: ServerSettings) -> bool:
        """Whether what runs of `server` may go on under the new configuration."""
        new = self.servers.get(server)
        if new is None or not new.enabled or not same_start(old, new):
            return False
        keeper = self._keepers.find(server)
        return keeper is None or not keeper.permanent or new == old

    def _tell_configured(self, server: str, *, afresh: bool) -> None:
        settings = self.servers.get(server)
        if settings is None or not settings.enabled:
            self._tell(server, "disabled", "", -1)
        elif afresh or self._told.get(server) == ("disabled", "", -1):
            self._tell(server, "idle", "", -1)
            del self._told[server]

    def _make_keeper(self, server: str) -> Keeper:
        return Keeper(
            server,
            self.settings(server),
            self._running(),
            self._pace,
            connect_by=self._connection,
            may_start=lambda: self.startable(server),
            on_change=self._changed,
            on_notice=lambda level, text: self._on_notice(server, level, text),
        )

    def _connection(self, keeper: Keeper) -> Connection:
        return self._connections.make(keeper, self._running(), lambda: keeper.settings)

    def _changed(self, keeper: Keeper) -> None:
        server, connection = keeper.server, keeper.connection
        if self._keepers.find(server) is not keeper:
            return  # it is on its way out
        tools = -1
        self.signing.wait(server, self._running(), on=keeper.wants_sign_in)
        if keeper.state == "connected":
            tools, offers = len(connection.tools), connection.offering.now
            self._lists.keep(server, connection.protocol, connection.tools, offers)
            lookout.see(self, connection, self._running(), self._on_notice)
        self._tell(server, keeper.state, keeper.text, tools)

    def _tell(self, server: str, state: ServerState, text: str, tools: int) -> None:
        if self._told.get(server) != (state, text, tools):
            self._told[server] = (state, text, tools)
            self._on_change(server, state, text, max(tools, 0))

    def _running(self) -> TaskGroup:
        assert self._tasks is not None, "the supervisor is not entered"
        return self._tasks
