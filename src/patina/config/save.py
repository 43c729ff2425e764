"""Changing the configuration file: comments, order and unknown keys survive.

A change is refused before anything is written where its result would not load.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from patina.config.document import Document, parse_document
from patina.config.environment import Environment
from patina.config.files import update_file
from patina.config.keys import has_key, join_key, look_up, put, split_key
from patina.config.overlay import Overlay
from patina.config.paths import Paths
from patina.config.validate import to_settings
from patina.model.faults import ConfigFault

REMOVED: Final = object()
Changes = Mapping[tuple[str, ...], object]
NEW_FILE: Final = b"version = 1\n"


def set_value(paths: Paths, key: str, value: object) -> None:
    """Set one setting. Text is read by the type of the setting; other values stand as they are.

    Raises `ConfigFault`: an unknown key, a value that is not allowed, a file that cannot be
    written.
    """
    from patina.config.schema import parse_value, type_at

    path = split_key(key)
    if isinstance(value, str):
        value = parse_value(path, value)
    else:
        type_at(path)
    rewrite(paths.config_file(), {path: value})


def unset_value(paths: Paths, key: str) -> bool:
    """Remove a value or a table. Whether it was there. Raises `ConfigFault`."""
    path = split_key(key)
    there = False

    def changes(old: Document) -> Changes:
        nonlocal there
        there = has_key(old.values, path)
        return {path: REMOVED} if there else {}

    _edit(paths.config_file(), changes)
    return there


def set_table(paths: Paths, key: str, mapping: Mapping[str, object]) -> None:
    """Make the table at `key` hold `mapping`; None is left out.

    Settings that the table had and `mapping` lacks go; keys that Patina does not know stay.
    """
    from patina.config.schema import fields_at

    path = split_key(key)
    known = fields_at(path)
    given = {name: value for name, value in mapping.items() if value is not None}

    def changes(old: Document) -> Changes:
        table = look_up(old.values, path) if has_key(old.values, path) else {}
        gone = {(*path, name): REMOVED for name in table if name in known and name not in given}
        return {**gone, **{(*path, name): value for name, value in given.items()}}

    _edit(paths.config_file(), changes)


def remove_table(paths: Paths, key: str) -> bool:
    """Remove a whole table, as one server's. Whether it was there. Raises `ConfigFault`."""
    return unset_value(paths, key)


def rewrite(file: Path, changes: Changes) -> None:
    """Change the values at several paths in one step; `REMOVED` takes one away."""
    _edit(file, lambda _: changes)


def check_content(file: Path, content: bytes) -> None:
    """Raise `ConfigFault` where `content` would not load as the configuration `file`."""
    document = parse_document(file, content)
    values = parse_document(file, content).values
    Overlay(values, {}, Environment(()), ()).apply()
    to_settings(values, document, {})


def _edit(file: Path, changes: Callable[[Document], Changes]) -> None:
    def change(content: bytes) -> bytes:
        document = parse_document(file, content or NEW_FILE)
        wanted = changes(document)
        if not wanted:
            return content
        new = _apply(document, wanted).encode()
        check_content(file, new)
        return new

    update_file(file, change)


def _apply(document: Document, changes: Changes) -> str:
    """Return the text of `document` with `changes`, everything else as it was."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    expected = parse_document(document.path, document.text.encode()).values
    tree = tomlkit.parse(document.text)
    try:
        for path, value in changes.items():
            plain = _plain(value)
            if value is REMOVED:
                _remove(expected, path)
                _remove(tree, path)
            else:
                put(expected, path, plain)
                _set(tree, path, plain)
        text = tomlkit.dumps(tree)
        for candidate in (_spaced(text, document.text), text):
            found = parse_document(document.path, candidate.encode()).values
            if without_empty(found) == without_empty(expected):
                return candidate
    except (TOMLKitError, LookupError, ConfigFault):
        pass
    # TOML can be laid out in ways that the editing library does not survive. Never guess.
    raise ConfigFault(
        f"{document.path.name} is laid out so that {join_key(next(iter(changes)))} cannot be "
        "changed without touching the rest.",
        hint="Make the change by hand with `patina config edit`.",
    )


def _set(tree: Any, path: tuple[str, ...], value: object) -> None:  # noqa: ANN401 - tomlkit's tree
    import tomlkit
    from tomlkit.items import AbstractTable, InlineTable

    for depth, part in enumerate(path[:-1]):
        inner = tree.get(part)
        if not isinstance(inner, AbstractTable) and not hasattr(inner, "items"):
            if isinstance(tree, InlineTable):
                tree[part] = tomlkit.inline_table()
            else:
                # The last table gets a heading, those above it need none of their own.
                tree[part] = tomlkit.table(is_super_table=depth < len(path) - 2)
        tree = tree[part]
    tree[path[-1]] = _item(value, inline=isinstance(tree, InlineTable))


def _item(value: object, *, inline: bool = False) -> object:
    import tomlkit

    if not isinstance(value, dict):
        return value
    # A table of plain values fits on a line; tables within tables get headings.
    inline = inline or not any(isinstance(inner, dict) for inner in value.values())
    table: Any = tomlkit.inline_table() if inline else tomlkit.table()
    for name, inner in value.items():
        table[name] = _item(inner, inline=inline)
    return table


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _spaced(text: str, old: str) -> str:
    """Return `text` with an empty line before each heading, but where `old` had none."""
    before = old.split("\n")
    tight = {line for above, line in pairwise(before) if above.strip()}
    lines: list[str] = []
    for line in text.split("\n"):
        if line.startswith("[") and line not in tight and lines and lines[-1].strip():
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def without_empty(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` without tables that hold nothing: the last table may take along a heading
    that was only there for it.
    """
    trimmed = {
        name: without_empty(inner) if isinstance(inner, dict) else inner
        for name, inner in values.items()
    }
    return {name: inner for name, inner in trimmed.items() if inner != {}}


def _remove(tree: Any, path: tuple[str, ...]) -> None:  # noqa: ANN401 - tomlkit's tree or a dict
    for part in path[:-1]:
        tree = tree[part]
    del tree[path[-1]]
