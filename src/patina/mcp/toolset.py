"""The tools of all servers behind one port."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from patina.mcp import lookout
from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.connection import Connection
from patina.mcp.definitions import Definition
from patina.mcp.failing import Forgotten
from patina.mcp.hidden import stripped, stripped_schema
from patina.mcp.names import aliases
from patina.mcp.pins import Pinned
from patina.mcp.results import outcome_of
from patina.mcp.schema import Checker
from patina.mcp.supervisor import Supervisor
from patina.mcp.visits import visited
from patina.model.chat import ToolInfo, ToolOutcome
from patina.model.faults import McpFault, PermissionFault, UsageFault
from patina.model.parts import Text
from patina.model.questions import Asked
from patina.model.settings import ServerSettings
from patina.ports.dialog import Dialog

if TYPE_CHECKING:
    from mcp_types import CallToolResult

FIRST_LIST_WAIT: Final = 10.0
# How often a task is found again over a new link before it is given up.
MOST_PARTINGS: Final = 3
_logger = logging.getLogger(__name__)


class Toolset:
    """Implements `ports.tools.Tools` over the servers of a `Supervisor`."""

    def __init__(self, supervisor: Supervisor, *, first_wait: float = FIRST_LIST_WAIT) -> None:
        self._supervisor = supervisor
        self._first_wait = first_wait
        self._checker = Checker()
        self._found: dict[str, ToolInfo] = {}
        self._told: dict[tuple[str, str], tuple[Definition, ServerSettings, Pinned, ToolInfo]] = {}

    async def list(self, servers: tuple[str, ...] | None) -> tuple[ToolInfo, ...]:
        """As `Tools.list`. Answers from connections and the cache; a server never seen is
        connected first, all such at once, at most `first_wait` seconds.

        With None, a server that may not start is left out, and one with `connect = "manual"`
        that is not connected; the supervisor's `on_change` tells of the former.
        """
        chosen = self.chosen(servers)
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
        for name in self.chosen(servers):
            await self._supervisor.refresh(name)
        return await self.list(servers)

    def known(self) -> tuple[ToolInfo, ...]:
        """Return the tools of all enabled servers as far as they are known, without an alias."""
        enabled = (name for name, one in self._supervisor.servers.items() if one.enabled)
        return tuple(info for name in enabled for info in self._infos(name))

    def chosen(self, servers: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return those that `servers` means which may be asked; None means all, as for `list`.

        Raises as `list`.
        """
        return self._all() if servers is None else self._named(servers)

    def find(self, name: str) -> ToolInfo | None:
        """As `Tools.find`. What was listed once keeps its names, whoever lists next.

        `change` is as of now, all else as it was listed.
        """
        info = self._found.get(name)
        if info is None or info.server not in self._supervisor.servers:
            return info
        live = self._supervisor.definitions(info.server) or ()
        pinned = self._supervisor.pins.of(info.server)
        # What the model was told may have changed since: the gate must know.
        changes = (pinned.change(one) for one in live if one.name == info.tool)
        change = next(changes, info.change)
        return info if change == info.change else replace(info, change=change)

    def check(self, tool: ToolInfo, arguments: str) -> Mapping[str, Any]:
        """As `Tools.check`."""
        return self._checker.parse(tool.name, tool.schema, arguments)

    async def ready(self, tool: ToolInfo) -> None:
        """As `Tools.ready`. A server that only wants a sign-in is: the call has a person do so."""
        try:
            await self._ready(tool)
        except McpFault as fault:
            is_sign_in = fault.failure.code == SIGN_IN
            if not is_sign_in or not self._supervisor.signing.possible(tool.server):
                raise

    async def _ready(self, tool: ToolInfo) -> None:
        try:
            await self._supervisor.connect(tool.server)
        except (PermissionFault, UsageFault) as fault:
            raise McpFault(fault.failure.message, hint=fault.failure.hint) from None

    async def call(
        self, tool: ToolInfo, arguments: Mapping[str, Any], dialog: Dialog | None = None
    ) -> ToolOutcome:
        """As `Tools.call`. Connects where needed, and refuses a tool that is not what it was.

        A call that was cut is never made again: it may have done its work. One that the server
        did not take is made once more: because it had forgotten the session, because it wanted
        somebody to sign in, who did, or to visit a page of its own first. A task is waited for over
        a new link.
        """
        as_task = tool.task == "required"

        def deed(connection: Connection) -> "Awaitable[CallToolResult]":
            return connection.call(tool.tool, arguments, dialog, as_task=as_task)

        return await self._carried_out(tool, deed, dialog)

    async def resume(
        self, tool: ToolInfo, task_id: str, dialog: Dialog | None = None
    ) -> ToolOutcome:
        """As `Tools.resume`."""
        return await self._carried_out(tool, _following(tool, task_id, dialog), dialog)

    async def _carried_out(
        self,
        tool: ToolInfo,
        deed: "Callable[[Connection], Awaitable[CallToolResult]]",
        dialog: Dialog | None,
    ) -> ToolOutcome:
        partings, forgotten, has_visited = 0, False, dialog is None
        refusals = self._supervisor.signing.call(tool.server, dialog)

        async def do(connection: Connection) -> "tuple[Definition, CallToolResult]":
            await lookout.settle(connection)
            return self._unchanged(tool), await deed(connection)

        while True:
            try:
                await self._ready(tool)
                definition, result = await self._supervisor.use(tool.server, do)
            except Forgotten:
                if forgotten:
                    raise
                forgotten = True
            except McpFault as fault:
                task_id = _parted_from(fault)
                if task_id:  # the task is the call from now on
                    deed = _following(tool, task_id, dialog)
                if await refusals.mended(fault):
                    continue
                partings += 1
                if not task_id or fault.failure.code == SIGN_IN or partings > MOST_PARTINGS:
                    raise
            else:
                if not has_visited and dialog is not None:
                    has_visited = await self._signed_in_there(tool, result, dialog)
                    if has_visited:
                        continue
                return await self._outcome(tool, definition, result)

    async def _signed_in_there(
        self, tool: ToolInfo, result: "CallToolResult", dialog: Dialog
    ) -> bool:
        """Have a person sign in where a failed `result` says so; whether they did (P-08)."""
        if not result.is_error:
            return False
        from patina.mcp.login_pages import login_page

        page = login_page(result, self._supervisor.settings(tool.server))
        if page is None:
            return False
        text = (
            f"{tool.display_name} wants you to sign in on a page of its own, at {page.host}. "
            "The call is made again after that."
        )
        return await visited(dialog, Asked(kind="url", text=text, url=page.url, host=page.host))

    async def _outcome(
        self, tool: ToolInfo, definition: Definition, result: "CallToolResult"
    ) -> ToolOutcome:
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
        now = self._info(tool.server, definition, self._supervisor.pins.of(tool.server))
        if now.change:
            raise unseen(now)
        if now.hash != tool.hash:
            raise McpFault(
                f"The tool {tool.name} was not called: its server changed its definition since "
                "the model was told of it.",
                hint="A new question tells the model what it is now.",
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
        pinned = self._supervisor.pins.of(server)
        # By name: some servers list in a new order each time, which would void prompt caches.
        return tuple(
            self._info(server, definition, pinned)
            for definition in sorted(definitions, key=lambda one: one.name)
            if definition.name and self._is_allowed(server, definition.name)
        )

    def _is_allowed(self, server: str, tool: str) -> bool:
        allowed = self._supervisor.servers[server].allowed_tools
        return allowed is None or any(fnmatchcase(tool, glob) for glob in allowed)

    def _info(self, server: str, definition: Definition, pinned: Pinned) -> ToolInfo:
        """Return a tool as it is told of; it is hashed and cleaned once, not at each call."""
        settings = self._supervisor.servers[server]
        kept = self._told.get((server, definition.name))
        if kept is not None:
            was, under, by, told = kept
            if was is definition and under is settings and by.is_as(pinned):
                return told
        told = _told(server, settings, definition, pinned)
        self._told[server, definition.name] = (definition, settings, pinned, told)
        return told


def _told(
    server: str, settings: ServerSettings, definition: Definition, pinned: Pinned
) -> ToolInfo:
    return ToolInfo(
        server=server,
        tool=definition.name,
        alias="",
        display_name=settings.display_name or server,
        description=stripped(definition.description or definition.title),
        schema=stripped_schema(definition.schema),
        read_only=definition.read_only,
        destructive=definition.destructive,
        open_world=definition.open_world,
        timeout=settings.tool_timeout,
        most_time=settings.tool_timeout_most,
        hash=pinned.hash(definition),
        change=pinned.change(definition),
        task=definition.task,
    )


def _following(
    tool: ToolInfo, task_id: str, dialog: Dialog | None
) -> "Callable[[Connection], Awaitable[CallToolResult]]":
    return lambda connection: connection.resume(tool.tool, task_id, dialog)


def _parted_from(fault: McpFault) -> str:
    """Return the task that a server was lost with, "" where `fault` says nothing of one."""
    from patina.mcp.tasks import Parted

    return fault.task_id if isinstance(fault, Parted) else ""


def _with_alias(info: ToolInfo, alias: str) -> ToolInfo:
    return replace(info, alias=alias)


def unseen(tool: ToolInfo) -> McpFault:
    """Return the fault of a tool that is new or changed and that nobody has seen since."""
    did = "added it" if tool.change == "new" else "changed its definition or its instructions"
    return McpFault(
        f"The tool {tool.name} was not called: its server {did}, and nobody has seen it since.",
        hint=f"`patina mcp review {tool.server}` shows the difference and accepts it.",
    )
