"""Rules that a setting's type alone does not say. Facts are those of `docs/configuration.md`."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from math import inf
from typing import Any, get_args

from patina.config.keys import Path, Problem
from patina.model.faults import UsageFault
from patina.model.packages import (
    PACKAGE_TYPES,
    PROTOCOL_VERSIONS,
    SOURCE_FIELDS,
    is_package_word,
)
from patina.model.settings import (
    PermissionRule,
    PermissionSettings,
    ProviderKind,
    ProviderSettings,
    ServerSettings,
    Settings,
)

_KINDS = frozenset(get_args(ProviderKind))
_DRIVERS = "patina.drivers"  # the group of entry points: docs/drivers.md
_SERVER = re.compile(r"[a-z0-9_-]{1,32}")
_PROVIDER = re.compile(r"[^\s/:\x00-\x1f\x7f]{1,64}")
_PROVIDER_NAMES = 'no space, "/" or ":", 64 at most'
_STAND_IN = "demo"  # the built-in model always goes by this name
_WEB = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)
_SOCKET = re.compile(r"wss?://[^\s/?#]+\S*", re.IGNORECASE)
_DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_SHELL_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")

_LIMITS = ("request_limit", "turn_limit", "conversation_limit", "daily_limit", "monthly_limit")
_DOLLARS = 'an amount in USD as text, as "5.00"'
_ADDRESS = "an address that begins with http:// or https://"


def first_mistake(settings: Settings) -> Problem | None:
    """Return the first value that has the right type and still cannot be used."""
    return next(_mistakes(settings), None)


def unknown_permission(values: Mapping[str, Any]) -> Problem | None:
    """Return the first key of the permissions in `values` that is none.

    Elsewhere such a key is kept and ignored. Here it would make a rule wider than it was meant.
    """
    permissions = values.get("permissions")
    if not isinstance(permissions, Mapping):
        return None
    rules = permissions.get("rules")
    places: list[tuple[Path, object, tuple[str, ...]]] = [
        (("permissions",), permissions, PermissionSettings.__struct_fields__)
    ]
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        place: Path = ("permissions", "rules", index)
        places.append((place, rule, PermissionRule.__struct_fields__))
    for path, table, known in places:
        for name in table if isinstance(table, Mapping) else ():
            if name not in known:
                return Problem((*path, name), "is not known", ", ".join(known))
    return None


def provider_name(name: str) -> str:
    """Return `name` where a provider may be called so. Raises `UsageFault`."""
    if name == _STAND_IN:
        raise UsageFault(f"{name} is the built-in stand-in.", hint="Choose another name.")
    if not _PROVIDER.fullmatch(name):
        raise UsageFault(
            "That is not a name for a provider.",
            hint=f"Allowed: {_PROVIDER_NAMES}. Models are written provider/model:effort.",
        )
    return name


def known_kinds() -> tuple[str, ...]:
    """Return the kinds of providers that are built in or that an installed package brings.

    Looks at all installed packages: only for a kind that is not built in.
    """
    from importlib.metadata import entry_points

    return tuple(sorted(_KINDS | entry_points(group=_DRIVERS).names))


def _mistakes(settings: Settings) -> Iterator[Problem]:
    for name, provider in settings.providers.items():
        yield from _provider(name, provider)
    for name, server in settings.mcp_servers.items():
        yield from _server(name, server)
    billing, chat = settings.billing, settings.chat
    for key in _LIMITS:
        yield from _value(("billing", key), getattr(billing, key), _AMOUNT.fullmatch, _DOLLARS)
    yield from _amounts(("billing", "per_model_limits"), billing.per_model_limits)
    yield from _amounts(("billing", "per_provider_limits"), billing.per_provider_limits)
    yield from _number(("billing", "warn_at"), billing.warn_at, 0 < billing.warn_at <= 1, "0 to 1")
    for index, rule in enumerate(settings.permissions.rules):
        yield from _rule(("permissions", "rules", index), rule)
    for key in ("official", "smithery"):
        address = getattr(settings.registries, key)
        yield from _value(("registries", key), address, _WEB.fullmatch, _ADDRESS)
    for key in ("max_tokens", "max_replies", "tool_calls", "timeout"):
        number = getattr(chat, key)
        yield from _number(("chat", key), number, number > 0, "more than 0")


def _provider(name: str, provider: ProviderSettings) -> Iterator[Problem]:
    path: Path = ("providers", name)
    if not _PROVIDER.fullmatch(name):
        yield Problem(path, "is not a name for a provider", _PROVIDER_NAMES)
    if name == _STAND_IN:
        yield Problem(path, "is the name of the built-in stand-in", "any other name")
    if provider.kind not in _KINDS and provider.kind not in (kinds := known_kinds()):
        yield Problem((*path, "kind"), f'is "{provider.kind[:60]}"', ", ".join(kinds))
    if provider.kind != "ollama":  # `OLLAMA_HOST` may be a host alone
        yield from _value((*path, "base_url"), provider.base_url, _WEB.fullmatch, _ADDRESS)
    if provider.kind == "openai_compatible" and not provider.base_url:
        yield Problem((*path, "base_url"), "is missing", _ADDRESS)
    shell = _SHELL_VARIABLE.fullmatch(provider.api_key)
    if shell:
        yield Problem((*path, "api_key"), f'is "{provider.api_key}"', f'"env:{shell[1]}"')
    if provider.api_key.startswith("keyfile:"):
        yield Problem((*path, "api_key"), f'is "{provider.api_key}"', "secret:NAME, env:NAME")
    for model, known in provider.models.items():
        yield from _amounts((*path, "models", model, "price"), known.price)


def _server(name: str, server: ServerSettings) -> Iterator[Problem]:
    path: Path = ("mcp_servers", name)
    if not _SERVER.fullmatch(name):
        allowed = "a to z, 0 to 9, _ and -, 32 characters at most"
        yield Problem(path, "is not a name for a server", allowed)
    if server.transport == "stdio":
        if not server.command and not server.package:
            yield Problem((*path, "command"), "is missing", "the program to start")
    else:
        socket = server.transport == "websocket"
        form = "an address that begins with ws:// or wss://" if socket else _ADDRESS
        if not server.url:
            yield Problem((*path, "url"), "is missing", form)
        pattern = _SOCKET if socket else _WEB
        yield from _value((*path, "url"), server.url, pattern.fullmatch, form)
    yield from _origin(path, server)
    yield from _value(
        (*path, "protocol_version"),
        server.protocol_version,
        PROTOCOL_VERSIONS.__contains__,
        ", ".join(PROTOCOL_VERSIONS),
    )
    for key in ("tool_timeout", "connect_timeout"):
        seconds = getattr(server, key)
        yield from _number((*path, key), seconds, 0 < seconds < inf, "seconds, more than 0")
    idle, restarts = server.idle_timeout, server.restarts
    yield from _number((*path, "idle_timeout"), idle, idle >= 0, "seconds; 0 is never")
    yield from _number((*path, "restarts"), restarts, restarts >= 0, "0 or more")


def rule_mistake(rule: PermissionRule) -> Problem | None:
    """Return the first value of `rule` that has the right type and still cannot be used."""
    return next(_rule((), rule), None)


def _rule(path: Path, rule: PermissionRule) -> Iterator[Problem]:
    for key, glob in (("server", rule.server), ("tool", rule.tool)):
        if not glob:
            yield Problem((*path, key), "is empty", 'a glob; "*" matches everything')
    yield from _value((*path, "expires"), rule.expires, _is_date, "a date, as 2026-12-31")


def _is_date(text: str) -> bool:
    import datetime as dt

    try:
        return bool(_DATE.fullmatch(text) and dt.date.fromisoformat(text))
    except ValueError:
        return False


def _origin(path: Path, server: ServerSettings) -> Iterator[Problem]:
    """Check where a server was found and which package it is."""
    source, package = server.source, server.package
    if source:
        place = (*path, "source")
        yield from _choice((*place, "type"), source.get("type", ""), SOURCE_FIELDS)
        for field in SOURCE_FIELDS.get(source.get("type", ""), ()):
            if not source.get(field):
                yield Problem((*place, field), "is missing", "text")
    if package:
        place = (*path, "package")
        yield from _choice((*place, "type"), package.get("type", ""), PACKAGE_TYPES)
        if server.command:
            return  # it is a note: the command says what is run
        name = package.get("identifier", "")
        if not is_package_word(name):
            found = f'is "{name[:60]}"' if name else "is missing"
            yield Problem((*place, "identifier"), found, "the name of a package")
        version = package.get("version", "")
        yield from _value((*place, "version"), version, is_package_word, "a version, as 1.2.3")


def _choice(path: Path, text: str, allowed: Collection[str]) -> Iterator[Problem]:
    if text not in allowed:
        found = f'is "{text[:60]}"' if text else "is missing"
        yield Problem(path, found, ", ".join(allowed))


def _amounts(path: Path, amounts: Mapping[str, str]) -> Iterator[Problem]:
    for name, amount in amounts.items():
        yield from _value((*path, name), amount or "-", _AMOUNT.fullmatch, _DOLLARS)


def _value(
    path: Path, text: str, valid: Callable[[str], object], allowed: str
) -> Iterator[Problem]:
    if text and not valid(text):
        yield Problem(path, f'is "{text[:60]}"', allowed)


def _number(path: Path, number: float, valid: bool, allowed: str) -> Iterator[Problem]:  # noqa: FBT001 - the outcome of a comparison
    if not valid:
        yield Problem(path, f"is {number:g}", allowed)
