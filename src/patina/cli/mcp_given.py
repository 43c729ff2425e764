"""What the options of `patina mcp add` and `patina mcp edit` mean for the settings of a server."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from patina.cli import mcp_oauth
from patina.model.faults import UsageFault
from patina.model.packages import PACKAGE_TYPES, is_package_word
from patina.model.settings import ServerSettings

# RFC 9110, 5.6.2: what the name of a header is made of.
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[^\x00-\x1f\x7f]*")


def changed(
    settings: ServerSettings,
    *,
    variables: Sequence[str] = (),
    headers: Sequence[str] = (),
    required: Sequence[str] = (),
    allowed: Sequence[str] = (),
    cwd: str | None = None,
    auth_mode: str | None = None,
    **given: Any,  # noqa: ANN401 - values of settings; None leaves one as it is
) -> ServerSettings:
    """Return `settings` with what is given. `NAME=` removes a variable or header, an empty text
    alone the whole list of `required` or `allowed`. Raises `UsageFault`.
    """
    local = {"--env": _adds(variables), "--require": any(required), "--cwd": bool(cwd)}
    remote = {"--header": _adds(headers), "--auth-mode": auth_mode is not None}
    _check_place(settings, local, remote)
    oauth = {option: given.pop(option, None) for option in mcp_oauth.FIELDS}
    fields = {name: value for name, value in given.items() if value is not None}
    if auth_mode is not None:
        fields["auth_mode"] = auth_mode
    if allowed:
        fields["allowed_tools"] = tuple(allowed) if any(allowed) else None
    if required:
        fields["required"] = tuple(name for name in required if name)
    if cwd is not None:
        fields["cwd"] = _folder(cwd)
    env = dict(settings.env)
    for name, value in _pairs("--env", variables):
        env.pop(name, None)
        if value:
            env[name] = value
    return replace(
        settings,
        env=env,
        headers=_headers(settings.headers, headers),
        oauth=mcp_oauth.oauth_of(settings, oauth),
        **fields,
    )


def package_of(text: str) -> dict[str, str]:
    """Return the package that `--package TYPE:ID` means. Raises `UsageFault`."""
    kind, colon, identifier = text.partition(":")
    if not colon or kind not in PACKAGE_TYPES or not is_package_word(identifier):
        raise UsageFault(
            f"--package {text} is not TYPE:ID.",
            hint=f"Types are {', '.join(PACKAGE_TYPES)}, such as npm:@github/mcp-server.",
        )
    return {"type": kind, "identifier": identifier}


def _check_place(
    settings: ServerSettings, local: Mapping[str, bool], remote: Mapping[str, bool]
) -> None:
    """Raise `UsageFault` for an option that would do nothing for such a server."""
    here = settings.transport == "stdio"
    wrong = next((flag for flag, given in (remote if here else local).items() if given), None)
    if wrong and here:
        raise UsageFault(
            f"{wrong} is for servers with a URL; this one is a command.",
            hint="Give a local server its credentials with --env.",
        )
    if wrong:
        raise UsageFault(
            f"{wrong} is for servers that are started here; this one has a URL.",
            hint="Give a remote server its credentials with --header.",
        )


def _headers(old: Mapping[str, str], given: Sequence[str]) -> dict[str, str]:
    """Return `old` with what is given; letter case makes no other header."""
    headers = dict(old)
    for name, value in _pairs("--header", given):
        if not _HEADER.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise UsageFault(
                f"--header {name} is not a header.",
                hint="Such as --header 'Authorization=Bearer secret:NAME'.",
            )
        headers = {other: kept for other, kept in headers.items() if other.lower() != name.lower()}
        if value:
            headers[name] = value
    return headers


def _pairs(flag: str, given: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            # What stands there may be a secret: only what looks like a name is said again.
            said = name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name) else "…"
            raise UsageFault(f"{flag} {said} is not NAME=VALUE.", hint=f"Such as {flag} NAME=text.")
        pairs.append((name, value))
    return pairs


def _adds(given: Sequence[str]) -> bool:
    """Whether one of these `NAME=VALUE` does more than to remove."""
    return any(not text.endswith("=") or text.count("=") != 1 for text in given)


def _folder(text: str) -> str:
    """Return `--cwd` so that it means the same wherever Patina is started."""
    folder = Path(text).expanduser()
    if text and not folder.is_dir():
        raise UsageFault(f"There is no folder {text}.", hint="Make it, or correct --cwd.")
    return text if not text or text.startswith("~") else str(folder.absolute())
