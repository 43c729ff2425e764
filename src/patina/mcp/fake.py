"""Scripted tools without any server or SDK: for tests, the demo and `--offline`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio
import anyio.lowlevel

from patina.mcp.names import aliases
from patina.mcp.schema import Checker
from patina.model.chat import ToolInfo, ToolOutcome
from patina.model.faults import McpFault, UsageFault
from patina.model.parts import Text
from patina.ports.dialog import Dialog

Answer = str | ToolOutcome
Script = Callable[[Mapping[str, Any]], Answer | Awaitable[Answer]]
Talk = Callable[[Mapping[str, Any], Dialog], Awaitable[Answer]]
Resume = Callable[[str, Dialog], Awaitable[Answer]]
ANYTHING: Final[Mapping[str, Any]] = {"type": "object"}


def failing(text: str) -> Script:
    """Return a tool that says of itself that it failed, with `text`."""
    return lambda _: ToolOutcome((Text(text),), is_error=True)


def broken(message: str, code: str = "") -> Script:
    """Return a tool whose server fails with `message`; `code`: that of a JSON-RPC error."""

    def run(_: Mapping[str, Any]) -> Answer:
        raise McpFault(message, code=code)

    return run


def gated(gate: anyio.Event, answer: Answer) -> Script:
    """Return a tool that gives `answer` once `gate` is set."""

    async def run(_: Mapping[str, Any]) -> Answer:
        await gate.wait()
        return answer

    return run


def hanging() -> Script:
    """Return a tool that never answers."""

    async def run(_: Mapping[str, Any]) -> Answer:
        await anyio.sleep_forever()
        return ""

    return run


class FakeTools:
    """Implements `ports.tools.Tools` over Python callables.

    `calls` records each call as (`server.tool`, arguments) when it begins, `cancelled` the names
    of those that were cancelled.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.cancelled: list[str] = []
        self._infos: dict[str, ToolInfo] = {}
        self._scripts: dict[str, Script] = {}
        self._talks: dict[str, Talk] = {}
        self._resumes: dict[str, Resume] = {}
        self._checker = Checker()

    def add(
        self,
        name: str,
        script: Script,
        *,
        description: str = "",
        schema: Mapping[str, Any] = ANYTHING,
        display_name: str = "",
        read_only: bool | None = None,
        destructive: bool | None = None,
        open_world: bool | None = None,
        timeout: float = 30.0,
        most_time: float = 600.0,
        digest: str = "",
    ) -> ToolInfo:
        """Offer the tool `server.tool`, from now on, and return it. A second one replaces it.

        `digest` is the hash of its definition.
        """
        server, _, tool = name.partition(".")
        self._infos[name] = ToolInfo(
            server=server,
            tool=tool,
            alias=aliases([*self._infos, name])[name],
            display_name=display_name or server,
            description=description,
            schema=schema,
            read_only=read_only,
            destructive=destructive,
            open_world=open_world,
            timeout=timeout,
            most_time=most_time,
            hash=digest,
        )
        self._scripts[name] = script
        return self._infos[name]

    def add_talking(
        self,
        name: str,
        talk: Talk,
        *,
        resume: Resume | None = None,
        timeout: float = 30.0,
        most_time: float = 600.0,
    ) -> ToolInfo:
        """Offer a tool that has the call's dialog; `resume` is what a task of it goes on with."""
        self._talks[name] = talk
        if resume is not None:
            self._resumes[name] = resume
        return self.add(name, lambda _: "", timeout=timeout, most_time=most_time)

    async def list(self, servers: tuple[str, ...] | None) -> tuple[ToolInfo, ...]:
        """As `Tools.list`."""
        await anyio.lowlevel.checkpoint()
        known = {info.server for info in self._infos.values()}
        for server in servers or ():
            if server not in known:
                raise UsageFault(f"There is no MCP server named {server}.")
        return tuple(
            info for info in self._infos.values() if servers is None or info.server in servers
        )

    def find(self, name: str) -> ToolInfo | None:
        """As `Tools.find`."""
        for info in self._infos.values():
            if name in (info.alias, info.name):
                return info
        return None

    def check(self, tool: ToolInfo, arguments: str) -> Mapping[str, Any]:
        """As `Tools.check`."""
        return self._checker.parse(tool.name, tool.schema, arguments)

    async def ready(self, tool: ToolInfo) -> None:
        """As `Tools.ready`: there is nothing to start."""
        await anyio.lowlevel.checkpoint()

    async def call(
        self, tool: ToolInfo, arguments: Mapping[str, Any], dialog: Dialog | None = None
    ) -> ToolOutcome:
        """As `Tools.call`."""
        if tool.name not in self._scripts:
            raise McpFault(f"Server {tool.server} no longer offers the tool {tool.tool}.")
        self.calls.append((tool.name, dict(arguments)))
        return await self._run(tool, lambda: self._answer(tool, arguments, dialog))

    async def resume(
        self, tool: ToolInfo, task_id: str, dialog: Dialog | None = None
    ) -> ToolOutcome:
        """As `Tools.resume`."""
        going_on = self._resumes.get(tool.name)
        if going_on is None or dialog is None:
            raise McpFault(f"Server {tool.server} knows nothing of the task {task_id} any more.")
        return await self._run(tool, lambda: going_on(task_id, dialog))

    def _answer(
        self, tool: ToolInfo, arguments: Mapping[str, Any], dialog: Dialog | None
    ) -> Answer | Awaitable[Answer]:
        talk = self._talks.get(tool.name)
        if talk is None:
            return self._scripts[tool.name](arguments)
        if dialog is None:
            raise McpFault(f"The tool {tool.name} asks, and there is nobody to ask.")
        return talk(arguments, dialog)

    async def _run(
        self, tool: ToolInfo, begin: Callable[[], Answer | Awaitable[Answer]]
    ) -> ToolOutcome:
        try:
            await anyio.lowlevel.checkpoint()
            answer = begin()
            if isinstance(answer, Awaitable):
                answer = await answer
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(tool.name)
            raise
        return answer if isinstance(answer, ToolOutcome) else ToolOutcome((Text(answer),))


def example() -> FakeTools:
    """Return tools like those of the demo server, and one for each way a call can end."""
    tools = FakeTools()
    text = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    numbers = {"a": {"type": "number"}, "b": {"type": "number"}}
    schema = {"type": "object", "properties": numbers, "required": ["a", "b"]}
    tools.add(
        "demo.echo", lambda given: str(given["text"]), schema=text, description="Give a text back"
    )
    tools.add(
        "demo.add",
        lambda given: str(given["a"] + given["b"]),
        schema=schema,
        description="Add two numbers",
        read_only=True,
    )
    tools.add("demo.fail", failing("This tool always fails."))
    tools.add("demo.broken", broken("Server demo did not run broken: no", "-32603"))
    tools.add("demo.hang", hanging())
    return tools
