"""A server over WebSocket: one JSON-RPC message a text frame, sub-protocol `mcp`.

No revision of MCP describes this transport; this is how the SDK spoke it up to its version 1.
"""

import importlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from patina.mcp.transports.link import Link, load_sdk
from patina.mcp.transports.remote import Remote

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


@asynccontextmanager
async def open_websocket(remote: Remote) -> AsyncGenerator[Link]:
    """Connect to a remote server and yield the link to it; on leaving, the socket is closed.

    Connecting takes at most `remote.wait` seconds. Raises `McpFault`, with the code `AWAY` where
    waiting may help. Headers go to the address of `remote` alone, redirects are not followed. A
    server that does not answer a ping within 20 s is lost. `remote.auth` is heard at the handshake,
    as `dialing.dial` says.
    """
    # In a thread: it takes a tenth of a second.
    await anyio.to_thread.run_sync(importlib.import_module, "patina.mcp.transports.dialing")
    from patina.mcp.transports.dialing import SUBPROTOCOL, dial

    connection = await dial(remote)
    # From here to the task group nothing may wait, or a cancellation would leak the socket.
    link = _SocketLink(remote, connection)
    if connection.subprotocol != SUBPROTOCOL:
        link.log(f"the server did not choose the sub-protocol {SUBPROTOCOL}; taken as it is")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.read)
        tasks.start_soon(link.write)
        try:
            yield link
        finally:
            await _hang_up(connection)
            link.close()
            tasks.cancel_scope.cancel()


async def _hang_up(connection: "ClientConnection") -> None:
    """Close as the protocol wants it, in a moment; else break off. Cannot be cancelled."""
    from patina.mcp.transports.dialing import CLOSE_GRACE

    with anyio.CancelScope(shield=True):
        # A close of a server that does not read waits for room, which no bound of its own ends.
        with anyio.move_on_after(CLOSE_GRACE):
            await connection.close()
        connection.transport.abort()
        with anyio.move_on_after(CLOSE_GRACE):
            await connection.wait_closed()


class _SocketLink(Link):
    """The streams over a WebSocket."""

    def __init__(self, remote: Remote, connection: "ClientConnection") -> None:
        from patina.mcp.transports.dialing import shown

        super().__init__(shown(remote.url), remote.notes)
        self._connection = connection
        self._end_words = ""
        self.log(f"connected to {self.tried}")

    async def read(self) -> None:
        """Pass messages on until the connection ends, then say how."""
        from websockets.exceptions import ConnectionClosed

        from patina.mcp.transports.dialing import close_words

        await load_sdk()
        try:
            while True:
                # As bytes: a binary frame may hold a message too, and text that is no UTF-8 none.
                await self.arrive(await self._connection.recv(decode=False))
        except ConnectionClosed as end:
            if not self.ended.is_set():
                self._end_words, self.away = close_words(end)
                self.log(self._end_words)
        finally:
            self.end()

    async def write(self) -> None:
        """Send what the session says until it, or the connection, is closed."""
        from websockets.exceptions import ConnectionClosed

        await load_sdk()
        try:
            async for message in self._departures:
                await self._connection.send(self.depart(message), text=True)
        except (ConnectionClosed, anyio.ClosedResourceError):
            # The reader knows why; it may still have messages to pass on first.
            return

    async def last_words(self) -> str:
        """As `Link.last_words`, with the code and reason of the close, and rubbish."""
        words = self._end_words or await super().last_words()
        if rubbish := self.rubbish():
            words += f"; it sent text that is no MCP message: {rubbish}"
        return words
