"""The options of `patina mcp add` and `patina mcp edit` that say how to sign in to a server."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import click
from msgspec.structs import replace

from patina.cli.context import Context
from patina.model.faults import UsageFault
from patina.model.settings import OAuthSettings, ServerSettings
from patina.views.terminal_text import safe_text

ASKED: Final = "-"  # the secret is typed at a prompt, or piped in
PROVIDERS: Final = ("github", "google")
# The option, and the setting that it becomes.
FIELDS: Final = {
    "oauth_provider": "provider",
    "client_id": "client_id",
    "client_secret": "client_secret",
    "client_metadata_url": "client_metadata_url",
    "scope": "scope",
    "oauth_variable": "variable",
}
_REFERENCES: Final = ("env:", "secret:", "keyfile:")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# RFC 6749, 3.3 and A.1; a comma parts scopes where an authorization server has it so.
_VISIBLE: Final = re.compile(r"[\x20-\x7e]*")


def oauth_of(settings: ServerSettings, given: Mapping[str, str | None]) -> OAuthSettings:
    """Return how to sign in with what is given; None leaves a setting, "" sets its default.

    Raises `UsageFault`.
    """
    named = {option: value for option, value in given.items() if value is not None}
    for option, value in named.items():
        _check(settings, option, value)
    changed = {FIELDS[option]: value for option, value in named.items()}
    oauth = replace(settings.oauth, **changed) if changed else settings.oauth
    if any(named.values()) and settings.transport == "stdio" and not oauth.variable:
        raise UsageFault(
            "A server that is started here gets its token in a variable, and none is named.",
            hint="Name it: --oauth-variable GITHUB_TOKEN",
        )
    return oauth


def _check(settings: ServerSettings, option: str, value: str) -> None:
    flag = f"--{option.replace('_', '-')}"
    if not _VISIBLE.fullmatch(value):
        raise UsageFault(f"{flag} has characters that it cannot have.")
    if option == "client_secret" and value and not value.startswith(_REFERENCES):
        raise UsageFault(
            "--client-secret takes no secret: others could read it there.",
            hint="Give - to type it at a prompt or to pipe it in, or env:NAME, secret:NAME, "
            "keyfile:PATH.",
        )
    if option == "client_metadata_url" and value and urlsplit(value).scheme != "https":
        raise UsageFault(f"{flag} is not an address.", hint="It begins with https://")
    if option == "oauth_variable" and value:
        if settings.transport != "stdio":
            raise UsageFault(
                f"{flag} is for servers that are started here; this one has a URL.",
                hint="A remote server is sent its token without being told how.",
            )
        if not _VARIABLE.fullmatch(value):
            raise UsageFault(f"{flag} {value} is not the name of a variable.")


def reference_of(server: str, client_secret: str | None) -> str | None:
    """Return what stands in the configuration for `--client-secret`."""
    return f"secret:{_name(server)}" if client_secret == ASKED else client_secret


def keep_secret(run: Context, server: str, client_secret: str | None) -> None:
    """Read the client's secret and keep it, where it is to be asked for. Raises `UsageFault`."""
    if client_secret != ASKED:
        return
    from patina.cli.keys import read_secret

    name = _name(server)
    run.keys.set(name, read_secret(name, f"Secret of the client of {server}"))
    click.echo(safe_text(f"It is kept as secret:{name}."), err=True)


def _name(server: str) -> str:
    return f"{server}/client_secret"


def sign_in_hint(server: str, settings: ServerSettings) -> str:
    """Return what to say of signing in to a server that was just added; "" where nothing."""
    if not settings.enabled or settings.auth_mode in ("none", "bearer", "server"):
        return ""
    command = f"`patina mcp login {server}`"
    if settings.oauth != OAuthSettings() or settings.auth_mode in ("client", "client_credentials"):
        return f"Sign in with {command}."
    if settings.transport == "stdio" or any(
        name.lower() == "authorization" for name in settings.headers
    ):
        return ""
    return f"If it wants you to sign in: {command}."
