"""The keepers of the servers that were ever connected, and the end of those that leave."""

from collections.abc import Callable, Collection, Iterator

import anyio

from patina.mcp.keeper import Keeper


class Keepers:
    """One `Keeper` for each server, made by `make` when it is first wanted."""

    def __init__(self, make: Callable[[str], Keeper]) -> None:
        self._make = make
        self._all: dict[str, Keeper] = {}
        self._leaving: dict[str, anyio.Event] = {}

    def __iter__(self) -> Iterator[Keeper]:
        return iter(tuple(self._all.values()))

    def find(self, server: str) -> Keeper | None:
        """Return the keeper of `server`, None where there is none."""
        return self._all.get(server)

    def connected(self, server: str) -> Keeper | None:
        """Return the keeper of `server` if that is connected now."""
        keeper = self._all.get(server)
        return keeper if keeper is not None and keeper.connected else None

    async def of(self, server: str) -> Keeper:
        """Return the keeper of `server`; one that leaves is waited for."""
        while (gone := self._leaving.get(server)) is not None:
            await gone.wait()
        keeper = self._all.get(server)
        if keeper is None:
            keeper = self._all[server] = self._make(server)
        return keeper

    async def end(self, servers: Collection[str]) -> None:
        """Stop `servers` at the same time, for good; who wants one of them anew waits for that."""
        leaving = {name: self._all.pop(name) for name in servers if name in self._all}
        self._leaving = {name: anyio.Event() for name in leaving}
        try:
            async with anyio.create_task_group() as tasks:
                for keeper in leaving.values():
                    tasks.start_soon(keeper.stop)
        finally:
            for gone in self._leaving.values():
                gone.set()
            self._leaving = {}

    async def stop(self, servers: Collection[str]) -> None:
        """Stop `servers` at the same time; a later call starts them again."""
        async with anyio.create_task_group() as tasks:
            for server in servers:
                if (keeper := self._all.get(server)) is not None:
                    tasks.start_soon(keeper.stop)
