"""The JSON configuration of servers that Patina imports (A-02, A-03, A-04, A-05, A-08).

    {"version": "1.0", "profiles": [...], "mcps": [McpConfig, ...]}

It holds no secrets: keys are kept by the names of the variables, or stand in a key file; those
that lie beside it are read by `legacy_secrets`.
"""

from pathlib import Path
from typing import Any, Final, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from patina.mcp.auth_type import auth_type
from patina.mcp.oneline import parse_add, slug
from patina.model.faults import UsageFault
from patina.model.packages import AuthType, PackageType
from patina.model.settings import AuthMode, OAuthSettings, ServerSettings, Transport

# "http" is what the protocol called its remote transport before it had two of them.
_TRANSPORTS: Final[dict[str, Transport]] = {
    "stdio": "stdio",
    "http": "streamable-http",
    "streamable-http": "streamable-http",
    "sse": "sse",
    "websocket": "websocket",
}
_REMOTE_MODES: Final[dict[AuthType, AuthMode]] = {
    "none": "none",
    "api_key": "bearer",
    "keyfile": "bearer",
    "oauth": "client",
}
_SMITHERY: Final = "https://server.smithery.ai"
_AUTHORIZATION: Final = "Authorization"
_BEARER: Final = "Bearer "
_KEYFILE: Final = "keyfile:"
_PACKAGE: Final = ("type", "identifier", "runtime_hint")
UNDERSTOOD: Final = 'What is understood: JSON with "version": "1.0", "profiles" and "mcps".'


class Official(Struct, frozen=True, tag="official"):
    """An entry of the official registry."""

    name: str
    version: str


class Smithery(Struct, frozen=True, tag="smithery"):
    """An entry of Smithery."""

    qualified_name: str


class Manual(Struct, frozen=True, tag="manual"):
    """An address that a person gave."""

    url: str


Source = Official | Smithery | Manual


class Package(Struct, frozen=True):
    """What is fetched and run (A-05)."""

    type: PackageType
    identifier: str
    runtime_hint: str | msgspec.UnsetType | None = msgspec.UNSET


class EnvVar(Struct, frozen=True):
    """A variable that holds a credential."""

    name: str
    required: bool = False


class McpConfig(Struct, frozen=True, kw_only=True):
    """One server (A-02). `config` is whatever its program wrote there."""

    id: UUID
    name: str
    enabled: bool
    source: Source
    package: Package | msgspec.UnsetType | None = msgspec.UNSET
    transport: Literal["stdio", "http", "streamable-http", "sse", "websocket"]
    auth_type: AuthType
    env_vars: tuple[EnvVar, ...] = ()
    keyfile_path: str | msgspec.UnsetType | None = msgspec.UNSET
    config: Any = msgspec.UNSET


class LegacyConfig(Struct, frozen=True, kw_only=True):
    """The whole file (A-08). Older ones have no `mcps`."""

    version: Literal["1.0"]
    profiles: tuple[Any, ...]
    mcps: tuple[McpConfig, ...] = ()


def decode(content: bytes) -> LegacyConfig:
    """Return the configuration in `content`. Raises `UsageFault`, which names a wrong place."""
    try:
        found = msgspec.json.decode(content)
    except (ValueError, RecursionError):
        raise UsageFault("That is not JSON.", hint=UNDERSTOOD) from None
    if not isinstance(found, dict) or not {"profiles", "mcps"} & found.keys():
        other = next((key for key in ("mcpServers", "servers") if _has(found, key)), "")
        what = f'JSON with "{other}"' if other else "JSON of another kind"
        raise UsageFault(
            f"That is {what}, which cannot be imported.",
            hint=f"{UNDERSTOOD} A single server: `patina mcp add NAME -- COMMAND ARGS…`.",
        )
    try:
        return msgspec.convert({"profiles": [], **found}, LegacyConfig)
    except msgspec.ValidationError as error:
        raise UsageFault(
            f"That is not a configuration of servers: {error}.", hint=UNDERSTOOD
        ) from None


def encode(config: LegacyConfig) -> bytes:
    """Return `config` as JSON. `decode` of it gives `config` again."""
    return msgspec.json.encode(config)


def to_settings(config: McpConfig) -> tuple[str, ServerSettings]:
    """Return (name, settings) of a server. Raises `UsageFault` where nothing could be reached.

    With `api_key`, each variable is the secret `<name>/<VARIABLE>`; with `keyfile`, the first is
    the content of the file. Remote servers get the first as `Authorization: Bearer`. A server
    that takes no credentials gets no variables. `config` is left out: its meaning is not known.
    """
    name = slug(config.name)
    package = config.package if isinstance(config.package, Package) else None
    source: dict[str, str] = msgspec.to_builtins(config.source)
    values = _values(name, config)
    settings = ServerSettings(
        display_name="" if name == config.name else config.name,
        transport=_TRANSPORTS[config.transport],
        enabled=config.enabled,
        source=source if all(source.values()) else {},
        package=_package(package),
        required=tuple(one.name for one in config.env_vars if one.required and one.name in values),
    )
    if settings.transport != "stdio":
        bearer = next(iter(values.values()), "")
        return name, replace(
            settings,
            url=_address(config, package),
            headers={_AUTHORIZATION: f"{_BEARER}{bearer}"} if bearer else {},
            auth_mode=_REMOTE_MODES[config.auth_type],
        )
    if package is None:
        raise UsageFault(
            f"{config.name} names no package, so there is nothing to start.",
            hint="Add it with `patina mcp add NAME -- COMMAND ARGS…`.",
        )
    values.pop(_AUTHORIZATION, None)
    if config.auth_type != "oauth":
        return name, replace(settings, env=values)
    # Such a server finds its access token in the variable that it names first.
    variable = config.env_vars[0].name if config.env_vars else ""
    oauth = OAuthSettings(variable=variable)
    return name, replace(settings, env=values, auth_mode="client", oauth=oauth)


def from_settings(name: str, settings: ServerSettings) -> McpConfig:
    """Return a configured server in this form, under an id that is made from its name.

    What the form has no place for is left out: arguments, limits, variables that are no secrets.
    Raises `UsageFault` for a plain command: the form knows packages and addresses.
    """
    remote = settings.transport != "stdio"
    if not remote and not settings.package:
        raise UsageFault(
            f"{name} is a plain command, which this form of JSON cannot hold.",
            hint="It holds packages and addresses.",
        )
    given = settings.headers if remote else settings.env
    values = {key: value.removeprefix(_BEARER) for key, value in given.items()}
    prefix = f"secret:{name}/"
    variables = [
        value.removeprefix(prefix) if remote else key
        for key, value in values.items()
        if value.startswith(prefix) or (value.startswith(_KEYFILE) and not remote)
    ]
    file = next((value for value in values.values() if value.startswith(_KEYFILE)), "")
    package = {key: settings.package[key] for key in _PACKAGE if key in settings.package}
    transport = "http" if settings.transport == "streamable-http" else settings.transport
    return McpConfig(
        id=uuid5(NAMESPACE_URL, f"patina:{name}"),
        name=settings.display_name if slug(settings.display_name) == name else name,
        enabled=settings.enabled,
        source=msgspec.convert(settings.source or {"type": "manual", "url": settings.url}, Source),
        package=msgspec.convert(package, Package) if package else msgspec.UNSET,
        transport=transport,
        auth_type=auth_type(settings),
        env_vars=tuple(
            EnvVar(one, one in settings.required) for one in variables if one != _AUTHORIZATION
        ),
        keyfile_path=file.removeprefix(_KEYFILE) or msgspec.UNSET,
    )


def _values(name: str, config: McpConfig) -> dict[str, str]:
    """Return the variables with the references in place of their values."""
    if config.auth_type in ("none", "oauth"):
        return {}
    variables = secret_variables(config)
    values = {variable: f"secret:{name}/{variable}" for variable in variables}
    if config.auth_type == "keyfile":
        if not config.keyfile_path:
            raise UsageFault(f"{config.name} has no keyfile_path.", hint="Write it into the file.")
        values[variables[0]] = f"{_KEYFILE}{config.keyfile_path}"
    return values


def secret_variables(config: McpConfig) -> list[str]:
    """Return the names of a server's keys, at least one: the first is that of its only one."""
    # A remote server may take its key without giving it a name.
    return [one.name for one in config.env_vars] or [_AUTHORIZATION]


def _package(package: Package | None) -> dict[str, str]:
    values: dict[str, str | None] = msgspec.to_builtins(package) if package else {}
    return {name: value for name, value in values.items() if value}


def _address(config: McpConfig, package: Package | None) -> str:
    """Return the address of a remote server. Raises `UsageFault`."""
    if isinstance(config.source, Manual):
        found = config.source.url
    elif package and "://" in package.identifier:
        found = package.identifier
    elif isinstance(config.source, Smithery):
        found = f"{_SMITHERY}/{config.source.qualified_name}/mcp"
    else:
        found = ""
    if "://" not in found:
        raise UsageFault(
            f"{config.name} is remote, and no address of it is given.",
            hint="Add it with `patina mcp add NAME --url URL`.",
        )
    _, parsed = parse_add((found,), environ={}, folder=Path())
    return parsed.url


def _has(found: object, key: str) -> bool:
    return isinstance(found, dict) and key in found
