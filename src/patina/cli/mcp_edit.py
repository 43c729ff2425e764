"""Changes to the servers of the configuration, and to the consent to start them."""

import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from msgspec.structs import replace

from patina.cli.context import Context
from patina.cli.tty import Person
from patina.config.keys import names_secret
from patina.config.save import remove_table, set_table
from patina.mcp.diagnosis import program
from patina.mcp.environment import binary
from patina.mcp.oneline import LONGEST_NAME, parse_add, slug
from patina.mcp.server_log import log_path
from patina.mcp.trust import Trust
from patina.model.faults import PermissionFault, UsageFault
from patina.model.settings import ServerSettings, Transport
from patina.views.terminal_text import safe_text

_NAME: Final = re.compile(rf"[a-z0-9_-]{{1,{LONGEST_NAME}}}")
_NEEDS: Final = {
    "stdio": "a command",
    "streamable-http": "an http(s) address",
    "sse": "an http(s) address",
    "websocket": "a ws(s) address",
}
_REFERENCES: Final = ("env:", "secret:", "keyfile:")
_SHORTEST_SECRET: Final = 8


def from_words(
    run: Context,
    words: Sequence[str],
    name: str | None,
    *,
    behind: int | None,
    url: str | None,
    cwd: str | None,
) -> tuple[str, ServerSettings]:
    """Return the name and settings that the words of `mcp add` mean. Raises `UsageFault`.

    `behind` counts the words behind "--", None without one. There a command stands, and a name
    before it. Otherwise the words are one line, or a name and a line or address, or, with `url`,
    a name.
    """
    before: Sequence[str] = words if behind is None else words[: len(words) - behind]
    line: Sequence[str] = words[len(before) :]
    if behind == 0:
        raise UsageFault("There is no command after --.")
    if url is not None:
        if line or len(before) > 1:
            raise UsageFault("A server has either a URL or a command, not both.")
        line = [url]
    elif behind is None:
        before, line = _name_and_line(run, words)
    if len(before) > 1:
        raise UsageFault(
            f"Only a name can stand before --, not {' '.join(before)}.",
            hint="The whole command stands after it.",
        )
    if before and name is not None:
        raise UsageFault(f"Two names are given: {before[0]} and --name {name}.")
    given = before[0] if before else name
    if given is not None:
        check_name(given)
    suggested, settings = _parsed(run, line, cwd)
    return given or suggested, settings


def _name_and_line(run: Context, words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Part NAME 'ONE LINE' and NAME URL from a command: the first word is no program then."""
    if not words:
        raise UsageFault(
            "There is no server to add.",
            hint="Give a line such as 'npx -y PACKAGE', or NAME -- COMMAND, or NAME --url URL.",
        )
    if len(words) == 2 and ("://" in words[1] or len(words[1].split()) > 1):
        first = ServerSettings(command=words[0], cwd=str(Path.cwd()))
        if "/" not in words[0] and binary(first, run.environment) is None:
            return words[:1], words[1:]
    return (), words


def _parsed(run: Context, line: Sequence[str], cwd: str | None) -> tuple[str, ServerSettings]:
    folder = Path.cwd() if not cwd else Path(cwd).expanduser().absolute()
    return parse_add(line, environ=run.environment, folder=folder)


def check_name(name: str) -> None:
    """Raise `UsageFault` where a server cannot be called `name`."""
    if not _NAME.fullmatch(name):
        raise UsageFault(
            f"{name} is not a name for a server; allowed are a to z, 0 to 9, _ and -, "
            f"{LONGEST_NAME} characters at most.",
            hint=f"What fits is {slug(name)}; --display-name may be anything.",
        )


def with_transport(settings: ServerSettings, transport: str | None) -> ServerSettings:
    """Return `settings` with the transport that was asked for. Raises `UsageFault`."""
    if transport is None:
        return settings
    if _NEEDS[transport] != _NEEDS[settings.transport]:
        raise UsageFault(
            f"--transport {transport} needs {_NEEDS[transport]}, this is "
            f"{_NEEDS[settings.transport]}.",
            hint="Remote transports need --url, stdio a command.",
        )
    return replace(settings, transport=msgspec.convert(transport, Transport))


def with_command(
    run: Context, settings: ServerSettings, command: Sequence[str], cwd: str | None
) -> ServerSettings:
    """Return `settings` with another command. Raises `UsageFault`."""
    _, parsed = _parsed(run, command, cwd)
    if parsed.transport != "stdio":
        raise UsageFault("A command was expected after --.", hint="Use --url for an address.")
    return replace(
        settings,
        transport="stdio",
        url="",
        source={},
        command=parsed.command,
        args=parsed.args,
        cwd=parsed.cwd or settings.cwd,
        env={**settings.env, **parsed.env},
        package=parsed.package,
    )


def with_url(run: Context, settings: ServerSettings, url: str) -> ServerSettings:
    """Return `settings` with another address, and without a command. Raises `UsageFault`."""
    _, parsed = _parsed(run, [url], None)
    if parsed.transport == "stdio":
        raise UsageFault(f"{url} is not an address.", hint="A command stands after --.")
    same = settings.transport != "stdio" and _NEEDS[settings.transport] == _NEEDS[parsed.transport]
    return replace(
        settings,
        transport=settings.transport if same else parsed.transport,
        url=parsed.url,
        source=parsed.source,
        command="",
        args=(),
        package={},
    )


def changed(
    settings: ServerSettings,
    *,
    variables: Sequence[str] = (),
    allowed: Sequence[str] = (),
    cwd: str | None = None,
    **given: Any,  # noqa: ANN401 - values of settings; None leaves one as it is
) -> ServerSettings:
    """Return `settings` with what is given. `NAME=` removes a variable. Raises `UsageFault`."""
    env = dict(settings.env)
    for variable in variables:
        name, equals, value = variable.partition("=")
        if not equals or not name:
            raise UsageFault(
                f"--env {name} is not NAME=VALUE.", hint=f"Such as --env {name or 'NAME'}=text."
            )
        env.pop(name, None)
        if value:
            env[name] = value
    fields = {name: value for name, value in given.items() if value is not None}
    if allowed:
        fields["allowed_tools"] = tuple(allowed)
    if cwd is not None:
        fields["cwd"] = _folder(cwd)
    return replace(settings, env=env, **fields)


def _folder(text: str) -> str:
    """Return `--cwd` so that it means the same wherever Patina is started."""
    folder = Path(text).expanduser()
    if text and not folder.is_dir():
        raise UsageFault(f"There is no folder {text}.", hint="Make it, or correct --cwd.")
    return text if not text or text.startswith("~") else str(folder.absolute())


def plain(settings: ServerSettings) -> dict[str, Any]:
    """Return what the configuration file has of `settings`: only what is not a default."""
    values: dict[str, Any] = msgspec.to_builtins(settings)
    return {"transport": settings.transport, **values}


def save(run: Context, server: str, settings: ServerSettings, *, consent: bool) -> ServerSettings:
    """Write a server down, its literal secrets into the keys; with `consent`, allow its start.

    Returns what was written.
    """
    settings = _secrets_in_env(settings)
    env = dict(settings.env)
    for name, value in settings.env.items():
        if names_secret(name) and not value.startswith(_REFERENCES):
            run.keys.set(f"{server}/{name}", value)
            env[name] = f"secret:{server}/{name}"
            click.echo(safe_text(f"{name} is kept as {env[name]}."), err=True)
    settings = replace(settings, env=env)
    set_table(run.paths, f"mcp_servers.{server}", plain(settings))
    if _shows_secret(settings.args):
        click.echo(
            "An argument looks like a secret. It stands in the configuration as it is: where the "
            "server can read it from a variable, use --env NAME=VALUE instead.",
            err=True,
        )
    if consent and settings.transport == "stdio":
        _trust(run, server, settings).trust(server)
    return settings


def _trust(run: Context, server: str, settings: ServerSettings) -> Trust:
    return Trust({server: settings}, run.environment.process, run.paths.data)


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


def _shows_secret(args: Sequence[str]) -> bool:
    """Whether an argument is named like a secret and has a value that may be one."""
    pairs = [*pairwise(args), *(arg.split("=", 1) for arg in args if "=" in arg)]
    return any(
        name.startswith("-")
        and names_secret(name)
        and len(value) >= _SHORTEST_SECRET
        and not value.startswith(("-", "/", ".", "~"))
        for name, value in pairs
    )


def trusted(run: Context, server: str, settings: ServerSettings) -> bool:
    """Whether `server` may be started as it is configured."""
    return _trust(run, server, settings).is_trusted(server)


def forget(run: Context, server: str) -> None:
    """Remove a server, the consent to it, its secrets and its log."""
    settings = run.load().settings.mcp_servers[server]
    secrets = [name for name in run.keys.names() if name.startswith(f"{server}/")]
    remove_table(run.paths, f"mcp_servers.{server}")
    _trust(run, server, settings).forget(server)
    for name in secrets:
        run.keys.remove(name)
    path = log_path(run.paths.state, server)
    with suppress(OSError):  # the log holds no secrets, and may be deleted at any time
        for file in (path, path.with_name(f"{path.name}.1")):
            file.unlink(missing_ok=True)


def confirm(question: str, flag: str) -> bool:
    """Ask a person; whether the answer is yes. Raises `PermissionFault` where nobody is there."""
    import anyio

    person = Person()
    if not person.present:
        raise PermissionFault("Nobody is here to confirm it.", hint=f"Run `{flag}`.")
    if anyio.run(person.confirm, safe_text(question)):
        return True
    click.echo("Nothing was changed.", err=True)
    return False
