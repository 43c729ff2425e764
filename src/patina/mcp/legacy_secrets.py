"""The secrets that lie beside a configuration of `legacy_config` (A-06, A-50).

    secrets/mcp_{id}.key          the one key of a server
    secrets/mcp_{id}.{VAR}.key    one of several, by its variable; mcp_{id}_{VAR}.key, too
    secrets/mcp_{id}.oauth        {"access_token", "refresh_token", "expires_at"}

`id` is that of the server, in any letters. Nothing here changes a file.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from patina.mcp.auth.shapes import AuthServer, Client, Grant, Tokens
from patina.mcp.legacy_config import McpConfig, secret_variables
from patina.model.faults import UsageFault
from patina.model.settings import ServerSettings

FOLDER: Final = "secrets"
_LARGEST: Final = 100_000
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# Later ones are milliseconds: as seconds they would lie 3,000 years ahead.
_MOST_SECONDS: Final = 1e11


class LegacySecrets(Struct, frozen=True):
    """What lies beside a configuration for one server.

    `keys` are values by the names of variables, `tokens` those of its sign-in; `files` have held
    them. `wrong` are sentences about what could not be read.
    """

    keys: dict[str, str] = {}
    tokens: Tokens | None = None
    files: tuple[Path, ...] = ()
    wrong: tuple[str, ...] = ()


def find_secrets(configuration: Path, config: McpConfig) -> LegacySecrets:
    """Return the secrets of `config`, a server of the file `configuration`. Never raises."""
    folder = configuration.parent / FOLDER
    stem = f"mcp_{config.id}"
    keys: dict[str, str] = {}
    tokens: Tokens | None = None
    files: list[Path] = []
    wrong: list[str] = []
    for path in _listed(folder, stem):
        rest = path.name[len(stem) :]
        try:
            if rest.lower() == ".oauth":
                tokens = _tokens(path)
            else:
                variable = _variable(rest, config)
                if not variable:
                    continue
                keys[variable] = _read(path)
        except UsageFault as fault:
            wrong.append(str(fault))
        else:
            files.append(path)
    return LegacySecrets(keys, tokens, tuple(files), tuple(wrong))


def grant_of(settings: ServerSettings, tokens: Tokens) -> Grant:
    """Return the record of a sign-in of which only the tokens are known.

    Who gave them, and to which client, is found out when they are renewed.
    """
    client = Client(client_id=settings.oauth.client_id)
    return Grant(url=settings.url, server=AuthServer(issuer=""), client=client, tokens=tokens)


def _listed(folder: Path, stem: str) -> list[Path]:
    try:
        names = [path for path in folder.iterdir() if path.name.lower().startswith(stem)]
    except OSError:
        return []
    return sorted(names)


def _variable(rest: str, config: McpConfig) -> str:
    """Return the variable that a key file is for, "" where it is no key file of the server."""
    if not rest.lower().endswith(".key"):
        return ""
    name = rest[: -len(".key")]
    if not name:
        return secret_variables(config)[0]
    if name[0] not in "._" or not _VARIABLE.fullmatch(name[1:]):
        return ""
    return name[1:]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        text = content.decode().strip()
    except OSError as error:
        reason = (error.strerror or "it is no file").lower()
        raise UsageFault(f"{path} was left out, for it cannot be read: {reason}.") from None
    except UnicodeDecodeError:
        raise UsageFault(f"{path} was left out, for it holds no text.") from None
    if not text or len(content) > _LARGEST:
        what = "too large to be a key" if text else "empty"
        raise UsageFault(f"{path} was left out, for it is {what}.")
    return text


def _tokens(path: Path) -> Tokens:
    wrong = UsageFault(f"{path} was left out, for it is no record of a sign-in.")
    try:
        found: Any = msgspec.json.decode(_read(path))
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(found, dict):
        raise wrong
    access, refresh = found.get("access_token"), found.get("refresh_token") or ""
    scope, kind = found.get("scope") or "", found.get("token_type") or "Bearer"
    if not isinstance(access, str) or not access:
        raise wrong
    if not all(isinstance(one, str) for one in (refresh, scope, kind)):
        raise wrong
    try:
        expires_at = _seconds(found.get("expires_at"))
    except (ValueError, OverflowError):
        raise wrong from None
    kind = "Bearer" if kind.lower() == "bearer" else kind
    return Tokens(access=access, kind=kind, refresh=refresh, expires_at=expires_at, scope=scope)


def _seconds(moment: object) -> float | None:
    """Return a moment as seconds since 1970; it may be milliseconds, or in the form of ISO 8601."""
    if moment is None:
        return None
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        return float(moment / 1000 if moment > _MOST_SECONDS else moment)
    found = datetime.fromisoformat(str(moment))
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
