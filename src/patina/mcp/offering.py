"""What a connected server offers beside tools, kept as new as the server's own word."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import anyio

from patina.mcp.definitions import Offers
from patina.mcp.failing import fault
from patina.model.faults import McpFault

if TYPE_CHECKING:
    from patina.mcp.sdk import Session

R = TypeVar("R")
_RELIST_PAUSE: Final = 1.0


class Used(Protocol):
    """What an offering needs of the connection to `server`."""

    server: str
    request_wait: float

    async def use(self, deed: "Callable[[Session], Awaitable[R]]", verb: str, meanwhile: str) -> R:
        """As `Connection.use`."""


class Offering:
    """The resources, templates and prompts of one server. `now` is None until it was asked.

    `on_change` hears of every change of them.
    """

    def __init__(self, connection: Used, on_change: Callable[[], None]) -> None:
        self.now: Offers | None = None
        self._connection = connection
        self._on_change = on_change
        self._known = anyio.Event()

    def begin(self) -> None:
        """Know nothing: the server was just connected."""
        self.now, self._known = None, anyio.Event()

    async def known(self, seconds: float) -> None:
        """Wait until the server was asked, no longer than `seconds`."""
        with anyio.move_on_after(seconds):
            await self._known.wait()

    async def refresh(self) -> None:
        """Ask the connected server for all of it. Raises `McpFault`. Bounded.

        Where it cannot tell, what it told before stands.
        """
        from patina.mcp.offers import offers_of

        server, wait = self._connection.server, self._connection.request_wait
        named = "list its resources and prompts"
        known = self._known
        found: Offers | None = None
        try:
            with anyio.fail_after(wait):
                found = await self._connection.use(
                    lambda session: offers_of(session, server, self.now),
                    named,
                    f"it was to {named}",
                )
        except TimeoutError:
            raise fault(server, f"did not {named}: no answer within {wait:g} s") from None
        finally:
            if known is self._known:  # else it is another connection by now
                if found is not None:  # else nothing was told, and none of it is to be kept
                    self.now = found
                    self._on_change()
                known.set()

    async def follow(self, session: "Session") -> None:
        """Ask now, and again when the server says that something changed, until cancelled."""
        while True:
            with suppress(McpFault):
                await self.refresh()
            await anyio.sleep(_RELIST_PAUSE)
            await session.offers_changed.wait()
            session.offers_changed = anyio.Event()
