"""Changes to the servers of the configuration, and to the consent to start them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import click
import msgspec
from msgspec.structs import replace

from patina.cli.context import Context
from patina.cli.tty import Person
from patina.config.keys import names_secret
from patina.config.save import remove_table, set_table
from patina.mcp.oneline import parse_add, slug
from patina.mcp.server_log import log_path
from patina.mcp.trust import Trust
from patina.model.faults import PermissionFault, UsageFault
from patina.model.settings import ServerSettings
from patina.views.terminal_text import safe_text


def from_words(
    run: Context,
    words: Sequence[str],
    name: str | None,
    *,
    dashes: bool,
    url: str | None,
    transport: str | None,
) -> tuple[str, ServerSettings]:
    """Return the name and settings that the words of `mcp add` mean. Raises `UsageFault`.

    One word, or several without "--", are one line; with "--" or `url`, the first is the name.
    """
    line: str | Sequence[str] = words[0] if len(words) == 1 else words
    if url is not None or dashes:
        if url is not None and len(words) > 1:
            raise UsageFault("A server has either a URL or a command, not both.")
        if len(words) == 1 and url is None:
            raise UsageFault("There is no command after --.")
        name = name or slug(words[0])
        line = url if url is not None else words[1:]
    suggested, settings = parse_add(line, environ=run.environment, folder=Path.cwd())
    if transport is not None and (transport == "stdio") != (settings.transport == "stdio"):
        raise UsageFault(
            f"{transport} does not fit: this is a {settings.transport} server.",
            hint="Remote transports need --url, stdio a command.",
        )
    if transport is not None:
        settings = msgspec.convert(
            {**msgspec.to_builtins(settings), "transport": transport}, ServerSettings
        )
    return name or suggested, settings


def with_command(run: Context, settings: ServerSettings, command: Sequence[str]) -> ServerSettings:
    """Return `settings` with another command. Raises `UsageFault`."""
    _, parsed = parse_add(command, environ=run.environment, folder=Path.cwd())
    if parsed.transport != "stdio":
        raise UsageFault("A command was expected.", hint="Use --url for an address.")
    return replace(
        settings,
        transport="stdio",
        url="",
        command=parsed.command,
        args=parsed.args,
        cwd=parsed.cwd or settings.cwd,
        env={**settings.env, **parsed.env},
        package=parsed.package,
    )


def changed(
    settings: ServerSettings,
    *,
    variables: Sequence[str] = (),
    allowed: Sequence[str] = (),
    **given: Any,  # noqa: ANN401 - values of settings; None leaves one as it is
) -> ServerSettings:
    """Return `settings` with what is given. `NAME=` removes a variable. Raises `UsageFault`."""
    env = dict(settings.env)
    for variable in variables:
        name, equals, value = variable.partition("=")
        if not equals or not name:
            raise UsageFault(f"--env {variable} is not NAME=VALUE.")
        env.pop(name, None)
        if value:
            env[name] = value
    fields = {name: value for name, value in given.items() if value is not None}
    if allowed:
        fields["allowed_tools"] = tuple(allowed)
    return replace(settings, env=env, **fields)


def plain(settings: ServerSettings) -> dict[str, Any]:
    """Return what the configuration file has of `settings`: only what is not a default."""
    values: dict[str, Any] = msgspec.to_builtins(settings)
    return {"transport": settings.transport, **values}


def save(run: Context, server: str, settings: ServerSettings, *, consent: bool) -> None:
    """Write a server down, its literal secrets into the keys; with `consent`, allow its start."""
    env = dict(settings.env)
    for name, value in settings.env.items():
        if names_secret(name) and not value.startswith(("env:", "secret:", "keyfile:")):
            run.keys.set(f"{server}/{name}", value)
            env[name] = f"secret:{server}/{name}"
            click.echo(f"{name} is kept as secret:{server}/{name}.", err=True)
    settings = replace(settings, env=env)
    set_table(run.paths, f"mcp_servers.{server}", plain(settings))
    if consent and settings.transport == "stdio":
        Trust({server: settings}, run.environment.process, run.paths.data).trust(server)


def forget(run: Context, server: str) -> None:
    """Remove a server, the consent to it, its secrets and its log."""
    settings = run.load().settings.mcp_servers[server]
    remove_table(run.paths, f"mcp_servers.{server}")
    Trust({server: settings}, run.environment.process, run.paths.data).forget(server)
    for name in run.keys.names():
        if name.startswith(f"{server}/"):
            run.keys.remove(name)
    log_path(run.paths.state, server).unlink(missing_ok=True)


def confirm(question: str, flag: str) -> None:
    """Ask a person. Raises `PermissionFault` where nobody is there or the answer is no."""
    person = Person()
    if not person.present:
        raise PermissionFault("Nobody is here to confirm it.", hint=f"Run `{flag}`.")
    if not anyio.run(person.confirm, safe_text(question)):
        sys.stderr.write("Nothing was changed.\n")
        raise click.Abort
