"""Two small tools to find tools, in place of the schemas of all, where those cost too much.

The model looks for a tool by words and is given its schema; it calls it by `call_tool`. Such a call
is unfolded before it is written down, so that the journal, the gate and people know the tool itself
only; on the wire it is folded again (`own_tools`).
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from patina.engine.estimate import server_costs
from patina.model.chat import ToolInfo
from patina.model.parts import ToolCall
from patina.model.settings import ChatSettings

SERVER: Final = "patina"
LIMIT: Final = 8
MOST: Final = 20
MOST_BYTES: Final = 24 * 1024  # of what is found, unless the first one has more
FIND: Final = ToolInfo(
    server=SERVER,
    tool="find_tools",
    alias="patina__find_tools",
    display_name="Patina",
    description="Find tools by words of what they do. Returns the name, the description and the "
    "schema of each that fits best.",
    schema={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "Words, such as: search issues"},
            "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    read_only=True,
    built_in=True,
)
CALL: Final = ToolInfo(
    server=SERVER,
    tool="call_tool",
    alias="patina__call_tool",
    display_name="Patina",
    description="Call a tool that find_tools found, with arguments that fit its schema.",
    schema={
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "As find_tools gives it"},
            "arguments": {"type": "object"},
        },
        "required": ["name"],
        "additionalProperties": False,
    },
    built_in=True,
)
_WORD: Final = re.compile(r"[^\W_]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_folded(tools: Sequence[ToolInfo], chat: ChatSettings) -> bool:
    """Whether a model is told of the two tools instead of `tools`."""
    if chat.find_tools == "auto":
        return bool(tools) and sum(server_costs(tools).values()) > chat.tools_budget
    return bool(tools) and chat.find_tools == "always"


def fold(call: ToolCall) -> ToolCall:
    """Return the call of `CALL` that stands for `call`."""
    try:
        arguments = msgspec.Raw(call.arguments.encode())
        msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        arguments = msgspec.Raw(msgspec.json.encode(call.arguments))  # as the model wrote them
    text = msgspec.json.encode({"name": call.name, "arguments": arguments}).decode()
    return ToolCall(call.id, CALL.alias, text, call.opaque)


def unfold(call: ToolCall) -> ToolCall | None:
    """Return the call that a call of `CALL` stands for; None where it cannot be told."""
    try:
        given = msgspec.json.decode(call.arguments, type=_Given)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None
    arguments = bytes(given.arguments).decode()
    if arguments.startswith('"'):  # some models write the object as a string
        try:
            arguments = msgspec.json.decode(arguments, type=str)
        except msgspec.DecodeError:
            return None
    return ToolCall(call.id, given.name, arguments, call.opaque)


class _Given(msgspec.Struct, frozen=True):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


def found(tools: Sequence[ToolInfo], query: str, limit: int = LIMIT) -> str:
    """Return the tools that fit `query` best, best first, as JSON, one on a line."""
    best = ranked(tools, query)
    if not best:
        counts = ", ".join(f"{name} ({n})" for name, n in counts_of(tools).items())
        return f"No tool fits {query!r}. Try other words. The servers and their tools: {counts}."
    lines: list[str] = []
    room = MOST_BYTES
    for tool in best[:limit]:
        line = msgspec.json.encode(
            {"name": tool.name, "description": tool.description, "schema": tool.schema}
        )
        room -= len(line)
        if room < 0 and lines:
            break
        lines.append(line.decode())
    more = len(best) - len(lines)
    rest = f"[{more} more fit: ask with other words, or a higher limit.]" if more else ""
    return "\n".join([*lines, *([rest] if rest else [])])


def ranked(tools: Sequence[ToolInfo], query: str) -> list[ToolInfo]:
    """Return the tools that share a word with `query`, the best first; all without a word.

    A word counts for more the fewer tools have it, and in a name more than in a description. The
    beginning of a word counts half.
    """
    wanted = dict.fromkeys(words(query))
    if not wanted:
        return list(tools)
    fields = [(words(tool.name), words(_described(tool))) for tool in tools]
    scores = [0.0] * len(tools)
    for word in wanted:
        values = [max(3 * _fit(word, name), _fit(word, text)) for name, text in fields]
        having = sum(value > 0 for value in values)
        weight = math.log(1 + len(tools) / having) if having else 0.0
        scores = [score + weight * value for score, value in zip(scores, values, strict=True)]
    order = sorted(range(len(tools)), key=lambda number: -scores[number])  # stable
    return [tools[number] for number in order if scores[number] > 0]


def words(text: str) -> set[str]:
    """Return the words of `text`, of names in any style too."""
    return {word.casefold() for word in _WORD.findall(_HUMP.sub(" ", text))}


def _described(tool: ToolInfo) -> str:
    properties: Any = tool.schema.get("properties")
    names = properties if isinstance(properties, dict) else ()
    return " ".join([tool.display_name, tool.description, *names])


def _fit(word: str, among: Iterable[str]) -> float:
    """Return 1 where `word` is among the words, 0.5 where one is the beginning of the other."""
    best = 0.0
    for other in among:
        if other == word:
            return 1.0
        short, long = sorted((word, other), key=len)
        if len(short) > 2 and long.startswith(short):
            best = 0.5
    return best


def counts_of(tools: Iterable[ToolInfo]) -> dict[str, int]:
    """Return how many tools each server has, in their order."""
    counts: dict[str, int] = {}
    for tool in tools:
        counts[tool.server] = counts.get(tool.server, 0) + 1
    return counts
