"""Loads the configuration: flag over environment over `.env` over file over default."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from patina.config.document import read_document
from patina.config.environment import Environment
from patina.config.keys import join_key, leaves, look_up, put, split_key
from patina.config.literals import find_literals, move_literals
from patina.config.overlay import Overlay
from patina.config.paths import Paths
from patina.config.validate import to_settings
from patina.model.faults import ConfigFault
from patina.model.settings import Configured, Settings, Source
from patina.ports.keys import Keys

# What `Configured.extra` holds, each only where there is something.
WARNINGS = "warnings"  # list[str]: unknown keys, skipped lines; for the log and `doctor`
NOTICES = "notices"  # list[str]: what was done to a file, or cannot be used; for the person, now
WITHHELD = "withheld"  # dict[str, str]: provider -> why no key is sent to its endpoint

Flags = Mapping[str, tuple[str, Any]]


def load_config(
    paths: Paths,
    environment: Environment,
    keys: Keys,
    flags: Flags | None = None,
) -> Configured:
    """Return the settings and the source of each, by dotted key.

    `flags` maps dotted keys to the flag's name and its value. A key that stands in the file as
    it is moves to `keys`, and the file is rewritten. Raises `ConfigFault` for the first thing
    that is wrong, naming file and line or variable, and what is allowed.
    """
    document = read_document(paths.config_file())
    values = copy.deepcopy(document.values)
    origin = Source("file", str(document.path))
    sources = {join_key(path): origin for path, _ in leaves(values) if path}
    notices: list[str] = []
    overlay = Overlay(values, sources, environment, _kept_names(keys, notices))
    overlay.apply()
    for key, (flag, value) in (flags or {}).items():
        put(values, split_key(key), value)
        sources[key] = Source("flag", flag)
    settings = to_settings(values, document, sources)

    extra: dict[str, Any] = {}
    servers = document.values.get("mcp_servers", {})
    warnings = [
        *environment.warnings,
        *_unknown(settings, document.values),
        *_exposed(servers),
    ]
    if warnings:
        extra[WARNINGS] = warnings
    if overlay.withheld:
        extra[WITHHELD] = overlay.withheld
    literals = find_literals(document.values)
    if literals:
        references, moved = move_literals(document.path, literals, keys)
        notices += moved
        for path, reference in references.items():
            # What lies over the file, or withholds its key, stays.
            if look_up(values, path) == look_up(document.values, path):
                put(values, path, reference)
        settings = to_settings(values, document, sources)
    if notices:
        extra[NOTICES] = notices
    return Configured(settings, sources, extra)


def _kept_names(keys: Keys, notices: list[str]) -> Sequence[str]:
    """Return the names of the kept secrets; where they cannot be had, `notices` says why.

    All that needs none goes on: a key of the environment, other commands.
    """
    try:
        return keys.names()
    except ConfigFault as fault:
        notices.append(f"The kept keys cannot be used. {fault.failure.message}")
        if fault.failure.hint:
            notices.append(fault.failure.hint)
        return ()


def _unknown(settings: Settings, values: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each key of the file that no setting has."""
    warnings = []
    for path, known in _strangers(settings, values, ()):
        import difflib

        close = difflib.get_close_matches(path[-1], known, 1)
        question = f" Did you mean {close[0]}?" if close else ""
        warnings.append(f"{join_key(path)} is not a setting and was ignored.{question}")
    return warnings


def _exposed(servers: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each secret that stands where it can be read by others."""
    if not servers:
        return []
    from patina.config.exposed import exposed

    return [text for name, server in servers.items() for text in exposed(name, server)]


def _strangers(
    known: object, values: object, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield the path of each key without a setting, and the names that its table may have."""
    if isinstance(values, list) and isinstance(known, tuple):
        for inner, value in zip(known, values, strict=False):
            yield from _strangers(inner, value, path)
    if not isinstance(values, Mapping):
        return
    for name, value in values.items():
        place = (*path, name)
        if isinstance(known, msgspec.Struct):
            if name in known.__struct_fields__:
                yield from _strangers(getattr(known, name), value, place)
            else:
                yield place, known.__struct_fields__
        elif isinstance(known, Mapping):
            yield from _strangers(known.get(name), value, place)
