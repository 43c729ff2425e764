"""Keeps an eye on what servers say of their tools: tells of changes, and of what is suspicious."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import anyio.to_thread
from anyio.abc import TaskGroup

from patina.mcp.connection import Connection
from patina.mcp.definitions import Definition
from patina.mcp.keeper import NoticeLevel
from patina.mcp.pins import Listing, Pins, Waiting, sentence
from patina.model.faults import McpFault
from patina.model.settings import ServerSettings

if TYPE_CHECKING:
    from patina.mcp.lookalike import Flag
    from patina.mcp.review import Review


class Servers(Protocol):
    """What is needed of a `Supervisor`."""

    servers: Mapping[str, ServerSettings]
    pins: Pins

    def definitions(self, server: str) -> tuple[Definition, ...] | None:
        """As `Supervisor.definitions`."""


def see(
    all_servers: Servers,
    connection: Connection,
    tasks: TaskGroup,
    notice: Callable[[str, NoticeLevel, str], None],
) -> None:
    """Take note of what a connected server lists now; tell people of news, in `tasks`."""
    session, server = connection.session, connection.server
    instructions = session.instructions if session is not None else None
    waiting = all_servers.pins.see(server, Listing(connection.tools, instructions or ""))
    if waiting is not None:
        tasks.start_soon(tell, all_servers, server, waiting, notice)


async def settle(connection: Connection) -> None:
    """Have the tools of a server as they are now, where it said that they changed.

    Raises `McpFault`. Bounded.
    """
    session = connection.session
    if connection.relisting or (session is not None and session.list_changed.is_set()):
        await connection.refresh()


async def tell(
    all_servers: Servers,
    server: str,
    waiting: Waiting,
    notice: Callable[[str, NoticeLevel, str], None],
) -> None:
    """Tell people that tools of `server` wait to be seen, and what is suspicious in new ones."""
    settings = all_servers.servers.get(server)
    if settings is None:
        return
    if waiting.any:
        notice(server, "warning", sentence(settings.display_name or server, server, waiting))
        return  # the review shows all the rest
    found = await anyio.to_thread.run_sync(_suspicious, all_servers, server)
    if found:
        names = {flag.tool for flag in found}
        what = f"{len(names)} of its tools" if names != {""} else "its instructions"
        notice(
            server,
            "warning",
            f"Something is suspicious in {what}: {found[0].text} "
            f"Look at it: patina mcp review {server}",
        )


def _suspicious(all_servers: Servers, server: str) -> "tuple[Flag, ...]":
    from patina.mcp.lookalike import flags

    known = _listings(all_servers)
    if server not in known:
        return ()
    found = flags(server, known[server], known, _display(all_servers))
    # Many servers have a `search`: worth a line in the review, but no warning.
    return tuple(flag for flag in found if flag.kind != "same-name")


def flags_of(all_servers: Servers, server: str) -> "tuple[Flag, ...]":
    """Return what is suspicious in the tools of `server`, as far as they are known."""
    from patina.mcp.lookalike import flags

    known = _listings(all_servers)
    return flags(server, known.get(server, Listing()), known, _display(all_servers))


def review_of(all_servers: Servers, server: str) -> "Review":
    """Return what there is to see of `server`, which was connected in this process.

    Raises `McpFault` where it was not.
    """
    from patina.mcp.review import review

    known = _listings(all_servers)
    seen = all_servers.pins.seen(server)
    if seen is None:
        raise McpFault(f"Server {server} is not connected.", hint="Try again.")
    pins = all_servers.pins
    return review(
        server,
        {**known, server: seen},
        pins.pinned(server),
        pins.waiting(server, seen),
        _display(all_servers),
    )


def _listings(all_servers: Servers) -> dict[str, Listing]:
    found = {}
    for name, settings in tuple(all_servers.servers.items()):
        tools = all_servers.definitions(name) if settings.enabled else None
        if tools is not None:
            seen = all_servers.pins.seen(name)
            found[name] = Listing(tools, seen.instructions if seen is not None else "")
    return found


def _display(all_servers: Servers) -> dict[str, str]:
    return {name: one.display_name or name for name, one in all_servers.servers.items()}
