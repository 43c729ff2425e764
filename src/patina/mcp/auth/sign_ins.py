"""The sign-ins of all servers: who is signed in where, and how that begins, lasts and ends."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio

from patina.mcp.auth import modes
from patina.mcp.auth.authority import ServerAuthority
from patina.mcp.auth.failing import SIGN_IN, SignInFault, Step
from patina.mcp.auth.keeping import Held, Means
from patina.mcp.auth.shapes import Challenge
from patina.mcp.auth.showing import ended, rests, underway
from patina.mcp.auth.visiting import Visitor
from patina.mcp.transports.authority import Authority
from patina.mcp.transports.remote import Network
from patina.model.faults import Fault
from patina.model.pages import Page
from patina.model.settings import AuthMode, ServerSettings
from patina.model.sign_in import SignIn
from patina.ports.clock import Clock
from patina.ports.grants import Grants
from patina.ports.keys import References

if TYPE_CHECKING:
    from patina.mcp.auth.flow import Flow

# What signing out may take, cancelled or not, with an authorization server that does not answer.
_MOST: Final = 25.0


class _Running:
    """A sign-in that goes on: `shown` is how far it is, `end` how it ended."""

    def __init__(self, shown: SignIn) -> None:
        self.shown = shown
        self.scope = anyio.CancelScope()
        self.done = anyio.Event()
        self.end: SignIn | None = None


class SignIns:
    """Signs people and machines in to servers, keeps that alive, and tells how far it is.

    One object for a process. `on_change` is called, on the event loop, with each new state.
    Nothing is read before it is needed, and no page is opened but by `sign_in`.
    """

    def __init__(
        self,
        grants: Grants,
        keys: References,
        clock: Clock,
        network: Network,
        on_change: Callable[[SignIn], None],
    ) -> None:
        self._means = Means(grants, keys, clock, network)
        self._on_change = on_change
        self._helds: dict[str, Held] = {}
        self._known: dict[str, ServerSettings] = {}
        self._running: dict[str, _Running] = {}
        # How the last sign-in failed, and which one was kept then: a newer one makes it history.
        self._failed: dict[str, tuple[SignIn, str]] = {}
        self._told: dict[str, SignIn] = {}

    def authority(self, server: str, settings: ServerSettings) -> Authority | None:
        """Return what lets requests to a remote server pass, None where Patina signs in to none.

        That is for local servers, for static credentials, and for the mode "none".
        """
        signs = modes.is_machine(settings) or modes.can_sign_in(settings)
        if settings.transport == "stdio" or not signs:
            return None

        async def heard() -> None:
            await self._tell(server, settings)

        return ServerAuthority(self._held(server, settings), settings, heard)

    async def variables(self, server: str, settings: ServerSettings) -> dict[str, str]:
        """Return what a local server is started with: its `oauth.variable`, renewed if it ends.

        {} where it names none. Raises `SignInFault`, with the code `SIGN_IN` where a person has to
        sign in first (A-57).
        """
        from patina.mcp.auth.renewing import fresh

        name = settings.oauth.variable
        signs = modes.is_machine(settings) or modes.can_sign_in(settings)
        if settings.transport != "stdio" or not name or not signs:
            return {}
        grant = await fresh(self._held(server, settings), settings)
        await self._tell(server, settings)
        if grant is None:
            raise SignInFault(
                f"Server {server} wants you to sign in.",
                step="authorization",
                hint=f"Run `patina mcp login {server}`.",
                code=SIGN_IN,
            )
        return {name: grant.tokens.access}

    async def sign_in(self, server: str, settings: ServerSettings, visitor: Visitor) -> SignIn:
        """Sign a person in, and return how it ended; it never raises for what may go wrong.

        One at a time for a server: who calls meanwhile waits for the same end. Scopes of a last
        refusal are asked for beside those that were granted.
        """
        while (other := self._running.get(server)) is not None:
            await other.done.wait()
            if other.end is not None:
                return other.end
        running = _Running(underway(server, settings, "discovery"))
        self._running[server] = running
        try:
            with running.scope:
                running.end = await self._signed_in(server, settings, visitor, running)
            if running.end is None:  # `cancel`
                running.end = await self._rest(server, settings)
            return running.end
        finally:
            del self._running[server]
            held = self._held(server, settings)
            self._show(server, running.end or rests(held, settings, held.last(settings)))
            running.done.set()

    def cancel(self, server: str) -> bool:
        """End the sign-in to `server` that goes on. Whether there was one."""
        running = self._running.get(server)
        if running is not None:
            running.scope.cancel()
        return running is not None

    async def sign_out(
        self, server: str, settings: ServerSettings, *, keep_client: bool = False
    ) -> tuple[str, ...]:
        """Revoke, forget the registration, delete. Sentences about what could not be done.

        `keep_client`: the registration stays, for the next sign-in. Raises `ConfigFault` where
        what is kept cannot be deleted.
        """
        from patina.mcp.auth.leaving import leave, left_over

        self.cancel(server)
        held = self._held(server, settings)
        with anyio.CancelScope(shield=True):
            async with held.lock, self._means.grants.alone(server):
                grant = await held.kept(anew=True)
                left: tuple[str, ...] = ()
                stays = left_over(grant) if grant is not None and keep_client else None
                try:
                    with anyio.move_on_after(_MOST) as limit:
                        if grant is not None:
                            left = await leave(held, settings, grant, keep_client=keep_client)
                    if limit.cancelled_caught:
                        left = (f"It was not ended within {_MOST:g} s where it was made.",)
                finally:
                    await held.keep(stays)
        self._failed.pop(server, None)
        await self._tell(server, settings)
        return left

    async def forget(self, server: str) -> None:
        """Delete what is kept of a server that is configured no more (A-15).

        Raises `ConfigFault` where that cannot be done.
        """
        self.cancel(server)
        held = self._helds.pop(server, None) or Held(server, self._means)
        for known in (self._known, self._failed, self._told):
            known.pop(server, None)
        if await held.kept(anew=True) is None and not held.has_record:
            return
        async with held.lock, self._means.grants.alone(server):
            await held.keep(None)

    async def state(self, server: str, settings: ServerSettings) -> SignIn:
        """Return how far the sign-in to `server` is. Raises `ConfigFault`."""
        running = self._running.get(server)
        return running.shown if running else await self._rest(server, settings)

    async def look_again(self) -> None:
        """Read again what other processes may have changed, and tell of new states.

        Raises `ConfigFault`.
        """
        for server, settings in list(self._known.items()):
            await self._held(server, settings).kept(anew=True)
            await self._tell(server, settings)

    def can_sign_in(self, settings: ServerSettings) -> bool:
        """Whether a person may sign in to a server with such settings."""
        return modes.can_sign_in(settings)

    def mode(self, settings: ServerSettings, seen: Challenge | None = None) -> AuthMode:
        """Return how such a server wants to know its user (P-05). `seen` is its last refusal."""
        return modes.mode(settings, seen)

    def _held(self, server: str, settings: ServerSettings) -> Held:
        self._known[server] = settings
        return self._helds.setdefault(server, Held(server, self._means))

    async def _rest(self, server: str, settings: ServerSettings) -> SignIn:
        """Return the state of a server that nobody signs in to just now."""
        held = self._held(server, settings)
        grant = await held.grant(settings)
        failed, kept = self._failed.get(server, (None, ""))
        if failed is not None and kept == (grant.sign_in if grant else ""):
            return failed
        self._failed.pop(server, None)
        return rests(held, settings, grant)

    async def _tell(self, server: str, settings: ServerSettings) -> None:
        if server not in self._running and server in self._known:
            self._show(server, await self._rest(server, settings))

    def _show(self, server: str, shown: SignIn) -> None:
        """Tell of a state that is another than the last."""
        if self._told.get(server) != shown:
            self._told[server] = shown
            self._on_change(shown)

    async def _signed_in(
        self, server: str, settings: ServerSettings, visitor: Visitor, running: _Running
    ) -> SignIn:
        from patina.mcp.auth.renewing import fresh

        held = self._held(server, settings)
        self._failed.pop(server, None)
        flow: Flow | None = None
        try:
            if modes.is_machine(settings):
                self._show(server, running.shown)
                await fresh(held, settings)
            else:
                flow = self._flow(held, settings, visitor, running)
                await flow.run()
        except Fault as fault:
            begun: Step = "token" if modes.is_machine(settings) else "discovery"
            end = ended(server, settings, fault, flow.step if flow else begun)
            grant = held.last(settings)
            self._failed[server] = (end, grant.sign_in if grant else "")
            return end
        held.settled()
        return rests(held, settings, held.last(settings))

    def _flow(
        self, held: Held, settings: ServerSettings, visitor: Visitor, running: _Running
    ) -> "Flow":
        from patina.mcp.auth.flow import Flow

        if not modes.can_sign_in(settings):
            raise SignInFault(
                f"Server {held.server} is not one to sign in to.",
                step="discovery",
                hint='It has its own credentials, or needs none; else set `auth_mode = "client"`'
                " and, for a local server, `oauth.variable`.",
            )

        def told(step: Step, page: Page | None) -> None:
            running.shown = underway(held.server, settings, step, page)
            self._show(held.server, running.shown)

        return Flow(held, settings, visitor, told)
