"""The plain chat's words for tools: which are on, what they cost, and a call that is run again."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import redirect_stdout
from typing import Any, Final

from anyio.from_thread import BlockingPortal
from msgspec import Struct

from patina.assembly.app import App
from patina.cli.carrying import carry_out
from patina.cli.output import print_listing
from patina.cli.tool_switches import ALL, Globs, turned_off, turned_on
from patina.engine.estimate import server_costs
from patina.engine.find_tools import is_folded
from patina.engine.switched import covers
from patina.model import commands
from patina.model.chat import ToolInfo
from patina.model.events import MetaChanged
from patina.model.faults import UsageFault
from patina.model.items import Result
from patina.model.tree import Tree

_COLUMNS: Final = {"name": "TOOL", "state": "IS", "description": "WHAT IT SAYS IT DOES"}
_NAMED: Final = 12  # of what is on, in the answer to /tools on and off
_SWITCHES: Final = {"on": turned_on, "off": turned_off}


class _Known(Struct, frozen=True):
    """The tools that are known now. `servers` are all, with the names of their tools or None."""

    tools: tuple[ToolInfo, ...]
    servers: dict[str, list[str] | None]


class ToolCommands:
    """Carries out /tools. `run` runs async work in the app's thread, which Ctrl+C ends with
    `CancelledError`; `tell` shows a line. Without a `terminal`, stdout has answers only.

    `chosen` is what is on in the conversation that has not begun yet; None: all.
    """

    def __init__(
        self,
        portal: BlockingPortal,
        app: App,
        run: Callable[..., Any],
        tell: Callable[[str], None],
        *,
        terminal: bool,
    ) -> None:
        self.chosen: Globs | None = None
        self._portal = portal
        self._app = app
        self._run = run
        self._tell = tell
        self._terminal = terminal

    def command(self, session: str, words: str) -> None:
        """/tools and what may follow it, in a conversation or, without `session`, in the next one.

        Raises `Fault`s.
        """
        verb, *names = words.split() or [""]
        if verb and (verb not in _SWITCHES or not names):
            raise UsageFault(
                f"/tools does not know {words}.",
                hint="/tools lists them; /tools on NAME… and /tools off NAME… take servers, "
                "server.tool or globs of these.",
            )
        try:
            known = self._run(self._known)
        except CancelledError:
            self._tell("")
            return
        if verb:
            self._switch(session, verb, names, known)
        else:
            self._list(known, self._globs(session))

    def failed_call(self, session: str) -> str:
        """Return the id of the newest result of the active branch that says its call failed of
        something that may pass. Raises `UsageFault` where there is none.
        """
        for item in reversed(self._tree(session).path()):
            if isinstance(item, Result) and item.retriable:
                return item.id
        raise UsageFault(
            "No tool call of this conversation failed of something that may pass.",
            hint="/retry has the newest message answered; /regenerate has it answered anew.",
        )

    async def _known(self) -> _Known:
        tools, supervisor = await self._app.tools.list(None), self._app.supervisor
        servers: dict[str, list[str] | None] = {
            name: None if supervisor.definitions(name) is None else []
            for name in supervisor.servers
        }
        for tool in tools:
            names = servers.get(tool.server)
            servers[tool.server] = [*(names or ()), tool.tool]
        return _Known(tools, servers)

    def _tree(self, session: str) -> Tree:
        return Tree(self._portal.call(self._app.journal.read, session).items)

    def _globs(self, session: str) -> Globs:
        globs = self._tree(session).facts.get("tools") if session else self.chosen
        return ALL if globs is None else tuple(globs)

    def _list(self, known: _Known, globs: Globs) -> None:
        rows = [
            {"name": tool.name, "state": _state(tool, globs), "description": tool.description}
            for tool in known.tools
        ]
        with redirect_stdout(sys.stdout if self._terminal else sys.stderr):
            print_listing(rows, _COLUMNS, as_json=False, empty="No tools are offered.")
        self._tell_costs(known, globs)
        for status in self._portal.call(self._app.supervisor.status):
            if status.text:
                self._tell(f"{status.server}: {status.text}")

    def _tell_costs(self, known: _Known, globs: Globs) -> None:
        offered = [tool for tool in known.tools if _state(tool, globs) == "on"]
        costs = server_costs(offered)
        for server in dict.fromkeys(tool.server for tool in known.tools):
            own = [tool for tool in known.tools if tool.server == server]
            on = sum(tool.server == server for tool in offered)
            cost = f", about {costs[server]:,} tokens with every request" if on else ""
            self._tell(f"{server}: {on} of {_count(len(own))} on{cost}.")
            if any(tool.change for tool in own):
                self._tell(f"What is new or changed waits to be seen: patina mcp review {server}")
        if costs:
            self._tell(f"In all about {sum(costs.values()):,} tokens.")
        if is_folded(offered, self._app.services.chat):
            self._tell("The model is told of none of them, and finds them: see chat.find_tools.")

    def _switch(self, session: str, verb: str, names: Sequence[str], known: _Known) -> None:
        globs = self._globs(session)
        for name in names:
            globs = _SWITCHES[verb](globs, name, known.servers)
        if not session:
            self.chosen = None if globs == ALL else globs
        elif globs != self._globs(session):
            command = commands.ChangeMeta(conversation=session, tools=globs)
            self._portal.call(
                carry_out, self._app, command, MetaChanged, lambda event: event.item.tools == globs
            )
        self._tell(f"On in this conversation: {_listed(globs)}")
        self._tell_costs(known, globs)


def _state(tool: ToolInfo, globs: Globs) -> str:
    """Return "on" for a tool that the model may call, else why it may not."""
    on = any(covers(glob, tool.server, tool.tool) for glob in globs)
    if tool.change:
        return tool.change if on else f"off, {tool.change}"
    return "on" if on else "off"


def _listed(globs: Globs) -> str:
    if globs == ALL:
        return "all tools."
    more = len(globs) - _NAMED
    return f"{', '.join(globs[:_NAMED]) or 'no tools'}{f' and {more} more' if more > 0 else ''}."


def _count(number: int) -> str:
    return "1 tool" if number == 1 else f"{number:,} tools"
