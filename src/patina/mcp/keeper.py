"""Keeps one server connected: what is done when it is lost, silent or not needed.

    idle -> starting -> connected -> idle (no call for long)
                     -> error (did not start; the next call tries again)
    connected -> reconnecting -> connected, or error for good (died too often)

A server that died is started again after growing pauses, a few times. One that could not be
reached is tried for as long as it takes; one that only forgot its session, at once. One that a
person has to sign in to is not tried again by itself.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct

from patina.mcp.attempt import Ending
from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.connection import Connection
from patina.mcp.failing import fault, of_failure
from patina.model.events import ServerState
from patina.model.faults import Failure, Fault
from patina.model.settings import ServerSettings

if TYPE_CHECKING:
    from patina.mcp.sdk import Session

NoticeLevel = Literal["warning", "success", "error"]
_SOONEST: Final = 0.01
R = TypeVar("R")


class Pace(Struct, frozen=True):
    """How patient the supervision is. Seconds, but for the counts of servers starting at once.

    `restart` are the pauses before a server that died is started again, `network_most` the
    longest before one that was away is tried again. A server connected for `steady` is well: its
    next death counts as the first. One silent for `ping_every` is asked whether it lives, and
    has `ping_wait` to answer. The background begins to connect after a `rest`.
    """

    restart: tuple[float, ...] = (1.0, 2.0, 4.0)
    network_most: float = 60.0
    ping_every: float = 60.0
    ping_wait: float = 10.0
    steady: float = 60.0
    starting_at_once: int = 3
    reaching_at_once: int = 8
    rest: float = 0.25


class Keeper:
    """One server, by its `settings`, over the connection that `connect_by` makes.

    The connection is to call `changed`, and to run `look_after` while it is connected.
    `may_start` raises `PermissionFault` or `McpFault` where it may not be connected. `on_change`
    and `on_notice` (level and text) must not wait.
    """

    def __init__(
        self,
        server: str,
        settings: ServerSettings,
        tasks: TaskGroup,
        pace: Pace,
        *,
        connect_by: Callable[["Keeper"], Connection],
        may_start: Callable[[], None],
        on_change: Callable[["Keeper"], None],
        on_notice: Callable[[NoticeLevel, str], None],
    ) -> None:
        self.server = server
        self.settings = settings
        self.state: ServerState = "idle"
        self.text = ""
        self.restart_count = 0
        self.permanent = False
        self.started_at = 0.0
        self.last_used = 0.0
        self._tasks = tasks
        self._pace = pace
        self._may_start = may_start
        self._on_change = on_change
        self._on_notice = on_notice
        self._used = 0.0
        self._lasting = False
        self._announce = True
        self._recovery: _Recovery | None = None
        self._forgot = False
        self._adopted = anyio.Event()
        self.connection = connect_by(self)

    @property
    def connected(self) -> bool:
        """Whether a call can be made at once."""
        return self.connection.connected

    @property
    def wants_sign_in(self) -> bool:
        """Whether it only waits for a person to sign in."""
        ending = self.connection.ending
        return self.state == "error" and ending is not None and ending.failure.code == SIGN_IN

    async def connect(self, *, lasting: bool = False) -> None:
        """Be connected. Bounded; shared by all who ask; a pause before the next try ends now.

        `lasting`: where the server is away, go on trying. Raises `PermissionFault` or `McpFault`.
        """
        self._lasting = self._lasting or lasting
        if self.connection.connected:
            return
        self._may_start()
        if self.permanent:
            raise fault(
                self.server,
                f"failed {self.restart_count + 1} times and is not started again: {self.text}",
                hint=f"Check its settings: `patina mcp edit {self.server}`, "
                f"`patina mcp logs {self.server}`; a change starts it afresh.",
            )
        if self._recovery is None:
            await self.connection.connect()
            return
        recovery = self._recovery
        tried = recovery.tried
        recovery.wake.set()
        await tried.wait()
        if not self.connection.connected:
            raise of_failure(recovery.ending.failure)

    async def use(self, deed: Callable[[Connection], Awaitable[R]]) -> R:
        """Return what `deed` gets from the connection. The server does not rest meanwhile."""
        self._touch()
        try:
            return await deed(self.connection)
        finally:
            self._touch()

    async def stop(self) -> None:
        """Be idle, and nothing left of the server. A later call starts it. Bounded."""
        recovery = self._recovery
        if recovery is not None:
            recovery.scope.cancel()
            await recovery.over.wait()
        await self.connection.close()
        self._forget_failures()
        self._become("idle", "")

    async def restart(self) -> None:
        """Stop the server and connect it afresh, also one that had failed for good."""
        await self.stop()
        self._announce = True
        await self.connect()

    async def health(self) -> bool:
        """Whether the server lives: it answers a ping, or works on a call. Bounded.

        One that does not answer is stopped and started again.
        """
        if self.connection.in_flight and self.connection.connected:
            return True
        return await self.connection.ping(self._pace.ping_wait)

    def adopt(self, settings: ServerSettings) -> None:
        """Go on under `settings`, which start the server as those before did."""
        if settings.roots != self.settings.roots:
            self._tasks.start_soon(self.connection.tell_roots)
        self.settings = settings
        self._adopted.set()
        self._adopted = anyio.Event()

    def rests(self) -> bool:
        """Whether the server is connected and was not called for its `idle_timeout`."""
        limit = self.settings.idle_timeout
        if not limit or self.connection.is_busy or not self.connection.connected:
            return False
        return anyio.current_time() - self._used >= limit

    async def look_after(self) -> None:
        """While it is connected: ask a silent server whether it lives, stop one that rests."""
        while True:
            with anyio.move_on_after(self._until_due()):
                await self._adopted.wait()
            if self.rests():
                self._announce = False
                self.connection.leave()
                await anyio.sleep_forever()
            if self._silence() >= self._pace.ping_every:
                await self.health()

    def changed(self) -> None:
        """Hear of a change of the connection."""
        connection = self.connection
        if connection.state == "connected":
            self._is_connected()
        elif connection.state == "starting":
            if self._recovery is None:
                self._become("starting", connection.text)
        elif connection.state == "idle":
            if self._recovery is None:
                self._become("idle", "")
        elif connection.ending is not None:
            self._is_lost(connection.ending)

    def _is_connected(self) -> None:
        if self.state == "connected":
            self._on_change(self)
            return
        self.started_at = time.time()
        self._used = anyio.current_time()
        self._become("connected", "")
        if self._announce:
            self._announce = False
            self._on_notice("success", f"{self._display} MCP connected.")

    def _is_lost(self, ending: Ending) -> None:
        if self._recovery is not None:
            return  # it asks the connection itself
        if ending.lived or (ending.away and self._lasting):
            self._recovery = _Recovery(ending)
            self._count(self._recovery)
            self._tasks.start_soon(self._recover, self._recovery)
        else:
            self._announce = True
            self._become("error", ending.failure.message)

    async def _recover(self, recovery: "_Recovery") -> None:
        """Try until the server is connected again, or has failed for good."""
        try:
            with recovery.scope:
                while (pause := recovery.pause) is not None:
                    await self._rest(recovery, pause)
                    await self._try(recovery)
                    if self.connection.state == "connected":
                        return
                    self._count(recovery)
        finally:
            self._recovery = None
            recovery.tried.set()
            recovery.over.set()

    async def _rest(self, recovery: "_Recovery", pause: float) -> None:
        if pause:
            when = f" Next try in {pause:g} s."
            self._become(recovery.state, recovery.failure.message + when)
            with anyio.move_on_after(pause):
                await recovery.wake.wait()
        self._become(recovery.state, f"{recovery.failure.message} Trying now.")

    async def _try(self, recovery: "_Recovery") -> None:
        if recovery.counted:
            self.restart_count += 1
        tried = recovery.tried
        try:
            self._may_start()
        except Fault as error:
            # Nothing was started: how long its last life was must not count once more.
            recovery.ending = Ending(error.failure)
        else:
            await self._connect_again(recovery)
        recovery.wake, recovery.tried = anyio.Event(), anyio.Event()
        tried.set()

    async def _connect_again(self, recovery: "_Recovery") -> None:
        try:
            await self.connection.connect()
        except Fault as error:
            recovery.ending = self.connection.ending or Ending(error.failure)
        else:
            if self.connection.ending is not None:  # lost again at once
                recovery.ending = self.connection.ending
                recovery.outage, recovery.told = True, False

    def _count(self, recovery: "_Recovery") -> None:
        """Decide the pause before the next try, None if there is none, and say so."""
        ending, pace = recovery.ending, self._pace
        if ending.lived and ending.seconds >= pace.steady:
            self.restart_count = 0
        recovery.counted = False
        if ending.forgotten and ending.lived:
            # One that forgets every session at once is as good as away.
            hasty = self._forgot and ending.seconds < pace.restart[-1]
            self._forgot = True
            if not hasty:
                recovery.pause = 0.0
                return
        if ending.away or ending.forgotten:
            recovery.pause = min(pace.restart[0] * 2.0**recovery.away_tries, pace.network_most)
            recovery.away_tries = min(recovery.away_tries + 1, 30)
        elif (
            recovery.outage
            and self.restart_count < self.settings.restarts
            and ending.failure.code != SIGN_IN
        ):
            recovery.pause = pace.restart[min(self.restart_count, len(pace.restart) - 1)]
            recovery.counted = True
        else:
            self._give_up(recovery)
            return
        self._announce = True
        if recovery.outage and not recovery.told:
            recovery.told = True
            self._on_notice("warning", f"{self._display} MCP disconnected. Reconnecting...")

    def _give_up(self, recovery: "_Recovery") -> None:
        recovery.pause = None
        self._announce = True
        if recovery.failure.code == SIGN_IN:
            self._become("error", recovery.failure.message)
            hint = recovery.failure.hint
            self._on_notice("warning", f"{self._display} MCP wants you to sign in. {hint}")
        elif recovery.outage:
            self.permanent = True
            self._become("error", recovery.failure.message)
            self._on_notice("error", f"{self._display} MCP failed to restart. Check settings.")
        else:
            self._become("error", recovery.failure.message)

    def _forget_failures(self) -> None:
        self.restart_count, self.permanent, self._forgot = 0, False, False

    def _touch(self) -> None:
        self.last_used = time.time()
        self._used = anyio.current_time()

    def _silence(self) -> float:
        """Return for how long the server has been silent with nothing asked; 0: never mind."""
        session: Session | None = self.connection.session
        if session is None or session.modern or self.connection.in_flight:
            return 0.0
        return anyio.current_time() - self.connection.heard

    def _until_due(self) -> float:
        """Return the seconds until there may be something to look after."""
        now, due = anyio.current_time(), []
        session: Session | None = self.connection.session
        if session is not None and not session.modern:
            due.append(self._pace.ping_every - self._silence())
        if limit := self.settings.idle_timeout:
            used = now if self.connection.is_busy else self._used
            due.append(used + limit - now)
        return max(min(due), _SOONEST) if due else self._pace.ping_every

    @property
    def _display(self) -> str:
        return self.settings.display_name or self.server

    def _become(self, state: ServerState, text: str) -> None:
        if (state, text) != (self.state, self.text):
            self.state, self.text = state, text
            self._on_change(self)


class _Recovery:
    """One outage: how it began or the last try ended, and when the next one is.

    `outage`: the server had been connected, so that people miss it. `tried` is set after each try.
    """

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        self.outage = ending.lived
        self.scope = anyio.CancelScope()
        self.wake = anyio.Event()
        self.tried = anyio.Event()
        self.over = anyio.Event()
        self.pause: float | None = None
        self.counted = False
        self.away_tries = 0
        self.told = False

    @property
    def failure(self) -> Failure:
        return self.ending.failure

    @property
    def state(self) -> ServerState:
        return "reconnecting" if self.outage else "error"
