"""Keys that stand in the configuration as they are: found, moved to the secrets, replaced."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from patina.config.keys import join_key, names_secret
from patina.model.faults import ConfigFault
from patina.ports.keys import Keys

MIN_LITERAL = 8
_REFERENCE = re.compile(r"\b(secret|env|keyfile|withheld):\S")
_OAUTH = ("client_secret", "private_key")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


class Literal(Struct, frozen=True):
    """A key found in the file: where, its value, and the name it is to have in the secrets."""

    path: tuple[str, ...]
    value: str
    name: str


def is_reference(value: str) -> bool:
    """Whether `value` names a secret and is none itself."""
    return _REFERENCE.search(value) is not None


def find_literals(values: Mapping[str, Any]) -> list[Literal]:
    """Return the keys that `values`, a valid configuration, holds as they are."""
    found = []
    for name, provider in values.get("providers", {}).items():
        key = provider.get("api_key", "").strip()
        if key and not is_reference(key):
            found.append(Literal(("providers", name, "api_key"), key, _fit(name)))
    for name, server in values.get("mcp_servers", {}).items():
        for table in ("env", "headers"):
            for variable, value in server.get(table, {}).items():
                if _is_literal(variable, value):
                    place = ("mcp_servers", name, table, variable)
                    found.append(Literal(place, value, f"{_fit(name)}/{_fit(variable)}"))
        for field in _OAUTH:
            value = server.get("oauth", {}).get(field, "").strip()
            if value and not is_reference(value):
                place = ("mcp_servers", name, "oauth", field)
                found.append(Literal(place, value, f"{_fit(name)}/{field}"))
    return found


def move_literals(
    file: Path, literals: list[Literal], keys: Keys
) -> tuple[dict[tuple[str, ...], str], list[str]]:
    """Keep the keys among the secrets and put references in their place in `file`.

    Returns the references by path, and a sentence for each. Where the file cannot be written the
    references hold for this run, and a sentence says so. Raises `ConfigFault` where a secret
    cannot be kept.
    """
    from patina.config.save import rewrite

    references: dict[tuple[str, ...], str] = {}
    notices = []
    for literal in literals:
        name = _free_name(keys, literal)
        keys.set(name, literal.value)
        references[literal.path] = f"secret:{name}"
        notices.append(
            f"The key at {join_key(literal.path)} was moved from {file.name} to the secrets; "
            f'"secret:{name}" stands in its place.'
        )
    try:
        rewrite(file, references)
    except ConfigFault as fault:
        reason = fault.failure.message
        notices = [f"{file.name} holds a key as it is, which could not be replaced: {reason}"]
    return references, notices


def _is_literal(variable: str, value: str) -> bool:
    # Short words, numbers and paths stay: `SSH_KEY = "~/.ssh/id"` names a file.
    return (
        names_secret(variable)
        and len(value) >= MIN_LITERAL
        and not value.startswith(("/", "~", ".", "$"))
        and not is_reference(value)
    )


def _fit(name: str) -> str:
    return _UNFIT.sub("-", name).strip("-.") or "key"


def _free_name(keys: Keys, literal: Literal) -> str:
    name = literal.name
    number = 1
    while keys.get(name) not in (None, literal.value):
        number += 1
        name = f"{literal.name}-{number}"
    return name
