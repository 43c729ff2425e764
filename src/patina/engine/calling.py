"""One call that may run, from its item to its result."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
from msgspec import Struct
from msgspec.structs import replace

from patina.engine.dialog import CallDialog
from patina.engine.interruption import Interruption
from patina.engine.large import RESULT_BYTES, put_away
from patina.engine.questions import Questions
from patina.engine.recorder import Recorder
from patina.engine.services import Services
from patina.engine.watchdog import Watchdog
from patina.model.chat import ToolInfo, ToolOutcome, split_tool_name
from patina.model.events import TaskChanged
from patina.model.faults import Fault, is_transient
from patina.model.items import Call, CallStatus, Message, Result, Task
from patina.model.parts import ResultPart, Text, ToolCall
from patina.views.tool_card import finished_text, running_text

_log = logging.getLogger(__name__)


class Cleared(Struct, frozen=True):
    """A call that may run. `text` is the JSON text of its `arguments`; `edited` says that a person
    changed them.
    """

    call: ToolCall
    tool: ToolInfo
    arguments: Mapping[str, Any]
    text: str
    edited: bool = False


class Ending(Struct, frozen=True):
    """How a call ended. Durations are milliseconds, `bound` the seconds that it had."""

    status: CallStatus
    parts: tuple[ResultPart, ...]
    retriable: bool = False
    duration_ms: int = 0
    bound: float = 0.0

    @classmethod
    def told(cls, status: CallStatus, text: str) -> "Ending":
        """Return the end of a call that was not run, in words for the model."""
        return cls(status, (Text(text),))


class Caller:
    """Runs calls that may run, and those that their servers carried on with as tasks."""

    def __init__(
        self,
        services: Services,
        recorder: Recorder,
        questions: Questions,
        interruption: Interruption,
    ) -> None:
        self._services = services
        self._recorder = recorder
        self._questions = questions
        self._interruption = interruption

    async def call(self, message: Message, ready: Cleared) -> None:
        """Run a call of `message` to its result. Raises `StoreFault`; a cancelled one has none."""
        tool = ready.tool
        started = Call(
            **self._recorder.keys(),
            message=message.id,
            call_id=ready.call.id,
            server=tool.server,
            tool=tool.tool,
            arguments=ready.text,
        )
        await self._recorder.write(started, text=running_text(tool.name))
        await self._run(
            message,
            ready.call,
            tool,
            lambda dialog: self._services.tools.call(tool, ready.arguments, dialog),
            edited=ready.text if ready.edited else "",
        )

    async def resume(self, message: Message, call: ToolCall, task: Task, edited: str = "") -> None:
        """Wait for the end of a call that is a task since before a restart. As `call`.

        `edited` is what a person made of its arguments, if they did.
        """
        self._recorder.tell(TaskChanged(item=task))  # in the journal already
        tool = await self._tool_of(task)
        await self._run(
            message,
            call,
            tool,
            lambda dialog: self._services.tools.resume(tool, task.state.task_id, dialog),
            task,
            edited=edited,
        )

    async def _tool_of(self, task: Task) -> ToolInfo:
        """Return the tool of a task; where its server does not list it, one by its name."""
        with suppress(Fault):  # `ready` meets the same one, and its words are the result
            await self._services.tools.list((task.server,))
        found = self._services.tools.find(f"{task.server}.{task.tool}")
        if found is not None:
            return found
        return ToolInfo(server=task.server, tool=task.tool, alias="", display_name=task.server)

    async def _run(
        self,
        message: Message,
        call: ToolCall,
        tool: ToolInfo,
        talk: Callable[[CallDialog], Awaitable[ToolOutcome]],
        task: Task | None = None,
        *,
        edited: str,
    ) -> None:
        clock = self._services.clock
        began = clock.monotonic()
        watchdog = Watchdog(clock, tool.timeout, tool.most_time)
        dialog = CallDialog(
            self._services,
            self._recorder,
            self._questions,
            self._interruption,
            watchdog,
            message_id=message.id,
            call_id=call.id,
            tool=tool,
            task=task.state if task else None,
        )
        try:
            ending = await self._ending(tool, dialog, watchdog, talk)
        finally:
            with anyio.CancelScope(shield=True):
                await dialog.close()
        took = int((clock.monotonic() - began) * 1000)
        if edited:
            note = Text(f"[The user changed the arguments to {edited}]\n")
            ending = replace(ending, parts=(note, *ending.parts))
        await self.result(message, call, replace(ending, duration_ms=took))

    async def _ending(
        self,
        tool: ToolInfo,
        dialog: CallDialog,
        watchdog: Watchdog,
        talk: Callable[[CallDialog], Awaitable[ToolOutcome]],
    ) -> Ending:
        async def outcome() -> Ending:
            said = await talk(dialog)
            if said.is_error:
                parts = said.parts or (Text("The tool failed and said nothing."),)
                return Ending("failed", parts)
            return Ending("completed", said.parts)

        unready = await _told(lambda: self._services.tools.ready(tool))
        if unready is not None:
            return unready
        ending = await watchdog.guard(lambda: _told(outcome), dialog.run)
        if ending is not None:
            return ending
        text = finished_text(tool.name, "timed_out", watchdog.bound)
        words = Text(f"{text}. The server may still be working on it.")
        return Ending("timed_out", (words,), retriable=True, bound=watchdog.bound)

    async def result(self, message: Message, call: ToolCall, ending: Ending) -> None:
        """Write how a call ended. As `call`."""
        server, tool = split_tool_name(call.name)
        with anyio.CancelScope(shield=True):  # the tool has run: its result is a fact
            journal, mask = self._services.journal, self._services.mask
            parts = await put_away(ending.parts, journal, RESULT_BYTES, mask)
        await self._recorder.write(
            Result(
                **self._recorder.keys(),
                message=message.id,
                call_id=call.id,
                server=server,
                tool=tool,
                status=ending.status,
                parts=parts,
                duration_ms=ending.duration_ms,
                retriable=ending.retriable,
                bound=ending.bound,
            ),
            text=finished_text(call.name, ending.status, ending.bound),
        )


async def _told(work: Callable[[], Awaitable[Ending | None]]) -> Ending | None:
    """Return what `work` came to. What goes wrong in it fails the call, and nothing else."""
    try:
        return await work()
    except Fault as fault:
        number = fault.failure.code  # those in words are for programs: the sentence says it
        code = f" (error {number})" if number.removeprefix("-").isdigit() else ""
        hint = f" {fault.failure.hint}" if fault.failure.hint else ""
        words = Text(f"{fault}{code}{hint}")
        return Ending("failed", (words,), retriable=is_transient(fault.failure))
    except Exception:  # noqa: BLE001 - a named boundary: a defect beside a tool is its failure
        _log.exception("a tool call failed")
        return Ending.told("failed", "Patina made a mistake; the log has the details.")
