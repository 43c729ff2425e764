"""Patina's own tools for models, beside those of servers.

They read what was too long to be sent (`read_result`, `search_result`), read resources of servers
(`mcp_read_resource`), and find and call tools that are too many to be told of (`find_tools`). None
needs a server of its own, and a model reaches nothing by them but what is its conversation's.

A call of a resource or by `call_tool` is written down as that of the server or tool it means, so
that the gate and people judge that; `unfolded` and `on_wire` lead there and back.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from patina.engine import reading
from patina.engine.excerpts import blobs_of, has_large, results_of
from patina.engine.find_tools import CALL, FIND, LIMIT, counts_of, fold, found, is_folded, unfold
from patina.engine.resources import READ_RESOURCE, parts_of, read_call, readers, resource_lines
from patina.engine.services import Services
from patina.engine.switched import is_on, those_on
from patina.model.chat import ToolInfo, ToolOutcome
from patina.model.faults import Fault, McpFault
from patina.model.parts import File, Image, ResultPart, Text, ToolCall
from patina.model.tree import Tree
from patina.ports.dialog import Dialog
from patina.ports.features import ResourceInfo, TemplateInfo

_log = logging.getLogger(__name__)

SEARCH_SECONDS: Final = 3.0  # of a regular expression
LONGEST_QUERY: Final = 1_000  # characters
_HANDLE: Final = {"type": "string", "description": "Such as result:0123456789ab"}
READ_RESULT: Final = ToolInfo(
    server="patina",
    tool="read_result",
    alias="patina__read_result",
    display_name="Patina",
    description="Read a part of an earlier result that was too long to be sent, by lines (from 1) "
    "or by bytes (from 0), at most 16 KB at a time. JSON on one line is indented first. Of a "
    "picture it gives the picture.",
    schema={
        "type": "object",
        "properties": {
            "handle": _HANDLE,
            "from_line": {"type": "integer", "minimum": 1},
            "from_byte": {"type": "integer", "minimum": 0},
            "count": {"type": "integer", "minimum": 1, "description": "Lines, or bytes"},
        },
        "required": ["handle"],
        "additionalProperties": False,
    },
    read_only=True,
    built_in=True,
)
SEARCH_RESULT: Final = ToolInfo(
    server="patina",
    tool="search_result",
    alias="patina__search_result",
    display_name="Patina",
    description="Search in an earlier result that was too long to be sent. Gives the lines that "
    "have the words (in any case) or match the regular expression, with their numbers.",
    schema={
        "type": "object",
        "properties": {
            "handle": _HANDLE,
            "query": {"type": "string", "minLength": 1, "maxLength": LONGEST_QUERY},
            "regex": {"type": "boolean", "default": False},
            "context_lines": {"type": "integer", "minimum": 0, "maximum": reading.MOST_CONTEXT},
            "from_line": {"type": "integer", "minimum": 1},
        },
        "required": ["handle", "query"],
        "additionalProperties": False,
    },
    read_only=True,
    built_in=True,
)
READERS: Final = (READ_RESULT, SEARCH_RESULT)
_OWN: Final = {tool.name: tool for tool in (FIND, CALL, READ_RESOURCE, *READERS)}
_BY_ALIAS: Final = {tool.alias: tool for tool in _OWN.values()}


class Told(Struct, frozen=True):
    """What a model is told of: `tools` with their schemas, and lines for the system prompt."""

    tools: tuple[ToolInfo, ...] = ()
    listed: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


class OwnTools:
    """`ports.tools.Tools` of one turn: those of the servers, and Patina's own around them.

    `tree` returns the conversation as it is now.
    """

    def __init__(self, services: Services, tree: Callable[[], Tree]) -> None:
        self._services = services
        self._tools = services.tools
        self._tree = tree
        self._listed: tuple[ToolInfo, ...] = ()
        self._resources: tuple[ResourceInfo, ...] = ()
        self._templates: tuple[TemplateInfo, ...] = ()
        self._readers: dict[str, ToolInfo] = {}
        self._folded = False

    async def list(self, servers: tuple[str, ...] | None) -> tuple[ToolInfo, ...]:
        """Return all that may be run in this turn, as `Tools.list`; none where nothing is offered.

        What is off in this conversation is left out, what nobody has seen as it is now, and a tool
        of a server that has the name of one of Patina's own.
        """
        offered = those_on(self._tree(), await self._tools.list(servers))
        self._listed = tuple(
            tool
            for tool in offered
            if not tool.change and tool.name not in _OWN and tool.alias not in _BY_ALIAS
        )
        await self._list_resources(servers)
        offers: tuple[ResourceInfo | TemplateInfo, ...] = (*self._resources, *self._templates)
        self._readers = {tool.name: tool for tool in readers(offers, self._listed)}
        self._folded = is_folded(self._listed, self._services.chat)
        if not self._listed and not self._readers and not has_large(self._tree()):
            return ()
        return (*self._listed, *self._readers.values(), *_OWN.values())

    async def _list_resources(self, servers: tuple[str, ...] | None) -> None:
        features = self._services.features
        if features is None:
            return
        try:
            resources = await features.resources(servers)
            templates = await features.templates(servers)
        except Fault as fault:  # an answer is possible without
            _log.warning("no resources: %s", fault)
            return
        tree = self._tree()
        self._resources = tuple(one for one in resources if is_on(tree, one.server))
        self._templates = tuple(one for one in templates if is_on(tree, one.server))

    def told(self, *, readable: bool) -> Told:
        """Return what the model is told of what was listed; `readable`: that results are kept.

        What is always the same comes first: caches of providers go by the beginning.
        """
        tools = (FIND, CALL) if self._folded else self._listed
        names = [f"- {tool.name}: {_one_line(tool.description)}" for tool in tools]
        if self._folded:
            counts = counts_of(self._listed).items()
            names += [f"- {server}: {_count(count)}, by find_tools" for server, count in counts]
        own = ((READ_RESOURCE,) if self._readers else ()) + (READERS if readable else ())
        names += [f"- {tool.name}: {_one_line(tool.description)}" for tool in own]
        resources = resource_lines(self._resources, self._templates) if self._readers else ()
        return Told((*tools, *own), tuple(names), tuple(resources))

    def find(self, name: str) -> ToolInfo | None:
        """As `Tools.find`."""
        own = _OWN.get(name) or _BY_ALIAS.get(name) or self._readers.get(name)
        return own or self._tools.find(name)

    def check(self, tool: ToolInfo, arguments: str) -> Mapping[str, Any]:
        """As `Tools.check`."""
        return self._tools.check(tool, arguments)

    async def ready(self, tool: ToolInfo) -> None:
        """As `Tools.ready`."""
        if tool.name not in _OWN:
            await self._tools.ready(tool)

    async def call(
        self, tool: ToolInfo, arguments: Mapping[str, Any], dialog: Dialog | None = None
    ) -> ToolOutcome:
        """As `Tools.call`."""
        if tool.name in _OWN:
            return ToolOutcome(await self._own(tool, arguments))
        features = self._services.features
        if tool.name not in self._readers or features is None:
            return await self._tools.call(tool, arguments, dialog)
        return ToolOutcome(
            parts_of(await features.read(tool.server, str(arguments["uri"]), dialog))
        )

    async def resume(
        self, tool: ToolInfo, task_id: str, dialog: Dialog | None = None
    ) -> ToolOutcome:
        """As `Tools.resume`."""
        return await self._tools.resume(tool, task_id, dialog)

    def unfolded(self, call: ToolCall) -> ToolCall:
        """Return `call` as that of the tool it means; as it is, where that is none of this turn."""
        if call.name == CALL.name:
            meant = unfold(call)
            tool = self._runnable(meant.name) if meant else None
            if meant is None or tool is None or tool is CALL:
                return call
            call = replace(meant, name=tool.name)
        return read_call(call, self._readers) if call.name == READ_RESOURCE.name else call

    def _runnable(self, name: str) -> ToolInfo | None:
        own = _OWN.get(name) or _BY_ALIAS.get(name) or self._readers.get(name)
        return own or next((one for one in self._listed if name in (one.name, one.alias)), None)

    def on_wire(self, call: ToolCall) -> ToolCall | None:
        """Return `call` as the model is told of it; None where no such tool is known."""
        tool = self.find(call.name)
        if tool is not None and (tool.name in _OWN or tool.alias in _BY_ALIAS):
            return replace(call, name=tool.alias)
        if self._folded:
            return fold(call)
        return replace(call, name=tool.alias) if tool is not None else None

    async def _own(self, tool: ToolInfo, arguments: Mapping[str, Any]) -> tuple[ResultPart, ...]:
        if tool is READ_RESULT:
            return (await self._read(arguments),)
        if tool is SEARCH_RESULT:
            return (Text(await self._search(arguments)),)
        if tool is FIND:
            query, limit = str(arguments["query"]), int(arguments.get("limit", LIMIT))
            return (Text(found(self._listed, query[:LONGEST_QUERY], limit)),)
        if tool is CALL:  # else it was unfolded
            raise McpFault(
                f"There is no tool {str(arguments['name'])[:200]!r}.",
                hint="find_tools finds the names of tools.",
            )
        names = ", ".join(reader.server for reader in self._readers.values())
        raise McpFault(
            f"No server {str(arguments['server'])[:200]!r} offers resources.",
            hint=f"Those that do: {names or 'none'}.",
        )

    async def _read(self, arguments: Mapping[str, Any]) -> ResultPart:
        part, text = await self._kept(str(arguments["handle"]))
        if isinstance(part, Image):
            return part
        count = arguments.get("count")
        if "from_byte" in arguments:
            if "from_line" in arguments:
                raise McpFault("A result is read by lines or by bytes, not both.")
            return Text(reading.bytes_from(text, arguments["from_byte"], count))
        return Text(reading.lines_from(text, arguments.get("from_line", 1), count))

    async def _search(self, arguments: Mapping[str, Any]) -> str:
        part, text = await self._kept(str(arguments["handle"]))
        if isinstance(part, Image):
            raise McpFault("This is a picture: there is no text to search in.")
        query = str(arguments["query"])
        if arguments.get("regex"):
            hits = await _matches(query, text)
        else:
            hits = await anyio.to_thread.run_sync(reading.find_plain, text, query)
        around, first = arguments.get("context_lines", 0), arguments.get("from_line", 1)
        return await anyio.to_thread.run_sync(reading.told_hits, text, hits, around, first)

    async def _kept(self, handle: str) -> tuple[ResultPart, str]:
        """Return the part that `handle` names, and its text as it is read.

        Raises `McpFault` where nothing of this conversation has it, or it is no text; `StoreFault`.
        """
        tree = self._tree()
        blob = blobs_of(tree).get(handle.strip())
        part = next((part for part in _parts(tree) if blob and part.blob == blob), None)
        if blob is None or part is None:
            raise McpFault(
                f"No result of this conversation has the handle {handle[:100]!r}.",
                hint='It stands in the result itself, as "result:" and 12 digits.',
            )
        data = await self._services.journal.get_blob(blob)
        if isinstance(part, Image):
            return part, ""
        try:
            text = data.decode()
        except UnicodeDecodeError:
            kind = part.media_type if isinstance(part, File) else "text"
            raise McpFault(f"This is a file ({kind}) that is no text: it cannot be read.") from None
        return part, await anyio.to_thread.run_sync(reading.as_read, text)


def _parts(tree: Tree) -> Sequence[ResultPart]:
    return [part for result in results_of(tree, tree.path()) for part in result.parts]


async def _matches(pattern: str, text: str) -> Sequence[reading.Hit]:
    """Search in a process of its own, which is killed where it takes too long."""
    program = [sys.executable, "-I", str(Path(__file__).with_name("pattern_search.py"))]
    given = msgspec.json.encode({"pattern": pattern, "text": text})
    with anyio.move_on_after(SEARCH_SECONDS) as limit:
        ended = await anyio.run_process(program, input=given, check=False)
    if limit.cancelled_caught or ended.returncode:
        raise McpFault(
            "The regular expression takes too long, or more memory than there is.",
            hint="Search for plain words, or write it without nested repeats.",
        )
    answer = msgspec.json.decode(ended.stdout)
    if "error" in answer:
        raise McpFault(f"This is no regular expression: {answer['error']}.")
    return [reading.Hit(*hit) for hit in answer["hits"]]


def _one_line(text: str) -> str:
    # The whole description goes with the schema; the list is for orientation.
    words = " ".join(text.split())
    return words if len(words) <= 200 else words[:199] + "…"


def _count(number: int) -> str:
    return "1 tool" if number == 1 else f"{number:,} tools"
