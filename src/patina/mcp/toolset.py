"""The tools of all servers behind one port."""

import logging
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from patina.mcp.definitions import Definition
from patina.mcp.failing import Forgotten
from patina.mcp.names import aliases
from patina.mcp.results import outcome_of
from patina.mcp.schema import Checker
from patina.mcp.supervisor import Supervisor
from patina.model.chat import ToolInfo, ToolOutcome
from patina.model.faults import McpFault, PermissionFault, UsageFault
from patina.model.parts import Text
from patina.ports.dialog import Dialog

FIRST_LIST_WAIT: Final = 10.0
_logger = logging.getLogger(__name__)


class Toolset:
    """Implements `ports.tools.Tools` over the servers of a `Supervisor`."""

    def __init__(self, supervisor: Supervisor, *, first_wait: float = FIRST_LIST_WAIT) -> None:
        self._supervisor = supervisor
        self._first_wait = first_wait
        self._checker = Checker()
        self._found: dict[str, ToolInfo] = {}

    async def list(self, servers: tuple[str, ...] | None) -> tuple[ToolInfo, ...]:
        """As `Tools.list`. Answers from connections and the cache; a server never seen is
        connected first, all such at once, at most `first_wait` seconds.

        With None, a server that may not start is left out, and one with `connect = "manual"`
        that is not connected; the supervisor's `on_change` tells of the former.
        """
        chosen = self._all() if servers is None else self._named(servers)
        unseen = tuple(name for name in chosen if self._supervisor.definitions(name) is None)
        if unseen:
            await self._supervisor.connect_within(unseen, self._first_wait)
        infos = [info for name in chosen for info in self._infos(name)]
        named = aliases(info.name for info in infos)
        listed = tuple(_with_alias(info, named[info.name]) for info in infos)
        for info in listed:
            self._found[info.name] = info
            self._found[info.alias] = info
        return listed

    async def refresh(self, servers: tuple[str, ...] | None) -> tuple[ToolInfo, ...]:
        """As `list`, but every server is connected and asked anew. Raises its `McpFault`."""
        for name in self._all() if servers is None else self._named(servers):
            await self._supervisor.refresh(name)
        return await self.list(servers)

    def find(self, name: str) -> ToolInfo | None:
        """As `Tools.find`. What was listed once keeps its names, whoever lists next."""
        return self._found.get(name)

    def check(self, tool: ToolInfo, arguments: str) -> Mapping[str, Any]:
        """As `Tools.check`."""
        return self._checker.parse(tool.name, tool.schema, arguments)

    async def ready(self, tool: ToolInfo) -> None:
        """As `Tools.ready`."""
        try:
            await self._supervisor.connect(tool.server)
        except (PermissionFault, UsageFault) as fault:
            raise McpFault(fault.failure.message, hint=fault.failure.hint) from None

    async def call(
        self, tool: ToolInfo, arguments: Mapping[str, Any], dialog: Dialog | None = None
    ) -> ToolOutcome:
        """As `Tools.call`. Connects where needed, and refuses a tool that is not what it was.

        What the server asks in the middle of a call is refused, with a `dialog` too.
        A call that was cut is never made again: it may have done its work. One that the server
        did not take, because it had forgotten the session, is made once more.
        """
        await self.ready(tool)
        definition = self._unchanged(tool)
        try:
            result = await self._supervisor.call(tool.server, tool.tool, arguments)
        except Forgotten:
            await self.ready(tool)
            definition = self._unchanged(tool)
            result = await self._supervisor.call(tool.server, tool.tool, arguments)
        outcome = await outcome_of(result, self._supervisor.put_blob)
        if definition.output_schema is None or result.structured_content is None or result.is_error:
            return outcome
        wrong = self._checker.problems(
            f"{tool.name} result", definition.output_schema, result.structured_content
        )
        if not wrong:
            return outcome
        _logger.warning("the result of %s breaks its schema: %s", tool.name, "; ".join(wrong))
        note = Text(f"[This result is not as {tool.name} declares it: {'; '.join(wrong)}.]")
        return ToolOutcome((*outcome.parts, note), outcome.is_error)

    def _unchanged(self, tool: ToolInfo) -> Definition:
        if not self._is_allowed(tool.server, tool.tool):
            raise McpFault(
                f"The tool {tool.name} is not among the allowed_tools of its server.",
                hint=f"`patina mcp edit {tool.server}` changes them.",
            )
        live = self._supervisor.definitions(tool.server) or ()
        definition = next((one for one in live if one.name == tool.tool), None)
        if definition is None:
            raise McpFault(
                f"Server {tool.server} no longer offers the tool {tool.tool}.",
                hint=f"`patina mcp tools {tool.server}` lists what it offers now.",
            )
        if not _same(self._info(tool.server, definition), tool):
            raise McpFault(
                f"The tool {tool.name} was not called: its server changed its definition since "
                "the model was told of it.",
                hint=f"`patina mcp tools {tool.server} --json` shows what it is now; a new "
                "question tells the model.",
            )
        return definition

    def _all(self) -> tuple[str, ...]:
        chosen = []
        for name, settings in self._supervisor.servers.items():
            if not settings.enabled:
                continue
            if settings.connect == "manual" and not self._supervisor.connected(name):
                continue
            try:
                self._supervisor.startable(name)
            except (McpFault, PermissionFault) as fault:
                self._supervisor.skip(name, fault)
                continue
            chosen.append(name)
        return tuple(chosen)

    def _named(self, servers: Iterable[str]) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(servers))
        for name in chosen:
            self._supervisor.settings(name)
        startable = []
        for name in chosen:
            try:
                self._supervisor.startable(name)
            except McpFault as fault:
                self._supervisor.skip(name, fault)
            else:
                startable.append(name)
        return tuple(startable)

    def _infos(self, server: str) -> tuple[ToolInfo, ...]:
        definitions = self._supervisor.definitions(server) or ()
        # By name: some servers list in a new order each time, which would void prompt caches.
        return tuple(
            self._info(server, definition)
            for definition in sorted(definitions, key=lambda one: one.name)
            if definition.name and self._is_allowed(server, definition.name)
        )

    def _is_allowed(self, server: str, tool: str) -> bool:
        allowed = self._supervisor.servers[server].allowed_tools
        return allowed is None or any(fnmatchcase(tool, glob) for glob in allowed)

    def _info(self, server: str, definition: Definition) -> ToolInfo:
        settings = self._supervisor.servers[server]
        return ToolInfo(
            server=server,
            tool=definition.name,
            alias="",
            display_name=settings.display_name or server,
            description=definition.description or definition.title,
            schema=definition.schema,
            read_only=definition.read_only,
            destructive=definition.destructive,
            open_world=definition.open_world,
            timeout=settings.tool_timeout,
        )


def _with_alias(info: ToolInfo, alias: str) -> ToolInfo:
    fields = {name: getattr(info, name) for name in info.__struct_fields__}
    return ToolInfo(**{**fields, "alias": alias})


def _same(one: ToolInfo, other: ToolInfo) -> bool:
    """Whether the model, and the person who decides, are told the same of both."""
    return (
        one.description == other.description
        and (one.read_only, one.destructive, one.open_world)
        == (other.read_only, other.destructive, other.open_world)
        and (one.schema is other.schema or _canonical(one.schema) == _canonical(other.schema))
    )


def _canonical(schema: Mapping[str, Any]) -> bytes:
    # As JSON: to Python, `True` equals `1`.
    return msgspec.json.encode(schema, order="deterministic")
