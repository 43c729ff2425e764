"""The rules about tools in the configuration file: read alone, added, taken away.

Everything else of the file stays as it is, comments too. Lines are put in or taken out as text;
where the file is laid out so that this does not do, the TOML library tries. What comes of either
is compared with what was wanted before it is written.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from patina.config.check import rule_mistake
from patina.config.document import Document, line_of, parse_document, read_document
from patina.config.files import update_file
from patina.config.keys import join_key
from patina.config.paths import Paths
from patina.config.save import NEW_FILE, check_content, without_empty
from patina.config.validate import to_settings
from patina.model.faults import ConfigFault, UsageFault
from patina.model.rules import rule_id
from patina.model.settings import PermissionRule, PermissionSettings

_PATH: Final = ("permissions", "rules")
_HEADING: Final = re.compile(r"\s*\[")
_OF_A_RULE: Final = re.compile(r"\s*\[\s*permissions\s*\.\s*rules\s*\.")
_IDLE: Final = re.compile(r"\s*(#.*)?")


def read_permissions(paths: Paths) -> PermissionSettings:
    """Return the permissions of the file as it is now, whatever else is wrong with it.

    Raises `ConfigFault`, which names file and line, where they cannot be read or are wrong.
    """
    return _permissions(read_document(paths.config_file()))


def check_rule(rule: PermissionRule) -> None:
    """Raise `UsageFault` where `rule` could not stand in a file."""
    wrong = rule_mistake(rule)
    if wrong is not None:
        raise UsageFault(
            f"The {join_key(wrong.path)} of a rule {wrong.found}.",
            hint=f"Allowed: {wrong.allowed}.",
        )


def add_rule(paths: Paths, rule: PermissionRule) -> str:
    """Add `rule`, unless it is there already, and return its id.

    Raises `UsageFault` as `check_rule`, and `ConfigFault` where the file is wrong or cannot be
    written.
    """
    check_rule(rule)
    added = rule_id(rule)
    plain: dict[str, Any] = msgspec.to_builtins(rule)

    def change(content: bytes) -> bytes:
        document = parse_document(paths.config_file(), content or NEW_FILE)
        if any(rule_id(known) == added for known in _rules(document)):
            return content
        wanted = [*_plain_rules(document), plain]
        return _checked(document, wanted, _with_added(document, plain))

    update_file(paths.config_file(), change)
    return added


def revoke_rule(paths: Paths, revoked: str) -> PermissionRule:
    """Take away the rule whose id begins with `revoked`, and return it.

    Raises `UsageFault` where there is none, or more than one; `ConfigFault` as `add_rule`.
    """
    found: list[PermissionRule] = []

    def change(content: bytes) -> bytes:
        document = parse_document(paths.config_file(), content)
        found[:] = [_the_one(_rules(document), revoked)]
        while found[0] in (rules := _rules(document)):
            number, wanted = rules.index(found[0]), _plain_rules(document)
            del wanted[number]
            content = _checked(document, wanted, _without(document, number))
            document = parse_document(document.path, content)
        return content

    update_file(paths.config_file(), change)
    return found[0]


def _the_one(rules: list[PermissionRule], wanted: str) -> PermissionRule:
    ids = {rule_id(rule): rule for rule in rules}
    found = [rule for name, rule in ids.items() if wanted and name.startswith(wanted.lower())]
    if not found:
        raise UsageFault(
            f"There is no rule {wanted[:60]}.", hint="`patina permissions list` shows all rules."
        )
    if len(found) > 1:
        raise UsageFault(f"{wanted} is the beginning of several rules.", hint="Give the whole id.")
    return found[0]


def _permissions(document: Document) -> PermissionSettings:
    alone = {name: document.values[name] for name in _PATH[:1] if name in document.values}
    return to_settings(alone, document, {}).permissions


def _rules(document: Document) -> list[PermissionRule]:
    return list(_permissions(document).rules)


def _plain_rules(document: Document) -> list[Any]:
    permissions = document.values.get("permissions", {})
    return list(permissions.get("rules", []))


def _checked(document: Document, wanted: list[Any], candidates: Iterator[str]) -> bytes:
    """Return the first of `candidates` that says just what is `wanted`. Raises `ConfigFault`."""
    permissions = {**document.values.get("permissions", {}), "rules": wanted}
    expected = _meaning({**document.values, "permissions": permissions})
    for candidate in candidates:
        try:
            found = parse_document(document.path, candidate.encode()).values
        except ConfigFault:
            continue
        if _meaning(found) == expected:
            check_content(document.path, candidate.encode())
            return candidate.encode()
    raise ConfigFault(
        f"{document.path.name} is laid out so that permissions.rules cannot be changed without "
        "touching the rest.",
        hint="Make the change by hand with `patina config edit`.",
    )


def _meaning(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` without tables and lists of rules that hold nothing."""
    permissions = values.get("permissions", {})
    if permissions.get("rules") == []:
        permissions = {name: one for name, one in permissions.items() if name != "rules"}
    return without_empty({**values, "permissions": permissions})


def _with_added(document: Document, plain: dict[str, Any]) -> Iterator[str]:
    """Yield texts with one more rule: behind the others, behind `[permissions]`, at the end."""
    lines = document.text.split("\n")
    new = ["[[permissions.rules]]", *_lines_of(plain)]
    count = len(_plain_rules(document))
    span = _span(document.text, (*_PATH, count - 1) if count else _PATH[:1])
    for end in ([span[1]] if span else []) + [_end(lines)]:
        before, after = lines[:end], lines[end:]
        gap = [""] if before and before[-1].strip() else []
        rest = after if after and after[0].strip() == "" else ["", *after] if any(after) else [""]
        yield "\n".join([*before, *gap, *new, *rest])
    yield from _by_library(document, lambda rules: rules.append(_inline(plain)))


def _without(document: Document, number: int) -> Iterator[str]:
    lines = document.text.split("\n")
    span = _span(document.text, (*_PATH, number))
    if span is not None:
        start, end = span
        before, after = lines[:start], lines[end:]
        # One of the empty lines around it goes along.
        if after and not after[0].strip() and (not before or not before[-1].strip()):
            after = after[1:]
        yield "\n".join([*before, *after])

    def remove(rules: Any) -> None:  # noqa: ANN401 - tomlkit's tree
        del rules[number]

    yield from _by_library(document, remove)


def _by_library(document: Document, edit: Any) -> Iterator[str]:  # noqa: ANN401 - over tomlkit's tree
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        tree = tomlkit.parse(document.text)
        edit(tree["permissions"]["rules"])
        yield tomlkit.dumps(tree)
    except (TOMLKitError, LookupError, TypeError):
        return


def _span(text: str, place: tuple[str | int, ...]) -> tuple[int, int] | None:
    """Return the lines, from and to, of the table at `place` without what stands behind it."""
    number = line_of(text, place)
    lines = text.split("\n")
    if number is None or not _HEADING.match(lines[number - 1]):
        return None
    end = number
    while end < len(lines) and not (
        _HEADING.match(lines[end]) and not (len(place) > 1 and _OF_A_RULE.match(lines[end]))
    ):
        end += 1
    while end > number and _IDLE.fullmatch(lines[end - 1]):
        end -= 1
    return number - 1, end


def _end(lines: list[str]) -> int:
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    return end


def _lines_of(plain: dict[str, Any]) -> list[str]:
    import tomlkit

    table = tomlkit.document()
    for name, value in _inline(plain).items():
        table[name] = value
    return tomlkit.dumps(table).rstrip("\n").split("\n")


def _inline(plain: dict[str, Any]) -> Any:  # noqa: ANN401 - tomlkit's tree
    import tomlkit

    table = tomlkit.inline_table()
    for name, value in plain.items():
        table[name] = _inline(value) if isinstance(value, dict) else value
    return table
