"""Servers written to the configuration, their secrets to the keys; and all that is forgotten."""

from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import click
import msgspec
from msgspec.structs import replace

from patina.cli.context import Context
from patina.config.exposed import exposed
from patina.config.keys import names_secret
from patina.config.save import remove_table, set_table
from patina.mcp.definitions import ToolListCache
from patina.mcp.diagnosis import program
from patina.mcp.package import with_command
from patina.mcp.pins import Pins
from patina.mcp.server_log import log_path
from patina.mcp.trust import Trust
from patina.model.settings import OAuthSettings, ServerSettings
from patina.views.terminal_text import safe_text

_REFERENCES: Final = ("env:", "secret:", "keyfile:")


def plain(settings: ServerSettings) -> dict[str, Any]:
    """Return what the configuration file has of `settings`: only what is not a default."""
    values: dict[str, Any] = msgspec.to_builtins(settings)
    # The library compares with defaults by identity, which two equal numbers need not have.
    usual = ServerSettings()
    given = {name for name in values if getattr(settings, name) != getattr(usual, name)}
    return {
        "transport": settings.transport,
        **{name: value for name, value in values.items() if name in given},
    }


def save(run: Context, server: str, settings: ServerSettings, *, consent: bool) -> ServerSettings:
    """Write a server down, its literal secrets into the keys; with `consent`, allow its start.

    Returns what was written.
    """
    settings = _secrets_in_env(settings)
    env, headers = dict(settings.env), dict(settings.headers)
    for name, value in settings.env.items():
        if names_secret(name) and not value.startswith(_REFERENCES):
            env[name] = _kept(run, server, name, value)
    for name, value in settings.headers.items():
        scheme, secret = _credential(value)
        if _is_credential(name) and not secret.startswith(_REFERENCES):
            headers[name] = scheme + _kept(run, server, name, secret)
    settings = replace(settings, env=env, headers=headers, oauth=_kept_oauth(run, server, settings))
    set_table(run.paths, f"mcp_servers.{server}", plain(settings))
    for sentence in exposed(server, {"args": settings.args, "url": settings.url}):
        click.echo(safe_text(sentence), err=True)
    if consent and settings.transport == "stdio":
        trust_of(run, server, settings).trust(server)
    return settings


def show_destination(settings: ServerSettings) -> None:
    """Say on stderr where a remote server is, what it is sent, and what others may read."""
    if settings.transport == "stdio":
        return
    parts = urlsplit(settings.url)
    host = parts.hostname or ""
    sent = f" It is sent: {', '.join(settings.headers)}." if settings.headers else ""
    text = f"It points to {host} ({settings.transport}); nothing was contacted yet.{sent}"
    click.echo(safe_text(text), err=True)
    if parts.scheme.lower() in ("http", "ws") and not _is_this_machine(host):
        text = f"What is sent to {host} is not encrypted: others may read it on its way."
        click.echo(safe_text(text), err=True)


def _is_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.") or host.endswith(".localhost")


def _kept(run: Context, server: str, name: str, value: str) -> str:
    """Keep a secret and return the reference to it."""
    reference = f"secret:{server}/{name}"
    run.keys.set(f"{server}/{name}", value)
    click.echo(safe_text(f"{name} is kept as {reference}."), err=True)
    return reference


def _kept_oauth(run: Context, server: str, settings: ServerSettings) -> OAuthSettings:
    oauth = settings.oauth
    for name in ("client_secret", "private_key"):
        value = getattr(oauth, name)
        if value and not value.startswith(_REFERENCES):
            oauth = replace(oauth, **{name: _kept(run, server, name, value)})
    return oauth


def _is_credential(header: str) -> bool:
    return names_secret(header) or header.lower() == "cookie"


def _credential(value: str) -> tuple[str, str]:
    """Part `Bearer TOKEN` into the scheme with its space ("" without one) and the rest."""
    scheme, space, rest = value.partition(" ")
    return (f"{scheme} ", rest.strip()) if space and scheme.isalpha() else ("", value)


def trust_of(run: Context, server: str, settings: ServerSettings) -> Trust:
    """Return the consent to `server` alone, with the command that its package means."""
    filled = {server: with_command(settings)}
    return Trust(filled, run.environment.process, run.paths.data)


def _secrets_in_env(settings: ServerSettings) -> ServerSettings:
    """Return `settings` with `docker run -e NAME=SECRET` as `-e NAME` and a variable.

    Docker takes the value from its own environment then, and the configuration holds no secret.
    """
    image = settings.package.get("identifier", "")
    if program(settings.command) not in ("docker", "podman") or image not in settings.args:
        return settings
    args, env = list(settings.args), dict(settings.env)
    for place in range(args.index(image)):
        flag, equals, rest = args[place].partition("=")
        if args[place] in ("-e", "--env"):
            place, rest = place + 1, args[place + 1]
        elif flag != "--env" or not equals:
            continue
        name, _, value = rest.partition("=")
        if value and names_secret(name):
            args[place] = args[place].removesuffix(f"={value}")
            env[name] = value
    return replace(settings, args=tuple(args), env=env)


def trusted(run: Context, server: str, settings: ServerSettings) -> bool:
    """Whether `server` may be started as it is configured."""
    return trust_of(run, server, settings).is_trusted(server)


def forget(run: Context, server: str) -> None:
    """Remove a server, the consent to it and its tools, its secrets and its log."""
    settings = run.load().settings.mcp_servers[server]
    secrets = [name for name in run.keys.names() if name.startswith(f"{server}/")]
    remove_table(run.paths, f"mcp_servers.{server}")
    trust = trust_of(run, server, settings)
    trust.forget(server)
    Pins(run.paths.data, trust.key).forget(server)
    ToolListCache(run.paths.cache).forget(server)
    for name in secrets:
        run.keys.remove(name)
    path = log_path(run.paths.state, server)
    with suppress(OSError):  # the log holds no secrets, and may be deleted at any time
        for file in (path, path.with_name(f"{path.name}.1")):
            file.unlink(missing_ok=True)
