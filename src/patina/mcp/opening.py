"""From the settings of a server to the transport that reaches it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from msgspec import Struct

from patina.mcp import environment
from patina.mcp.diagnosis import no_program
from patina.mcp.leftovers import running_folder
from patina.mcp.server_log import log_path
from patina.mcp.transports.link import Link, Notes, Opener
from patina.mcp.transports.remote import Network, Remote
from patina.mcp.transports.stdio import Command, open_stdio
from patina.model.settings import ServerSettings
from patina.ports.keys import References


class Surroundings(Struct, frozen=True):
    """What servers are started with: secrets by reference, the environment that local servers
    descend from, the folder of logs and of what runs, the way to the network.
    """

    keys: References
    environ: Mapping[str, str]
    state: Path
    network: Network = Network()


def opener(server: str, settings: ServerSettings, around: Surroundings, wait: float) -> Opener:
    """Return what opens a link to `server`; `wait` is the seconds that it may take.

    Opening raises `McpFault` where the server cannot be started or reached, and where a secret
    that it needs is missing.
    """

    @asynccontextmanager
    async def open_link() -> AsyncGenerator[Link]:
        if settings.transport == "stdio":
            # Keys are files, and the PATH may be on a slow disk.
            command = await anyio.to_thread.run_sync(_command, server, settings, around)
            async with open_stdio(command) as link:
                yield link
            return
        remote = await anyio.to_thread.run_sync(_remote, server, settings, around, wait)
        if settings.transport == "websocket":
            from patina.mcp.transports.websocket import open_websocket as open_remote
        elif settings.transport == "sse":
            from patina.mcp.transports.legacy_sse import open_sse as open_remote
        else:
            from patina.mcp.transports.http import open_http as open_remote
        async with open_remote(remote) as link:
            yield link

    return open_link


def _command(server: str, settings: ServerSettings, around: Surroundings) -> Command:
    binary = environment.binary(settings, around.environ)
    if binary is None:
        search = environment.search_path(settings, around.environ)
        raise no_program(server, settings, search)
    own = environment.own(server, settings, around.keys)
    return Command(
        server,
        (binary, *settings.args),
        environment.given(settings, around.environ) | own,
        environment.folder(settings, around.environ),
        log_path(around.state, server),
        tuple(value for name, value in own.items() if value != settings.env[name]),
        running_folder(around.state),
    )


def _remote(server: str, settings: ServerSettings, around: Surroundings, wait: float) -> Remote:
    headers = environment.headers(server, settings, around.keys)
    secrets = tuple(value for name, value in headers.items() if value != settings.headers[name])
    notes = Notes(server, log_path(around.state, server), secrets)
    return Remote(settings.url, headers, notes, around.network, wait=wait)
