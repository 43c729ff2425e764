"""A server of the stateless era inside this process, whose list of tools changes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp.server import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.subscriptions import ToolsListChanged

from patina.mcp.transports.link import Link, Opener, load_sdk


class Listed:
    """Offers `tools`. `tell` says that they changed, `drop` breaks the stream off that says so;
    `streams` counts those that were asked for.
    """

    def __init__(self) -> None:
        self.tools: tuple[str, ...] = ("one",)
        self.streams = 0
        self._bus = InMemorySubscriptionBus()
        self._dropped = anyio.Event()

    async def tell(self) -> None:
        await self._bus.publish(ToolsListChanged())

    def drop(self) -> None:
        self._dropped.set()
        self._dropped = anyio.Event()

    @property
    def opener(self) -> Opener:
        @asynccontextmanager
        async def open_link() -> AsyncGenerator[Link]:
            await load_sdk()
            link = Link("a server of the stateless era")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve, link)
                try:
                    yield link
                finally:
                    tasks.cancel_scope.cancel()
                    link.close()

        return open_link

    async def _serve(self, link: Link) -> None:
        incoming, outgoing = link.other_end()
        server = self._server()
        await server.run(incoming, outgoing, server.create_initialization_options())

    def _server(self) -> Server[Any]:
        handler = ListenHandler(self._bus)

        async def list_tools(*_: object) -> types.ListToolsResult:
            tools = [types.Tool(name=name, input_schema={"type": "object"}) for name in self.tools]
            return types.ListToolsResult(tools=tools)

        async def listen(context: Any, params: Any) -> Any:
            self.streams += 1
            async with anyio.create_task_group() as tasks:

                async def wait() -> None:
                    await self._dropped.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(wait)
                try:
                    return await handler(context, params)
                finally:
                    tasks.cancel_scope.cancel()

        return Server(
            "listed", version="1", on_list_tools=list_tools, on_subscriptions_listen=listen
        )
