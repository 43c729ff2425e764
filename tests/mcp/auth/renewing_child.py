"""A Patina of its own: `python renewing_child.py FOLDER URL SECONDS [stuck]`.

Says "ready", waits for a line, calls the protected server once, and says the status. Its clock is
`SECONDS` ahead. With "stuck" it never gets to writing down what a renewal brought: it says
"answered" then, and waits to be killed.
"""

import sys
import threading
from pathlib import Path

import anyio
from tests.mcp.auth.desk import SERVER, Desk, caller

from patina.engine.clock import ManualClock
from patina.model.settings import ServerSettings


class Stuck:
    """Grants of which none is ever written."""

    def __init__(self, desk: Desk) -> None:
        self.read = desk.grants.read
        self.servers = desk.grants.servers
        self.alone = desk.grants.alone

    def write(self, server: str, record: bytes | None, secrets: tuple[str, ...] = ()) -> None:
        print("answered", flush=True)
        threading.Event().wait()


async def main(*given: str) -> None:
    folder, url, seconds, *how = given
    clock = ManualClock()
    clock.advance(float(seconds))
    desk = Desk(Path(folder), clock, Stuck if how else None)
    settings = ServerSettings(transport="streamable-http", url=url)
    async with caller(desk, settings) as client:
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        print(await client.call(), SERVER, flush=True)


anyio.run(main, *sys.argv[1:])
