"""Sessions with servers whose tools run as tasks, and somebody who listens to them."""

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import mcp_types as types
import pytest
from mcp.client import ClientRequestContext
from tests.mcp.house import House

from patina.mcp.task_session import CreatedTask, TaskSession
from patina.mcp.tasks import follow_task, resume_task, run_task
from patina.mcp.transports.link import Link
from patina.mcp.transports.stdio import Command, open_stdio
from patina.model.questions import Answered, Asked, Sampled, Sampling, TaskState

SCRIPT: Final = Path(__file__).parent / "servers" / "task_server.py"
OLDER, NEWER = "2025-11-25", "2026-07-28"
ERAS: Final = pytest.mark.parametrize("era", [OLDER, NEWER])


class Listener:
    """A dialog that notes all it is told, and gives `answer` to every question, once it may."""

    present = True

    def __init__(self, answer: str = "red") -> None:
        self.states: list[TaskState] = []
        self.steps: list[float] = []
        self.asked: list[str] = []
        self.keeps = False
        self.may_answer = anyio.Event()
        self.may_answer.set()
        self.withdrawn = 0
        self._answer = answer

    def progress(self, done: float, total: float | None, text: str) -> None:
        self.steps.append(done)

    def log(self, level: str, text: str) -> None:
        raise AssertionError(text)

    async def ask(self, asked: Asked) -> Answered:
        self.asked.append(asked.text)
        try:
            await self.may_answer.wait()
        except anyio.get_cancelled_exc_class():
            self.withdrawn += 1
            raise
        return Answered(action="accept", content={"one": self._answer})

    async def sample(self, server: str, prompt: Sampling) -> Sampled:
        raise AssertionError(server)

    async def task(self, state: TaskState) -> None:
        self.states.append(state)

    def keeps_task(self) -> bool:
        return self.keeps

    def statuses(self) -> list[str]:
        """The status of each report, without repetitions."""
        found = [state.status for state in self.states]
        return [one for i, one in enumerate(found) if i == 0 or found[i - 1] != one]


class Desk:
    """A session with a server, and how its calls become tasks in its era."""

    def __init__(self, session: TaskSession, folder: Path) -> None:
        self.session = session
        self._folder = folder

    async def call(self, tool: str, listener: Listener | None = None, **arguments: Any) -> str:
        if not self.session.speaks_extension:
            assert self.session.takes_tasks
            result = await run_task(self.session, tool, arguments, listener, server="s")
            return text_of(result)
        answer = await self.session.call_tool(tool, arguments, allow_claimed=True)
        if isinstance(answer, types.CallToolResult):
            return text_of(answer)
        assert isinstance(answer, CreatedTask)
        return text_of(await follow_task(self.session, answer, listener, server="s"))

    async def resume(self, task_id: str, listener: Listener) -> str:
        return text_of(await resume_task(self.session, task_id, listener, server="s"))

    def kept(self, task_id: str = "t-1") -> dict[str, Any]:
        """The task as the server keeps it."""
        found: dict[str, Any] = json.loads((self._folder / "tasks.json").read_text())[task_id]
        return found

    def polled(self) -> int:
        path = self._folder / "tasks.json"
        return int(self.kept()["polled"]) if path.exists() else 0


def text_of(result: types.CallToolResult) -> str:
    text = "".join(getattr(block, "text", "") for block in result.content)
    return f"error: {text}" if result.is_error else text


@asynccontextmanager
async def speaking(
    opening: AbstractAsyncContextManager[Link], era: str
) -> AsyncGenerator[TaskSession]:
    """Speak to a server; what it asks goes to the listener of the task that it asks for."""

    async def ask(
        context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        dialog = session.dialog_of(context.meta)
        if dialog is None:
            return types.ErrorData(code=-1, message="nobody is there")
        answered = await dialog.ask(Asked(kind="form", text=params.message))
        return types.ElicitResult(action=answered.action, content=answered.content)

    async with opening as link:
        session = TaskSession(link.incoming, link.outgoing, elicitation_callback=ask)
        async with session:
            with anyio.fail_after(60):
                await (session.discover() if era == NEWER else session.initialize())
            with anyio.fail_after(60):
                yield session


def over_stdio(argv: tuple[str, ...], folder: Path) -> AbstractAsyncContextManager[Link]:
    return open_stdio(Command("s", argv, House(folder).environ, folder, folder / "server.log"))


@asynccontextmanager
async def desk(era: str, folder: Path) -> AsyncGenerator[Desk]:
    argv = (sys.executable, str(SCRIPT), era, str(folder))
    async with speaking(over_stdio(argv, folder), era) as session:
        yield Desk(session, folder)
