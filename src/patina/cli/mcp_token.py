"""`patina mcp token`: the fixed key of a server, kept as a secret (C-10)."""

import re
from typing import Final

import click
from msgspec.structs import replace

from patina.cli.context import Context, context
from patina.cli.mcp_change import configured_server
from patina.model.faults import EXIT_OK, UsageFault
from patina.model.settings import ServerSettings
from patina.views.terminal_text import safe_text

_USUAL: Final = "Authorization"
_HEADER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # what may also name a secret
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# RFC 9110, 5.5 and 11.4: what a key may be made of, and a scheme before it.
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_WITH_SCHEME: Final = re.compile(r"([A-Za-z]+) +([\x21-\x7e]+)")


@click.command()
@click.argument("server")
@click.option(
    "--header", metavar="NAME", help="The header it is sent in; Authorization unless set."
)
@click.option("--variable", metavar="NAME", help="The variable that a local server finds it in.")
@click.option("--remove", is_flag=True, help="Forget it.")
@click.pass_context
def token(
    ctx: click.Context, server: str, header: str | None, variable: str | None, remove: bool
) -> int:
    r"""Keep a token or key of SERVER; it is typed at a prompt or piped in, never an argument.

    \b
    Examples:
      patina mcp token github
      pass show jira | patina mcp token jira --header X-Api-Key
      patina mcp token files --variable FILES_TOKEN
    """
    run = context(ctx)
    settings = configured_server(run, server)
    place = _place(server, settings, header, variable)
    if remove:
        _remove(run, server, settings, place)
        click.echo(f"{server} has no key in {place} any more.", err=True)
    else:
        _keep(run, server, settings, place)
        click.echo(safe_text(f"Try it: `patina mcp test {server}`"), err=True)
    return EXIT_OK


def header_of(settings: ServerSettings) -> str:
    """Return the name of the header that holds a server's fixed key, "" where there is none."""
    from patina.config.keys import names_secret

    if settings.transport == "stdio":
        return ""
    names = sorted(settings.headers, key=lambda name: name.lower() != "authorization")
    return next((name for name in names if names_secret(name)), "")


def _place(server: str, settings: ServerSettings, header: str | None, variable: str | None) -> str:
    """Return the header or variable that the key is to be in. Raises `UsageFault`."""
    if settings.transport != "stdio":
        if variable is not None:
            raise UsageFault(
                "--variable is for servers that are started here; this one has a URL.",
                hint="Name the header that it is sent in with --header.",
            )
        name = header or _USUAL
        if not _HEADER.fullmatch(name):
            raise UsageFault("That is not the name of a header.", hint="Such as X-Api-Key.")
        return next((known for known in settings.headers if known.lower() == name.lower()), name)
    if header is not None:
        raise UsageFault(
            "--header is for servers with a URL; this one is a command.",
            hint="Name the variable that it finds it in with --variable.",
        )
    name = variable or _only_secret(settings)
    if not _VARIABLE.fullmatch(name):
        raise UsageFault(
            f"Which variable does {server} find it in?", hint="Name it: --variable NAME"
        )
    return name


def _only_secret(settings: ServerSettings) -> str:
    """Return the one variable of a local server that is named like a secret, else ""."""
    from patina.config.keys import names_secret

    names = [name for name in settings.env if names_secret(name)]
    return names[0] if len(names) == 1 else ""


def _keep(run: Context, server: str, settings: ServerSettings, place: str) -> None:
    from patina.cli import mcp_keep
    from patina.cli.keys import read_secret

    given = read_secret(f"{server}/{place}", f"Token of {server} for {place}")
    scheme, secret = "", given
    remote = settings.transport != "stdio"
    if remote and place.lower() == _USUAL.lower():
        match = _WITH_SCHEME.fullmatch(given)
        scheme, secret = (match[1], match[2]) if match else ("Bearer", given)
    if remote and not _VISIBLE.fullmatch(secret):
        raise UsageFault("That is no token: it has a space or another character that none has.")
    was_trusted = mcp_keep.trusted(run, server, settings)
    run.keys.set(f"{server}/{place}", secret)
    reference = f"secret:{server}/{place}"
    value = f"{scheme} {reference}".lstrip()
    if remote:
        mode = "server" if settings.auth_mode == "server" else "bearer"
        headers = {**settings.headers, place: value}
        settings = replace(settings, headers=headers, auth_mode=mode)
    else:
        settings = replace(settings, env={**settings.env, place: value})
    mcp_keep.save(run, server, settings, consent=was_trusted)
    click.echo(safe_text(f"It is kept as {reference}."), err=True)
    mcp_keep.show_destination(settings)


def _remove(run: Context, server: str, settings: ServerSettings, place: str) -> None:
    from patina.cli import mcp_keep

    remote = settings.transport != "stdio"
    given = settings.headers if remote else settings.env
    if place not in given:
        raise UsageFault(f"{server} has no key in {place}.")
    left = {name: value for name, value in given.items() if name != place}
    was_trusted = mcp_keep.trusted(run, server, settings)
    if remote:
        settings = replace(settings, headers=left)
        if settings.auth_mode == "bearer" and not header_of(settings):
            settings = replace(settings, auth_mode="auto")
    else:
        settings = replace(settings, env=left)
    mcp_keep.save(run, server, settings, consent=was_trusted)
    name = given[place].rpartition("secret:")[2]
    if name.startswith(f"{server}/") and name in run.keys.names():
        run.keys.remove(name)
