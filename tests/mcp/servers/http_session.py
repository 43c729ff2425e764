"""A real session of the SDK over a link, for the tests of the HTTP transports."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from patina.mcp.sdk import Session
from patina.mcp.transports.http import open_http
from patina.mcp.transports.link import Link, Notes
from patina.mcp.transports.remote import Remote

Open = Callable[[Remote], AbstractAsyncContextManager[Link]]


class Client:
    """A link, its session, and what the log of the server holds."""

    def __init__(self, link: Link, session: Session, log: Path) -> None:
        self.link = link
        self.session = session
        self._log = log

    async def connect(self, protocol: str = "auto") -> list[str]:
        with anyio.fail_after(10):
            await self.session.negotiate(protocol)
            return [tool.name for tool in await self.session.definitions()]

    async def call(self, tool: str = "do", **arguments: Any) -> str:
        with anyio.fail_after(10):
            result = await self.session.run_tool(tool, arguments)
        return str(getattr(result.content[0], "text", ""))

    async def ended(self) -> str:
        """Wait for the end of the link and return its last words."""
        with anyio.fail_after(5):
            await self.link.ended.wait()
        return await self.link.last_words()

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


@asynccontextmanager
async def client(
    url: str,
    folder: Path,
    open_link: Open = open_http,
    headers: dict[str, str] | None = None,
    secrets: tuple[str, ...] = (),
    **remote: Any,
) -> AsyncGenerator[Client]:
    log = folder / "server.log"
    notes = Notes("test", log, secrets)
    options: dict[str, Any] = {"wait": 5.0} | remote
    async with (
        open_link(Remote(url, headers or {}, notes, **options)) as link,
        Session(link) as session,
    ):
        yield Client(link, session, log)
