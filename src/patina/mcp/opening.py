"""From the settings of a server to the transport that reaches it."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from msgspec import Struct
from msgspec.structs import replace

from patina.mcp import environment
from patina.mcp.auth.failing import SIGN_IN, SignInFault
from patina.mcp.diagnosis import no_program
from patina.mcp.failing import sign_in_fault
from patina.mcp.key_hints import refused
from patina.mcp.leftovers import running_folder
from patina.mcp.server_log import log_path
from patina.mcp.transports.kept_headers import KeptHeaders
from patina.mcp.transports.link import Link, Notes, Opener
from patina.mcp.transports.remote import Network, Refused, Remote
from patina.mcp.transports.stdio import Command, open_stdio
from patina.model.masking import Mask, unmasked
from patina.model.settings import ServerSettings
from patina.ports.keys import References

if TYPE_CHECKING:
    from patina.mcp.auth.sign_ins import SignIns


class Surroundings(Struct, frozen=True):
    """What servers are started with: secrets by reference, the environment that local servers
    descend from, the folder of logs and of what runs, the way to the network, and who is signed in
    where (None: nobody can be). `mask` masks secrets in what servers say.
    """

    keys: References
    environ: Mapping[str, str]
    state: Path
    network: Network = Network()
    sign_ins: "SignIns | None" = None
    mask: Mask = unmasked


def opener(server: str, settings: ServerSettings, around: Surroundings, wait: float) -> Opener:
    """Return what opens a link to `server`; `wait` is the seconds that it may take.

    Opening raises `McpFault` where the server cannot be started or reached, where a secret that it
    needs is missing, and, with the code `SIGN_IN`, where a person has to sign in to it first.
    """

    @asynccontextmanager
    async def open_link() -> AsyncGenerator[Link]:
        if settings.transport == "stdio":
            given = await _signed_in(server, settings, around)
            # Keys are files, and the PATH may be on a slow disk.
            command = await anyio.to_thread.run_sync(_command, server, settings, around, given)
            async with open_stdio(command) as link:
                yield link
            return
        remote = await remote_of(server, settings, around, wait)
        if settings.transport == "websocket":
            from patina.mcp.transports.websocket import open_websocket as open_remote
        elif settings.transport == "sse":
            from patina.mcp.transports.legacy_sse import open_sse as open_remote
        else:
            from patina.mcp.transports.http import open_http as open_remote
        async with open_remote(remote) as link:
            yield link

    return open_link


async def _signed_in(server: str, settings: ServerSettings, around: Surroundings) -> dict[str, str]:
    """Return the variables that a local server finds the tokens of its sign-in in (A-57)."""
    if around.sign_ins is None or not settings.oauth.variable:
        return {}
    try:
        return await around.sign_ins.variables(server, settings)
    except SignInFault as fault:
        if fault.failure.code == SIGN_IN:
            raise sign_in_fault(server) from None
        raise


def _command(
    server: str, settings: ServerSettings, around: Surroundings, given: Mapping[str, str]
) -> Command:
    binary = environment.binary(settings, around.environ)
    if binary is None:
        search = environment.search_path(settings, around.environ)
        raise no_program(server, settings, search)
    if given:
        kept = {name: value for name, value in settings.env.items() if name not in given}
        required = tuple(name for name in settings.required if name not in given)
        settings = replace(settings, env=kept, required=required)
    own = environment.own(server, settings, around.keys)
    secrets = [value for name, value in own.items() if value != settings.env[name]]
    return Command(
        server,
        (binary, *settings.args),
        environment.given(settings, around.environ) | own | dict(given),
        environment.folder(settings, around.environ),
        log_path(around.state, server),
        (*secrets, *given.values()),
        running_folder(around.state),
    )


async def remote_of(
    server: str, settings: ServerSettings, around: Surroundings, wait: float
) -> Remote:
    """Return where a remote server is and what it is sent. Raises `McpFault`."""
    # Keys are files.
    headers = await anyio.to_thread.run_sync(environment.headers, server, settings, around.keys)
    secret = [value for name, value in headers.items() if value != settings.headers[name]]
    # Servers repeat a key without the word before it.
    secrets = tuple(dict.fromkeys((*secret, *(value.rpartition(" ")[2] for value in secret))))
    notes = Notes(server, log_path(around.state, server), secrets)
    auth = around.sign_ins.authority(server, settings) if around.sign_ins is not None else None
    said = refused(server, settings) if auth is None else Refused()
    if auth is None and secrets:
        auth = KeptHeaders(headers, lambda: environment.headers(server, settings, around.keys))
    return Remote(settings.url, headers, notes, around.network, auth, wait, said)
