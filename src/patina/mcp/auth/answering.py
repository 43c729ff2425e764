"""Waiting for the answer to a page: from the browser, from a person's hands, or elsewhere."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio
from anyio import CancelScope

from patina.mcp.auth.authorization import Pending, verdict
from patina.mcp.auth.failing import DENIED, TIMED_OUT, SignInFault
from patina.mcp.auth.loopback import Loopback
from patina.mcp.auth.shapes import Grant
from patina.mcp.auth.visiting import Visitor
from patina.model.faults import Fault
from patina.model.pages import Page
from patina.ports.clock import Clock

# How often it is looked whether a sign-in in another window was faster (seconds).
_LOOK_EVERY: Final = 1.0
_MOST_PASTES: Final = 3


class Answering:
    """One page that a person is sent to, and the ways by which its answer may come.

    `elsewhere` returns the grant that makes the answer needless, None until there is one; `opened`
    is called once the page is in front of the person.
    """

    def __init__(
        self,
        pending: Pending,
        visitor: Visitor,
        listener: Loopback | None,
        *,
        elsewhere: Callable[[], Awaitable[Grant | None]],
        opened: Callable[[], None],
    ) -> None:
        self._pending = pending
        self._visitor = visitor
        self._listener = listener
        self._elsewhere = elsewhere
        self._opened = opened
        self._is_open = anyio.Event()
        self._end: str | Grant | Fault | None = None

    async def answer(self, page: Page, clock: Clock, seconds: float) -> str | Grant:
        """Return the address that the answer came with, or the grant that was made elsewhere.

        Raises `SignInFault` with the code `DENIED` where the person does not want to go there,
        `TIMED_OUT` after `seconds`; and the faults of the visitor.
        """
        ways = (partial(self._visited, page), self._called, self._pasted)
        with clock.timeout(seconds):
            async with anyio.create_task_group() as group:
                for way in (*ways, partial(self._looked, clock)):
                    group.start_soon(self._go, way, group.cancel_scope)
        end = self._end
        if isinstance(end, Fault):
            raise end
        if end is None:
            raise SignInFault(
                f"Nobody signed in within {seconds:g} seconds.",
                step="callback",
                hint="Try again.",
                code=TIMED_OUT,
            )
        return end

    async def _go(
        self, way: Callable[[], Awaitable[str | Grant | None]], all_ways: CancelScope
    ) -> None:
        """Go one way; the first that comes to an end, ends the others. None is no end."""
        try:
            end: str | Grant | Fault | None = await way()
        except Fault as fault:
            end = fault
        if end is not None and self._end is None:
            self._end = end
            all_ways.cancel()

    async def _visited(self, page: Page) -> None:
        if not await self._visitor.visit(page):
            raise SignInFault(
                "Authorization denied.",
                step="authorization",
                hint="Sign in again and open the page, if that was not meant.",
                code=DENIED,
            )
        self._opened()
        self._is_open.set()

    async def _called(self) -> str | None:
        return None if self._listener is None else await self._listener.callback(self._pending)

    async def _pasted(self) -> str | None:
        """Return what a person pasted; what belongs to something else may be pasted again."""
        await self._is_open.wait()  # whoever opens it knows only then whether somebody has to paste
        for left in reversed(range(_MOST_PASTES)):
            address = await self._visitor.pasted()
            if not address.strip():
                return None
            if left == 0 or verdict(self._pending, address) != "foreign":
                return address
        return None

    async def _looked(self, clock: Clock) -> Grant:
        while True:
            await clock.sleep(_LOOK_EVERY)
            grant = await self._elsewhere()
            if grant is not None:
                return grant
