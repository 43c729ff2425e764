"""What the model is told of the resources of servers, and how a call to read one is meant."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from patina.model.chat import ToolInfo
from patina.model.parts import ResultPart, Text, ToolCall
from patina.ports.features import Content, ResourceInfo, TemplateInfo

MOST: Final = 50  # of each, in the system prompt
LONGEST: Final = 300  # characters of a line
READ_RESOURCE: Final = ToolInfo(
    server="patina",
    tool="mcp_read_resource",
    alias="mcp_read_resource",
    display_name="Patina",
    description="Read a resource of a server: one that is listed as available, or one whose "
    "address fits a template.",
    schema={
        "type": "object",
        "properties": {
            "server": {"type": "string", "description": "The name of the server"},
            "uri": {"type": "string", "description": "The address of the resource"},
        },
        "required": ["server", "uri"],
        "additionalProperties": False,
    },
    read_only=True,
    built_in=True,
)


def resource_lines(
    resources: Sequence[ResourceInfo], templates: Sequence[TemplateInfo]
) -> list[str]:
    """Return the lines of the system prompt; none without resources."""
    lines: list[str] = []
    if resources:
        told = [_line(r.server, r.uri, r.title or r.name, r.description) for r in resources[:MOST]]
        lines += ["", "Available resources:", *told, *_more(len(resources))]
    if templates:
        shown = templates[:MOST]
        told = [_line(t.server, t.template, t.title or t.name, t.description) for t in shown]
        lines += ["", "Templates of resources:", *told, *_more(len(templates))]
    return lines


def _line(server: str, address: str, name: str, description: str) -> str:
    line = f"- {server}: {address} — {name}"
    line = " ".join((f"{line}: {description}" if description else line).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _more(count: int) -> list[str]:
    return [f"- and {count - MOST:,} more"] if count > MOST else []


def readers(
    offers: Iterable[ResourceInfo | TemplateInfo], tools: Iterable[ToolInfo]
) -> tuple[ToolInfo, ...]:
    """Return the tool that reads the resources of each server, for the gate and for people.

    A server that has a tool of that name keeps it; its resources are then not for the model.
    """
    tools = tuple(tools)
    taken = {tool.name for tool in tools}
    known = {tool.server: tool for tool in reversed(tools)}
    return tuple(
        _reader(server, known.get(server))
        for server in dict.fromkeys(offer.server for offer in offers)
        if f"{server}.{READ_RESOURCE.tool}" not in taken
    )


def _reader(server: str, like: ToolInfo | None) -> ToolInfo:
    return ToolInfo(
        server=server,
        tool=READ_RESOURCE.tool,
        alias=READ_RESOURCE.alias,
        display_name=like.display_name if like else server,
        description=READ_RESOURCE.description,
        schema=READ_RESOURCE.schema,
        read_only=True,
        timeout=like.timeout if like else READ_RESOURCE.timeout,
        most_time=like.most_time if like else READ_RESOURCE.most_time,
    )


def read_call(call: ToolCall, by_name: Mapping[str, ToolInfo]) -> ToolCall:
    """Return a call of `READ_RESOURCE` as one of the server it names, if that is one of these."""
    try:
        given = msgspec.json.decode(call.arguments, type=_Given)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return call
    name = f"{given.server}.{READ_RESOURCE.tool}"
    return ToolCall(call.id, name, call.arguments, call.opaque) if name in by_name else call


class _Given(msgspec.Struct, frozen=True):
    server: str


def parts_of(contents: Sequence[Content]) -> tuple[ResultPart, ...]:
    """Return what was read as the parts of a result; of several, each after its address."""
    if len(contents) == 1:
        return (contents[0].part,)
    return tuple(part for content in contents for part in (Text(f"[{content.uri}]"), content.part))
