"""One life of the link to a server, and how it ended."""

from typing import TYPE_CHECKING

import anyio
from msgspec import Struct

from patina.mcp.failing import (
    CUT,
    Forgotten,
    fault,
    fault_of,
    hint_of,
    is_cut,
    knows_why,
    was_unsent,
)
from patina.mcp.transports.link import Link
from patina.model.faults import Failure, McpFault

if TYPE_CHECKING:
    from patina.mcp.listening import Listening
    from patina.mcp.sdk import Session


class Ending(Struct, frozen=True):
    """How a link ended that nobody closed. `lived`: it had been connected, for `seconds`; `away`
    and `forgotten` as in `Link`.
    """

    failure: Failure
    lived: bool = False
    seconds: float = 0.0
    away: bool = False
    forgotten: bool = False


class Attempt:
    """One life of a link. `settled`: connected or failed; `over`: nothing is left of it."""

    def __init__(self) -> None:
        self.settled = anyio.Event()
        self.over = anyio.Event()
        self.scope = anyio.CancelScope()
        self.failure: Failure | None = None
        self.link: Link | None = None
        self.session: Session | None = None
        self.listening: Listening | None = None
        self.lived = False
        self.verdict: McpFault | None = None
        self.away = False

    @property
    def has_ended(self) -> bool:
        """Whether the server can say nothing more."""
        return self.link is not None and self.link.ended.is_set()

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes. If not, an error -32000 is no cut but the server's own."""
        return self.has_ended or self.session is None or self.scope.cancel_called

    @property
    def died_at_once(self) -> bool:
        """Whether the server ended by itself, though it could be reached."""
        link = self.link
        return self.has_ended and link is not None and not link.away and not link.forgotten

    async def fault(
        self, server: str, error: Exception, verb: str, meanwhile: str, wait: float
    ) -> McpFault:
        """Return what to say of a request that failed: that `server` "did not <verb>", or, where
        the link was lost, "stopped while <meanwhile>". `wait` as for `fault_of`. Bounded.
        """
        link = self.link
        if link is not None and was_unsent(error):
            words = f"did not {verb}: it {await link.last_words()}"
            if link.forgotten:
                return Forgotten(f"Server {server} {words}.", hint="Try again.")
            return fault(server, words, code=CUT)
        if not is_cut(error) or not self.is_over:
            return fault_of(server, error, f"did not {verb}", wait)
        if self.verdict is not None:
            return fault(server, f"was given up while {meanwhile}: {self.verdict}", code=CUT)
        if link is None or not self.has_ended or self.scope.cancel_called:
            return fault(server, f"was stopped while {meanwhile}", code=CUT)
        words = f"stopped while {meanwhile}: it {await link.last_words()}"
        return fault(server, words, code=CUT)


async def start_fault(server: str, link: Link, error: Exception, wait: float) -> McpFault:
    """Return what to say of a server that did not come as far as to be connected over `link`.

    `wait` is the seconds that it had. Bounded.
    """
    words = await link.last_words()
    if isinstance(error, TimeoutError):
        hint = "Is it an MCP server, and the right transport? "
        return fault(
            server,
            f"did not answer within {wait:g} s: {link.tried} {words}",
            hint=f"{hint}`patina mcp logs {server}` shows all it said.",
        )
    if link.ended.is_set() and is_cut(error) and not knows_why(error):
        return fault(server, f"did not start: {link.tried} {words}", hint=hint_of(error))
    return fault_of(server, error, f"did not start ({link.tried})", wait)
