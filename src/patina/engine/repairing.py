"""What a model is told of a call that cannot be run, so that the next one can."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from patina.model.chat import ToolInfo
from patina.model.faults import Fault, McpFault

MOST: Final = 600  # characters of an example
_DEEPEST: Final = 4
_FIELDS: Final = 12
_FORMATS: Final = {
    "date": "2026-12-31",
    "date-time": "2026-12-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "name@example.org",
    "uri": "https://example.org",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
}


def unknown_tool(name: str, offered: Collection[ToolInfo]) -> str:
    """Return what to say of a call of a tool that is not there, with the names that are close."""
    from difflib import get_close_matches

    aliases = {tool.alias: tool.alias for tool in offered if not tool.built_in}
    # The server's part is often left out, or written with a dot.
    short = {tool.tool: tool.alias for tool in offered if not tool.built_in}
    known = {**short, **{tool.name: tool.alias for tool in offered}, **aliases}
    close = get_close_matches(name[:200], known, 5, 0.75)
    names = list(dict.fromkeys(known[one] for one in close))[:3]
    hint = f"Did you mean {' or '.join(names)}?" if names else "Call one that is listed."
    return f"There is no tool {name[:200]}. {hint}"


def repair_hint(tool: ToolInfo, fault: Fault, check: Callable[[str], object]) -> str:
    """Return what is wrong with a call's arguments, and arguments that fit, where they are found.

    `check` raises `McpFault` for JSON text that does not fit.
    """
    words = " ".join(part for part in (str(fault), fault.failure.hint) if part)
    try:
        example = msgspec.json.encode(_example(tool.schema, tool.schema, 0)).decode()
        check(example)
    except (McpFault, msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        return words
    return f"{words} For example: {example}" if 2 < len(example) <= MOST else words


def _example(schema: object, root: Mapping[str, Any], depth: int) -> Any:  # noqa: ANN401 - any JSON
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return "text"
    given = schema.get("examples")
    if isinstance(given, list | tuple) and given:
        return given[0]
    for word in ("const", "default", "example"):
        if word in schema:
            return schema[word]
    choices = schema.get("enum")
    if isinstance(choices, list | tuple) and choices:
        return choices[0]
    for word in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(word), list | tuple) and schema[word]:
            return _example(schema[word][0], root, depth + 1)
    if isinstance(schema.get("$ref"), str):
        return _example(_referred(schema["$ref"], root), root, depth + 1)
    return _of_type(schema, root, depth)


def _referred(reference: str, root: Mapping[str, Any]) -> object:
    found: object = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _of_type(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:  # noqa: ANN401 - any JSON
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list | tuple) and kind else kind
    if kind == "object" or (kind is None and isinstance(schema.get("properties"), Mapping)):
        return _object(schema, root, depth)
    if kind == "array":
        return [_example(schema.get("items", {}), root, depth + 1)]
    if kind in ("integer", "number"):
        least = schema.get("minimum", 1)
        return least if isinstance(least, int | float) else 1
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    return _FORMATS.get(str(schema.get("format")), "text")


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Return the required properties; where none is, the first one, to show how it looks."""
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    names = [name for name in required if name in known] if isinstance(required, list) else []
    wanted = names or (list(known)[:1] if not depth else [])
    return {name: _example(known[name], root, depth + 1) for name in wanted[:_FIELDS]}
