"""A server inside this process, and the way to it: it may break, be closed, or be forgotten."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from patina.mcp.failing import AWAY
from patina.mcp.transports import inprocess
from patina.mcp.transports.link import Link, Opener
from patina.model.faults import McpFault


class Door:
    """What happens to who opens and uses the way to one server. `opened` counts the tries."""

    def __init__(self) -> None:
        self.script = inprocess.Script(inprocess.example_tools())
        self.opened = 0
        self.open_now = 0
        self.most_open = 0
        self.away = False
        self.broken = False
        self.gate: anyio.Event | None = None  # opening waits for it
        self.closing: anyio.Event | None = None  # closing waits for it
        self.link: Link | None = None

    @property
    def opener(self) -> Opener:
        @asynccontextmanager
        async def open_link() -> AsyncGenerator[Link]:
            self.opened += 1
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
            try:
                if self.gate is not None:
                    await self.gate.wait()
                if self.away:
                    raise McpFault("Server s could not be reached: Connection refused.", code=AWAY)
                if self.broken:
                    raise McpFault("Server s did not start: it is broken.")
                async with inprocess.opener(self.script)() as link:
                    self.link = link
                    yield link
            finally:
                if self.closing is not None:
                    with anyio.CancelScope(shield=True):
                        await self.closing.wait()
                self.link = None
                self.open_now -= 1

        return open_link

    def die(self, *, away: bool = False, forgotten: bool = False) -> None:
        """Let the link end."""
        assert self.link is not None
        self.link.away, self.link.forgotten = away, forgotten
        self.link.end()
