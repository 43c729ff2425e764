"""One server: its state, and the task that owns the link to it.

The SDK's session must be entered and left by one task, so each link has an owner task that opens
it, agrees with the server, waits for the end and closes it. Calls run in the tasks of their
callers, which is why cancelling one reaches the server and nothing else. Who connects when, and
what becomes of a link that was lost, is the keeper's.

    idle -> starting -> connected -> idle (closed) or error (lost)
                     -> error (did not start)
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import anyio
from anyio.abc import TaskGroup

from patina.mcp.attempt import Attempt, Ending, start_fault
from patina.mcp.definitions import Definition
from patina.mcp.failing import AWAY, fault, fault_of, is_cut, of_failure
from patina.mcp.hosting import Host
from patina.mcp.offering import Offering
from patina.mcp.text import shortened, visible
from patina.mcp.transports.link import Link, Opener, load_sdk
from patina.model.faults import Fault, McpFault
from patina.ports.dialog import Dialog

if TYPE_CHECKING:
    from mcp_types import CallToolResult

    from patina.mcp.sdk import Session

CONNECT_WAIT: Final = 10.0
INSTALL_WAIT: Final = 120.0
MOST_CALLS: Final = 64
LEGACY: Final = "2025-11-25"
_RELIST_PAUSE: Final = 1.0
# What an opener may take beyond the time to connect, which it minds itself.
_OPENING_GRACE: Final = 5.0

LinkState = Literal["idle", "starting", "connected", "error"]
R = TypeVar("R")


class Connection:
    """The link to `server`, opened by `opener` when it is asked for.

    `wait` is the seconds that connecting may take, `request_wait` those of a request that nobody
    else bounds; `starting` is what to show meanwhile; `protocol` a version or "auto".
    `on_change` hears of every change of state and tools; `meanwhile` runs while it is connected.
    A `remote` server that does not answer a ping is away, a local one has failed. `host` is what
    the server may use. `tools` are known once it is connected, what `offering` has some time later.
    """

    def __init__(
        self,
        server: str,
        opener: Opener,
        tasks: TaskGroup,
        on_change: Callable[[], None],
        *,
        wait: float = CONNECT_WAIT,
        request_wait: float = CONNECT_WAIT,
        starting: str = "Starting…",
        protocol: str = "auto",
        meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None,
        remote: bool = False,
        host: Host | None = None,
    ) -> None:
        self.state: LinkState = "idle"
        self.text = ""
        self.protocol = ""
        self.tools: tuple[Definition, ...] = ()
        self.ending: Ending | None = None
        self.in_flight = self.relisting = 0
        self.connected_at = 0.0
        self.server = server
        self._opener = opener
        self._tasks = tasks
        self._on_change = on_change
        self.wait = wait
        self.request_wait = request_wait
        self._starting = starting
        self._asked_protocol = protocol
        self._meanwhile = meanwhile
        self._remote = remote
        self._host = host if host is not None else Host(server=server)
        self.offering = Offering(self, on_change)
        self._attempt: Attempt | None = None
        self._calls = anyio.Semaphore(MOST_CALLS, fast_acquire=True)
        self._answered = 0.0

    @property
    def connected(self) -> bool:
        """Whether a call can be made at once."""
        attempt = self._attempt
        return (
            self.state == "connected"
            and attempt is not None
            and not attempt.has_ended
            and not attempt.scope.cancel_called
        )

    @property
    def session(self) -> "Session | None":
        """The session, with what the server said of itself; None where not connected."""
        return self._attempt.session if self._attempt is not None else None

    @property
    def session_id(self) -> str:
        """The id of the HTTP session, "" where there is none."""
        link = self._attempt.link if self._attempt is not None else None
        return link.session_id if link is not None else ""

    @property
    def heard(self) -> float:
        """When the server was last heard, by the clock of the event loop."""
        session = self.session
        return max(self._answered, session.heard if session is not None else 0.0)

    @property
    def is_busy(self) -> bool:
        """Whether it works on a call, or is to tell of resources."""
        return bool(self.in_flight or self._host.subscribed)

    async def connect(self) -> None:
        """Be connected, or raise `McpFault` that says why not. Bounded.

        Callers that come together share one attempt; cancelling one leaves it to the others.
        """
        if self.connected:
            return
        attempt = self._attempt
        if attempt is not None and (attempt.settled.is_set() or attempt.scope.cancel_called):
            # A link that died, failed or is closed is torn down before the next one is opened.
            await attempt.over.wait()
        if self._attempt is None:
            self._attempt = Attempt()
            self._tasks.start_soon(self._own, self._attempt)
        attempt = self._attempt
        await attempt.settled.wait()
        if attempt.failure is not None:
            raise of_failure(attempt.failure)

    async def close(self) -> None:
        """Be idle, the server and its children gone. Bounded by the grace of `process.stop`."""
        attempt = self._attempt
        if attempt is not None:
            attempt.scope.cancel()
            await attempt.over.wait()

    def leave(self) -> None:
        """Begin to close, without waiting for it."""
        if self._attempt is not None:
            self._attempt.scope.cancel()

    async def refresh(self) -> None:
        """Ask the connected server for its tools again. Raises `McpFault`. Bounded."""
        session, _ = self._live()
        from patina.mcp.sdk import FAILURES

        self.relisting += 1
        try:
            with anyio.fail_after(self.request_wait):
                self.tools = await session.definitions()
        except FAILURES as error:
            raise self._fault_of(error, "did not list its tools") from None
        finally:
            self.relisting -= 1
        self._answered = anyio.current_time()
        self._on_change()

    async def ping(self, seconds: float) -> bool:
        """Whether the server answers within `seconds`; one that does not is given up: it is lost.

        A server that works on a call meanwhile may be silent for as long as that takes.
        """
        attempt = self._attempt
        if attempt is None or attempt.session is None or attempt.link is None:
            return False
        from patina.mcp.sdk import FAILURES

        try:
            with anyio.fail_after(seconds):
                await attempt.session.ping()
        except TimeoutError:
            if self.in_flight == 0 and not attempt.has_ended:
                attempt.verdict = self._fault(f"did not answer a ping within {seconds:g} s")
                attempt.away = self._remote
                attempt.link.end()
                return False
        except FAILURES as error:
            if is_cut(error) and attempt.is_over:
                return False
        self._answered = anyio.current_time()
        return self.connected

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        dialog: Dialog | None = None,
        *,
        as_task: bool = False,
    ) -> "CallToolResult":
        """Run a tool of the connected server, as `Session.run_tool`.

        No time limit of its own: the caller has it, and cancelling tells the server. Raises as
        `use`.
        """
        named = shortened(visible(tool), 100)
        async with self._calls:
            return await self.use(
                lambda session: session.run_tool(tool, dict(arguments), dialog, as_task=as_task),
                f"run {named}",
                f"{named} ran",
            )

    async def resume(
        self, tool: str, task_id: str, dialog: Dialog | None = None
    ) -> "CallToolResult":
        """Wait for the end of a task that a call of `tool` began before, as `call`."""
        named = shortened(visible(tool), 100)
        return await self.use(
            lambda session: session.resume_task(task_id, dialog), f"run {named}", f"{named} ran"
        )

    async def use(self, deed: "Callable[[Session], Awaitable[R]]", verb: str, meanwhile: str) -> R:
        """Return what `deed` gets from the connected server; "it did not <verb>" names it.

        `meanwhile` names it in "it stopped while <meanwhile>". Raises `McpFault`, with the number
        of a JSON-RPC error as its code; `Forgotten` where the server did nothing because it knows
        the session no more.
        """
        session, attempt = self._live()
        from patina.mcp.sdk import FAILURES

        self.in_flight += 1
        try:
            result = await deed(session)
            self._answered = anyio.current_time()
            return result
        except FAILURES as error:
            found = await attempt.fault(self.server, error, verb, meanwhile, self.request_wait)
            raise found from None
        finally:
            self.in_flight -= 1

    async def subscribe(self, uri: str, *, on: bool) -> None:
        """Have the connected server tell of changes of a resource, or no more. Bounded.

        Raises as `use`. It goes on after a reconnect.
        """
        attempt = self._attempt
        listening = attempt.listening if attempt is not None else None
        if listening is None:
            raise self._fault("is not connected")
        deed = listening.subscribe if on else listening.unsubscribe
        named = f"tell of {shortened(visible(uri), 200)}"
        await self.use(lambda _: deed(uri), named, f"it was to {named}")

    async def tell_roots(self) -> None:
        """Tell a connected server that the folders the user chose for it are others now."""
        from patina.mcp.sdk import FAILURES

        session = self.session
        if session is not None:
            with suppress(*FAILURES), anyio.move_on_after(self.request_wait):
                await session.tell_roots()

    def _live(self) -> "tuple[Session, Attempt]":
        attempt = self._attempt
        if attempt is None or attempt.session is None:
            raise self._fault("is not connected")
        return attempt.session, attempt

    async def _own(self, attempt: Attempt) -> None:
        self.ending = None
        self._become("starting", self._starting)
        try:
            with attempt.scope:
                if not await self._live_once(attempt, self._asked_protocol):
                    # Some servers of the older era exit at the newer era's first question.
                    await self._live_once(attempt, LEGACY)
        except Fault as error:
            self._end(attempt, error)
        except Exception as error:  # noqa: BLE001 - boundary: one server never ends another
            what = "stopped" if attempt.lived else "did not start"
            self._end(attempt, self._fault_of(error, what))
        finally:
            self._attempt = None
            closed = attempt.scope.cancel_called
            if not attempt.settled.is_set():
                attempt.failure = self._fault("was stopped before it was ready").failure
                attempt.settled.set()
                closed = True
            if closed or self.ending is None:
                self.ending = None
                self._become("idle", "")
            attempt.over.set()

    def _end(self, attempt: Attempt, error: Fault) -> None:
        """Note how the link ended, before its server is, which may take seconds."""
        if attempt.failure is not None or attempt.scope.cancel_called:
            return
        attempt.failure = error.failure
        link = attempt.link
        self.ending = Ending(
            error.failure,
            lived=attempt.lived,
            seconds=anyio.current_time() - self.connected_at if attempt.lived else 0.0,
            away=attempt.away or error.failure.code == AWAY or (link is not None and link.away),
            forgotten=link is not None and link.forgotten,
        )
        self._become("error", error.failure.message)
        attempt.settled.set()

    async def _live_once(self, attempt: Attempt, protocol: str) -> bool:
        """Open a link and stay until it ends. False: it died at the question of the era."""
        deadline = anyio.current_time() + self.wait + _OPENING_GRACE
        with anyio.CancelScope(deadline=deadline) as opening:
            async with self._opener() as link:
                opening.deadline = float("inf")
                attempt.link = link
                await load_sdk()
                from patina.mcp.sdk import FAILURES, Session

                async with Session(link, self._host) as session:
                    try:
                        with anyio.fail_after(self.wait):
                            self.protocol = await session.negotiate(protocol)
                            self.tools = await session.definitions()
                    except FAILURES as error:
                        if protocol == "auto" and attempt.died_at_once:
                            link.log("it ended at the first question; once more, the older way")
                            return False
                        self._end(attempt, await start_fault(self.server, link, error, self.wait))
                        return True
                    await self._serve(attempt, link, session)
        if opening.cancelled_caught:
            raise self._fault(f"did not start: no link to it within {self.wait:g} s")
        return True

    async def _serve(self, attempt: Attempt, link: Link, session: "Session") -> None:
        """Be connected until the link ends."""
        from patina.mcp.listening import Listening

        listening = Listening(session, self._host.subscribed, self.request_wait)
        attempt.session, attempt.listening = session, listening
        self.offering.begin()
        attempt.lived = True
        self.connected_at = self._answered = anyio.current_time()
        self._become("connected", "")
        attempt.settled.set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow, session)
            tasks.start_soon(self.offering.follow, session)
            tasks.start_soon(listening.run)
            if self._meanwhile is not None:
                tasks.start_soon(self._meanwhile)
            await link.ended.wait()
            tasks.cancel_scope.cancel()
        attempt.session = attempt.listening = None
        words = attempt.verdict or self._fault(f"stopped: it {await link.last_words()}")
        self._end(attempt, words)

    async def _follow(self, session: "Session") -> None:
        """List the tools again whenever the server says that they changed, but not all the time."""
        while True:
            await session.list_changed.wait()
            session.list_changed = anyio.Event()
            with suppress(McpFault):
                await self.refresh()
            await anyio.sleep(_RELIST_PAUSE)

    def _fault(self, what: str, *, hint: str = "") -> McpFault:
        return fault(self.server, what, hint=hint)

    def _fault_of(self, error: Exception, what: str) -> McpFault:
        return fault_of(self.server, error, what, self.request_wait)

    def _become(self, state: LinkState, text: str) -> None:
        if (state, text) != (self.state, self.text):
            self.state, self.text = state, text
            self._on_change()
