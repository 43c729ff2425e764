"""One server: its state, and the task that owns the link to it.

The SDK's session must be entered and left by one task, so each link has an owner task that opens
it, agrees with the server, waits for the end and closes it. Calls run in the tasks of their
callers, which is why cancelling one reaches the server and nothing else.

    idle -> starting -> connected -> idle (stopped) or error (died)
                     -> error (did not start)
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.abc import TaskGroup

from patina.mcp.definitions import Definition
from patina.mcp.diagnosis import log_hint
from patina.mcp.text import shortened, visible
from patina.mcp.transports.link import Link, Opener, load_sdk
from patina.model.events import ServerState
from patina.model.faults import Failure, Fault, McpFault

if TYPE_CHECKING:
    from mcp_types import CallToolResult

    from patina.mcp.sdk import Session

CONNECT_WAIT: Final = 10.0
INSTALL_WAIT: Final = 120.0
MOST_CALLS: Final = 64
LEGACY: Final = "2025-11-25"
_RELIST_PAUSE: Final = 1.0


class _Attempt:
    """One life of a link. `settled`: connected or failed; `over`: nothing is left of it."""

    def __init__(self) -> None:
        self.settled = anyio.Event()
        self.over = anyio.Event()
        self.scope = anyio.CancelScope()
        self.failure: Failure | None = None
        self.link: Link | None = None
        self.session: Session | None = None

    def fail(self, fault: Fault) -> None:
        self.failure = fault.failure
        self.settled.set()


class Connection:
    """The link to `server`, opened by `opener` when it is asked for.

    `wait` is the seconds that connecting may take; `starting` is what to show meanwhile;
    `protocol` a version or "auto". `on_change` hears of every change of the state.
    """

    def __init__(
        self,
        server: str,
        opener: Opener,
        tasks: TaskGroup,
        on_change: Callable[[], None],
        *,
        wait: float = CONNECT_WAIT,
        starting: str = "Starting…",
        protocol: str = "auto",
    ) -> None:
        self.state: ServerState = "idle"
        self.text = ""
        self.protocol = ""
        self.tools: tuple[Definition, ...] = ()
        self._server = server
        self._opener = opener
        self._tasks = tasks
        self._on_change = on_change
        self._wait = wait
        self._starting = starting
        self._asked_protocol = protocol
        self._attempt: _Attempt | None = None
        self._calls = anyio.Semaphore(MOST_CALLS)

    @property
    def connected(self) -> bool:
        """Whether a call can be made at once."""
        attempt = self._attempt
        return self.state == "connected" and attempt is not None and not _ended(attempt)

    async def connect(self) -> None:
        """Be connected, or raise `McpFault` that says why not. Bounded.

        Callers that come together share one attempt; cancelling one leaves it to the others.
        """
        if self.connected:
            return
        attempt = self._attempt
        if attempt is not None and attempt.settled.is_set():
            # A link that died or failed is torn down before the next one is opened.
            await attempt.over.wait()
        if self._attempt is None:
            self._attempt = _Attempt()
            self._tasks.start_soon(self._own, self._attempt)
        attempt = self._attempt
        await attempt.settled.wait()
        if attempt.failure is not None:
            raise McpFault(
                attempt.failure.message, hint=attempt.failure.hint, code=attempt.failure.code
            )

    async def close(self) -> None:
        """Be idle, the server and its children gone. Bounded by the grace of `process.stop`."""
        attempt = self._attempt
        if attempt is not None:
            attempt.scope.cancel()
            await attempt.over.wait()

    async def refresh(self) -> None:
        """Ask the connected server for its tools again. Raises `McpFault`. Bounded."""
        session, _ = self._live()
        from patina.mcp.sdk import FAILURES

        try:
            with anyio.fail_after(self._wait):
                self.tools = await session.definitions()
        except FAILURES as error:
            raise self._fault_of(error, "did not list its tools") from None
        self._on_change()

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> "CallToolResult":
        """Run a tool of the connected server.

        No time limit of its own: the caller has it, and cancelling tells the server. Raises
        `McpFault`, with the number of a JSON-RPC error as its code.
        """
        session, attempt = self._live()
        from patina.mcp.sdk import FAILURES

        async with self._calls:
            try:
                return await session.run_tool(tool, dict(arguments))
            except FAILURES as error:
                named = shortened(visible(tool), 100)
                if not _cut(error):
                    raise self._fault_of(error, f"did not run {named}") from None
                if attempt.link is None or not _ended(attempt) or attempt.scope.cancel_called:
                    raise self._fault(f"was stopped while {named} ran") from None
                words = await attempt.link.last_words()
                raise self._fault(f"stopped while {named} ran: it {words}") from None

    def _live(self) -> "tuple[Session, _Attempt]":
        attempt = self._attempt
        if attempt is None or attempt.session is None:
            raise self._fault("is not connected")
        return attempt.session, attempt

    async def _own(self, attempt: _Attempt) -> None:
        self._become("starting", self._starting)
        try:
            with attempt.scope:
                if not await self._live_once(attempt, self._asked_protocol):
                    # Some servers of the older era exit at the newer era's first question.
                    await self._live_once(attempt, LEGACY)
        except Fault as fault:
            attempt.fail(fault)
        except Exception as error:  # noqa: BLE001 - boundary: one server never ends another
            attempt.fail(self._fault_of(error, "did not start"))
        finally:
            self._attempt = None
            if not attempt.settled.is_set():
                attempt.fail(self._fault("was stopped before it was ready"))
            self._settle(attempt)
            attempt.over.set()

    def _settle(self, attempt: _Attempt) -> None:
        if attempt.scope.cancel_called or attempt.failure is None:
            self._become("idle", "")
        else:
            self._become("error", attempt.failure.message)

    async def _live_once(self, attempt: _Attempt, protocol: str) -> bool:
        """Open a link and stay until it ends. False: it died at the question of the era."""
        async with self._opener() as link:
            attempt.link = link
            await load_sdk()
            from patina.mcp.sdk import FAILURES, Session

            async with Session(link) as session:
                try:
                    with anyio.fail_after(self._wait):
                        self.protocol = await session.negotiate(protocol)
                        self.tools = await session.definitions()
                except FAILURES as error:
                    if protocol == "auto" and _ended(attempt):
                        link.log("it ended at the first question; once more, the older way")
                        return False
                    attempt.fail(await self._start_fault(link, error))
                    # Told before the server is ended, which may take seconds.
                    self._settle(attempt)
                    return True
                attempt.session = session
                self._become("connected", "")
                attempt.settled.set()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._follow, session)
                    await link.ended.wait()
                    tasks.cancel_scope.cancel()
                attempt.session = None
                attempt.failure = self._fault(f"stopped: it {await link.last_words()}").failure
                self._settle(attempt)
        return True

    async def _follow(self, session: "Session") -> None:
        """List the tools again whenever the server says that they changed, but not all the time."""
        while True:
            await session.list_changed.wait()
            session.list_changed = anyio.Event()
            with suppress(McpFault):
                await self.refresh()
            await anyio.sleep(_RELIST_PAUSE)

    async def _start_fault(self, link: Link, error: Exception) -> McpFault:
        words = await link.last_words()
        if isinstance(error, TimeoutError):
            return self._fault(
                f"did not answer within {self._wait:g} s: {link.tried} {words}",
                hint="Is it an MCP server, and the right transport? " + log_hint(self._server),
            )
        if link.ended.is_set():
            return self._fault(f"did not start: {link.tried} {words}")
        return self._fault_of(error, f"did not start ({link.tried})")

    def _fault(self, what: str, *, hint: str = "", code: str = "") -> McpFault:
        message = f"Server {self._server} {what}."
        return McpFault(message, hint=hint or log_hint(self._server), code=code)

    def _fault_of(self, error: Exception, what: str) -> McpFault:
        """Return `error` as a fault: JSON-RPC errors with their number, groups by their cause."""
        from pydantic import ValidationError

        from mcp import MCPError

        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, McpFault):
            return self._fault(f"{what}: {error.failure.message}", hint=error.failure.hint)
        if isinstance(error, MCPError):
            said = shortened(visible(error.message), 1000)
            return self._fault(f"{what}: {said} (error {error.code})", code=str(error.code))
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            where = ".".join(str(step) for step in first["loc"])
            wrong = shortened(visible(f"{where}: {first['msg']}"), 300)
            return self._fault(f"{what}: its answer is not as the protocol demands, {wrong}")
        if isinstance(error, TimeoutError):
            return self._fault(f"{what}: no answer within {self._wait:g} s")
        return self._fault(f"{what}: {shortened(visible(str(error)), 500)}")

    def _become(self, state: ServerState, text: str) -> None:
        self.state, self.text = state, text
        self._on_change()


def _cut(error: Exception) -> bool:
    """Whether `error` is the end of the connection, not an answer."""
    from mcp_types import CONNECTION_CLOSED

    from mcp import MCPError

    if isinstance(error, MCPError):
        return error.code == CONNECTION_CLOSED
    return isinstance(error, anyio.ClosedResourceError | anyio.BrokenResourceError)


def _ended(attempt: _Attempt) -> bool:
    return attempt.link is not None and attempt.link.ended.is_set()
