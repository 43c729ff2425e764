"""Makes the connection of each server from its settings: how long it may take, what it opens."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial

from anyio.abc import TaskGroup

from patina.mcp.connection import INSTALL_WAIT, LEGACY, Connection
from patina.mcp.diagnosis import may_install
from patina.mcp.hosting import Host, PutBlob
from patina.mcp.keeper import Keeper
from patina.mcp.lists import KnownLists
from patina.mcp.opening import Surroundings, opener
from patina.mcp.transports.link import Link, Opener
from patina.model.settings import ServerSettings


class Connections:
    """What connections are made of.

    `openers` are of servers that need no settings to be reached; `connect_wait` overrides the
    seconds that the settings give servers to connect; `lists` knows what a server spoke last;
    `put_blob` and `on_resource` are as for the supervisor. Subscriptions outlive a connection.
    """

    def __init__(
        self,
        around: Surroundings,
        openers: Mapping[str, Opener],
        connect_wait: float | None,
        lists: KnownLists,
        put_blob: PutBlob,
        on_resource: Callable[[str, str], None],
    ) -> None:
        self._around = around
        self._openers = openers
        self._connect_wait = connect_wait
        self._lists = lists
        self._put_blob = put_blob
        self._on_resource = on_resource
        self._subscribed: dict[str, set[str]] = {}

    def make(
        self, keeper: Keeper, tasks: TaskGroup, settings: Callable[[], ServerSettings]
    ) -> Connection:
        """Return the connection of `keeper`; `settings` returns those of the moment."""
        server, now = keeper.server, settings()
        local = now.transport == "stdio" or server in self._openers
        protocol = now.protocol_version
        if protocol == "auto" and "" < self._lists.protocol(server) <= LEGACY:
            # What it spoke the last time saves a question; a newer server still says so.
            protocol = LEGACY
        starting = "Installing…" if self._installs(server, now) else "Starting…"
        return Connection(
            server,
            self._opener(server, settings),
            tasks,
            keeper.changed,
            wait=self.wait(server, now),
            request_wait=self.request_wait(now),
            starting=starting if local else "Connecting…",
            protocol=protocol,
            meanwhile=keeper.look_after,
            remote=not local,
            host=self._host(server, settings),
        )

    def _host(self, server: str, settings: Callable[[], ServerSettings]) -> Host:
        return Host(
            server=server,
            roots=lambda: settings().roots,
            put_blob=self._put_blob,
            on_resource=partial(self._on_resource, server),
            subscribed=self._subscribed.setdefault(server, set()),
            mask=self._around.mask,
        )

    def _opener(self, server: str, settings: Callable[[], ServerSettings]) -> Opener:
        def open_link() -> AbstractAsyncContextManager[Link]:
            now = settings()
            return opener(server, now, self._around, self.wait(server, now))()

        return self._openers.get(server) or open_link

    def wait(self, server: str, settings: ServerSettings) -> float:
        """Return the seconds that connecting may take: a package runner may have to fetch."""
        wait = self.request_wait(settings)
        return max(INSTALL_WAIT, wait) if self._installs(server, settings) else wait

    def request_wait(self, settings: ServerSettings) -> float:
        """Return the seconds that a request may take which nobody else bounds."""
        return self._connect_wait or settings.connect_timeout

    def _installs(self, server: str, settings: ServerSettings) -> bool:
        local = settings.transport == "stdio" and server not in self._openers
        return local and may_install(settings)
