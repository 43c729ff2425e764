"""Options that `patina mcp add` and `patina mcp edit` share: one for each setting of a server."""

from collections.abc import Callable
from typing import Final, get_args

import click

from patina.cli.mcp_oauth import PROVIDERS
from patina.model.packages import PACKAGE_TYPES, PROTOCOL_VERSIONS
from patina.model.settings import AuthMode, Connect, Transport

Decorator = Callable[[Callable[..., object]], Callable[..., object]]
VALUES: Final = "Text, env:NAME, secret:NAME or keyfile:PATH."
_SECONDS: Final = click.FloatRange(0, min_open=True)
_TRANSPORTS: Final = ", ".join(get_args(Transport))
_PACKAGES: Final = ", ".join(PACKAGE_TYPES)


def _choice(flag: str, values: tuple[str, ...], metavar: str, text: str) -> Decorator:
    return click.option(flag, type=click.Choice(values), metavar=metavar, help=text)


_OPTIONS: Final[tuple[Decorator, ...]] = (
    click.option("--display-name", metavar="TEXT", help="How people see it."),
    _choice(
        "--transport",
        get_args(Transport),
        "KIND",
        f"{_TRANSPORTS}; told by the address unless set.",
    ),
    click.option("--url", metavar="URL", help="Address of a remote server."),
    click.option("--package", metavar="TYPE:ID", help=f"Run a package; types: {_PACKAGES}."),
    click.option(
        "--env",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        help=f"A variable. {VALUES} NAME= removes it.",
    ),
    click.option(
        "--header",
        "headers",
        multiple=True,
        metavar="NAME=VALUE",
        help="A header for a remote server, as --env; a word may stand first: Bearer secret:NAME.",
    ),
    click.option(
        "--require",
        "required",
        multiple=True,
        metavar="NAME",
        help="Do not start it without this variable; the others are optional then. '' ends that.",
    ),
    click.option("--cwd", metavar="FOLDER", help="Folder it starts in."),
    _choice("--auth-mode", get_args(AuthMode), "MODE", f"{', '.join(get_args(AuthMode))}."),
    _choice(
        "--oauth-provider",
        (*PROVIDERS, ""),
        "NAME",
        f"Who signs you in, where Patina knows them: {', '.join(PROVIDERS)}.",
    ),
    click.option("--client-id", metavar="ID", help="Your own client at whoever signs you in."),
    click.option(
        "--client-secret",
        metavar="REF",
        help="Its secret: - is typed at a prompt or piped in; env:NAME, secret:NAME, keyfile:PATH.",
    ),
    click.option(
        "--client-metadata-url", metavar="URL", help="Address of a client's metadata document."
    ),
    click.option("--scope", metavar="SCOPE", help="What to ask for, sent as it is written."),
    click.option(
        "--oauth-variable", metavar="NAME", help="Where a local server finds its access token."
    ),
    _choice(
        "--connect",
        get_args(Connect),
        "WHEN",
        "auto: when a chat begins; lazy: when it is needed; manual: when it is named.",
    ),
    _choice(
        "--protocol-version", PROTOCOL_VERSIONS, "VERSION", "A version of MCP; auto unless set."
    ),
    click.option(
        "--tool-timeout", type=_SECONDS, metavar="S", help="Seconds that a call may take."
    ),
    click.option(
        "--connect-timeout", type=_SECONDS, metavar="S", help="Seconds that connecting may take."
    ),
    click.option(
        "--idle-timeout",
        type=click.FloatRange(0),
        metavar="S",
        help="Stop it after so many seconds without a call; 0: never.",
    ),
    click.option(
        "--restarts",
        type=click.IntRange(0),
        metavar="N",
        help="How often it is started again when it dies.",
    ),
    click.option(
        "--allow-tool",
        "allowed",
        multiple=True,
        metavar="GLOB",
        help="Offer only these. '' offers all.",
    ),
)


def settings_options(command: Callable[..., object]) -> Callable[..., object]:
    """Give `command` the options, in their order. Each comes by name: None or () if not given."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
