"""What the words of `patina mcp add` and `mcp edit` mean, and the question before a change."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
from msgspec.structs import replace

from patina.cli.context import Context
from patina.cli.mcp_given import package_of
from patina.cli.tty import Person
from patina.mcp.environment import binary
from patina.mcp.oneline import LONGEST_NAME, package_name, parse_add, slug
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


def from_words(
    run: Context,
    words: Sequence[str],
    name: str | None,
    *,
    behind: int | None,
    url: str | None,
    package: str | None,
    cwd: str | None,
) -> tuple[str, ServerSettings]:
    """Return the name and settings that the words of `mcp add` mean. Raises `UsageFault`.

    `behind` counts the words behind "--", None without one. There a command stands, and a name
    before it; with `package`, its arguments. Otherwise the words are one line, or a name and a
    line or address, or, with `url` or `package`, a name.
    """
    before: Sequence[str] = words if behind is None else words[: len(words) - behind]
    line: Sequence[str] = words[len(before) :]
    if behind == 0:
        raise UsageFault("There is no command after --.")
    check_one(url=url, package=package, command=line if package is None else ())
    if url is not None or package is not None:
        if len(before) > 1:
            raise UsageFault("A server has either a URL, a package or a command.")
        line = line if url is None else [url]
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
    if package is not None:
        settings = with_package(ServerSettings(), package, line)
        return given or package_name(settings.package), settings
    suggested, settings = _parsed(run, line, cwd)
    return given or suggested, settings


def check_one(*, url: str | None, package: str | None, command: Sequence[str]) -> None:
    """Raise `UsageFault` where a server would be more than one thing."""
    if (url is not None) + (package is not None) + bool(command) > 1:
        raise UsageFault("A server has either a URL, a package or a command, not both.")


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


def with_package(
    settings: ServerSettings, package: str, args: Sequence[str] = ()
) -> ServerSettings:
    """Return `settings` with a package, `TYPE:ID`, to be run with `args`. Raises `UsageFault`."""
    return replace(
        settings,
        transport="stdio",
        url="",
        source={},
        command="",
        args=tuple(args),
        package=package_of(package),
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
