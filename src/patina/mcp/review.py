"""What changed in the tools of a server, for a person to read before it is accepted."""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from patina.mcp.definitions import Definition
from patina.mcp.hidden import revealed
from patina.mcp.lookalike import Flag, flags
from patina.mcp.pins import Listing, Waiting

Mark = Literal[" ", "-", "+"]
_CONTEXT: Final = 2
# Comparing takes time that grows with the square of this.
_MOST_COMPARED: Final = 2000
_CLAIMS: Final = {
    "read_only": "reads only",
    "destructive": "destructive",
    "idempotent": "idempotent",
    "open_world": "open world",
}


class Line(Struct, frozen=True):
    """One line of a difference, safe to show: gone (-), come (+), or there as before."""

    mark: Mark
    text: str


class Difference(Struct, frozen=True):
    """One tool that changed, or the instructions (`tool` is "")."""

    tool: str
    change: Literal["new", "changed", "gone"]
    lines: tuple[Line, ...]
    before: Definition | str | None = None
    now: Definition | str | None = None


class Review(Struct, frozen=True):
    """What there is to see of one server. `seen` is what is accepted by accepting it."""

    seen: Listing
    waiting: Waiting
    differences: tuple[Difference, ...]
    flags: tuple[Flag, ...]


def review(
    server: str,
    listings: Mapping[str, Listing],
    pinned: Listing | None,
    waiting: Waiting,
    display: Mapping[str, str],
) -> Review:
    """Compare what `server` lists with what is `pinned`, None for nothing.

    `listings` are those of all servers, its own included; `display` maps them to what people read.
    """
    now = listings[server]
    return Review(
        now,
        waiting,
        tuple(_differences(pinned or Listing(), now, waiting)),
        flags(server, now, listings, display),
    )


def _differences(before: Listing, now: Listing, waiting: Waiting) -> Iterator[Difference]:
    if waiting.instructions:
        old, new = before.instructions, now.instructions
        lines = difference(revealed(old) if old else (), revealed(new) if new else ())
        yield Difference("", "changed", lines, old, new)
    was = {one.name: one for one in before.tools}
    are = {one.name: one for one in now.tools}
    for name in waiting.changed:
        lines = difference(described(was[name]) if name in was else (), described(are[name]))
        yield Difference(name, "changed", lines, was.get(name), are[name])
    for name in waiting.new:
        yield Difference(name, "new", difference((), described(are[name])), None, are[name])
    for name in waiting.gone:
        if name in was:
            yield Difference(name, "gone", (), was[name], None)


def described(definition: Definition) -> tuple[str, ...]:
    """Return a definition as lines, whole, with everything hidden in it as escapes."""
    lines = [f"title: {line}" for line in revealed(definition.title) if line]
    lines += [f"description: {line}" for line in revealed(definition.description)]
    for field, words in _CLAIMS.items():
        claim = getattr(definition, field)
        if claim is not None:
            lines.append(f"it says of itself: {words} {'yes' if claim else 'no'}")
    lines += [f"takes: {line}" for line in _pretty(definition.schema)]
    if definition.output_schema is not None:
        lines += [f"returns: {line}" for line in _pretty(definition.output_schema)]
    return tuple(lines)


def _pretty(schema: Mapping[str, Any]) -> tuple[str, ...]:
    encoded = msgspec.json.encode(schema, order="deterministic")
    return revealed(msgspec.json.format(encoded, indent=2).decode())


def difference(before: tuple[str, ...], now: tuple[str, ...]) -> tuple[Line, ...]:
    """Return the lines that went and came, with some around them; "…" stands for those left out."""
    if max(len(before), len(now)) > _MOST_COMPARED:
        return (*(Line("-", line) for line in before), *(Line("+", line) for line in now))
    found: list[Line] = []
    end = 0
    for group in SequenceMatcher(None, before, now, autojunk=False).get_grouped_opcodes(_CONTEXT):
        if group[0][1] > end:
            found.append(Line(" ", "…"))
        for kind, old, old_end, new, new_end in group:
            if kind == "equal":
                found += [Line(" ", line) for line in before[old:old_end]]
            else:
                found += [Line("-", line) for line in before[old:old_end]]
                found += [Line("+", line) for line in now[new:new_end]]
        end = group[-1][2]
    if found and end < len(before):
        found.append(Line(" ", "…"))
    return tuple(found)
