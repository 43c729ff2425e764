"""From the tool calls of one assistant message to their results.

Calls are checked and decided one by one, in the order of the message; those allowed then run side
by side. The order on disk is question, decision, call, result. Every call ends in a result,
whatever happens: the model is told of a denial, a bad argument, a time-out and an interruption.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import anyio
from msgspec import Struct

from patina.engine.interruption import Interruption
from patina.engine.large import RESULT_BYTES, put_away
from patina.engine.questions import Questions
from patina.engine.recorder import Recorder
from patina.engine.recovery import close_calls
from patina.engine.services import Services
from patina.model.chat import ToolInfo, split_tool_name
from patina.model.events import PermissionAsked
from patina.model.faults import Fault, McpFault, StoreFault
from patina.model.items import Ask, Call, CallStatus, Choice, Decision, Message, Result
from patina.model.parts import ResultPart, Text, ToolCall
from patina.model.tree import OpenCalls
from patina.ports.permission import Allow, AskUser, Deny
from patina.views.tool_card import finished_text, running_text

_log = logging.getLogger(__name__)

AT_ONCE: Final = 8


class _Cleared(Struct, frozen=True):
    """A call that may run."""

    call: ToolCall
    tool: ToolInfo
    arguments: Mapping[str, Any]


class ToolStep:
    """Runs the calls of one turn. `granted` holds this session's grants of the conversation."""

    def __init__(
        self,
        services: Services,
        recorder: Recorder,
        questions: Questions,
        interruption: Interruption,
        granted: set[str],
    ) -> None:
        self._services = services
        self._recorder = recorder
        self._questions = questions
        self._interruption = interruption
        self._granted = granted
        self._offered: dict[str, ToolInfo] = {}

    def offer(self, tools: Iterable[ToolInfo]) -> None:
        """Say which tools this turn has; a call of any other is answered as unknown."""
        self._offered = {tool.name: tool for tool in tools}

    async def run(self, opened: OpenCalls) -> None:
        """Bring every call in `opened` to a result. Raises `StoreFault` only."""
        cleared: list[_Cleared] = []
        for call in opened.calls:
            if self._interruption.requested:
                break
            if call.id in opened.started:
                continue  # it was running when a crash came: nobody knows how far it got
            ready = await self._clear(opened, call)
            if ready is not None:
                cleared.append(ready)
        unwritten: list[StoreFault] = []
        with self._interruption.scope():
            limiter = anyio.CapacityLimiter(AT_ONCE)
            async with anyio.create_task_group() as tasks:
                for ready in cleared:
                    tasks.start_soon(self._execute, opened.message, ready, limiter, unwritten)
        if unwritten:
            raise unwritten[0]
        await self.interrupt(self._interruption.reason or "Patina stopped while it ran.")

    async def interrupt(self, reason: str) -> None:
        """Give every call that is still open the result "interrupted"."""
        opened = self._recorder.tree.open_calls()
        if opened is not None:
            await close_calls(self._recorder, opened, reason)

    async def _clear(self, opened: OpenCalls, call: ToolCall) -> _Cleared | None:
        message = opened.message
        tool = self._offered.get(call.name)
        if tool is None:
            text = f"There is no tool {call.name}. Call one of the tools that are listed."
            await self._result(message, call, "failed", (Text(text),))
            return None
        try:
            arguments = self._services.tools.check(tool, call.arguments)
        except McpFault as fault:
            await self._result(message, call, "failed", (Text(str(fault)),))
            return None
        choice, reason = await self._decide(opened, call, tool, arguments)
        if choice is None:
            return None
        if choice == "deny":
            await self._result(message, call, "denied", (Text(reason),))
            return None
        return _Cleared(call, tool, arguments)

    async def _decide(
        self, opened: OpenCalls, call: ToolCall, tool: ToolInfo, arguments: Mapping[str, Any]
    ) -> tuple[Choice | None, str]:
        earlier = opened.decided.get(call.id)
        if earlier is not None:
            return earlier.choice, earlier.reason
        today = self._services.clock.now()[:10]
        verdict = self._services.gate.decide(tool, arguments, frozenset(self._granted), today)
        if isinstance(verdict, AskUser):
            return await self._ask(opened, call, tool, verdict)
        choice: Literal["allow_once", "deny"] = (
            "deny" if isinstance(verdict, Deny) else "allow_once"
        )
        reason = "" if isinstance(verdict, Allow) else verdict.reason
        await self._decided(opened.message, call, choice, verdict.rule, reason)
        return choice, reason

    async def _ask(
        self, opened: OpenCalls, call: ToolCall, tool: ToolInfo, verdict: AskUser
    ) -> tuple[Choice | None, str]:
        ask = opened.asks.get(call.id)
        if ask is None:
            ask = Ask(
                **self._recorder.keys(),
                message=opened.message.id,
                call_id=call.id,
                server=tool.server,
                tool=tool.tool,
                arguments=call.arguments,
                display_name=tool.display_name,
                options=verdict.options,
                reason=verdict.reason,
            )
            self._questions.open(ask)
            await self._recorder.write(ask)
        else:
            self._questions.open(ask)
            self._recorder.tell(PermissionAsked(item=ask))  # in the journal already
        answer = None
        with self._interruption.scope():
            answer = await self._questions.answer(ask.id)
        self._questions.close(ask.id)
        if answer is None:
            return None, ""
        reason = ""
        if answer.choice == "deny":
            reason = f"The user denied this call of {tool.name}. {answer.reason}".strip()
        if answer.choice == "allow_session":
            self._granted.add(tool.name)
        await self._decided(opened.message, call, answer.choice, "user", reason, ask.id)
        return answer.choice, reason

    async def _decided(
        self,
        message: Message,
        call: ToolCall,
        choice: Choice,
        rule: str,
        reason: str,
        ask: str | None = None,
    ) -> None:
        await self._recorder.write(
            Decision(
                **self._recorder.keys(),
                message=message.id,
                call_id=call.id,
                choice=choice,
                rule=rule,
                reason=reason,
                ask=ask,
            )
        )

    async def _execute(
        self,
        message: Message,
        ready: _Cleared,
        limiter: anyio.CapacityLimiter,
        unwritten: list[StoreFault],
    ) -> None:
        """Run one call to its result. A fault goes to `unwritten`, not to the calls beside it."""
        try:
            async with limiter:
                await self._run_one(message, ready)
        except StoreFault as fault:
            unwritten.append(fault)

    async def _run_one(self, message: Message, ready: _Cleared) -> None:
        call, tool = ready.call, ready.tool
        started = Call(
            **self._recorder.keys(),
            message=message.id,
            call_id=call.id,
            server=tool.server,
            tool=tool.tool,
            arguments=call.arguments,
        )
        await self._recorder.write(started, text=running_text(tool.name))
        began = self._services.clock.monotonic()
        status, parts = await self._call(ready)
        took = int((self._services.clock.monotonic() - began) * 1000)
        await self._result(message, call, status, parts, took, tool.timeout)

    async def _call(self, ready: _Cleared) -> tuple[CallStatus, tuple[ResultPart, ...]]:
        tool = ready.tool
        try:
            await self._services.tools.ready(tool)
            with self._services.clock.timeout(tool.timeout) as limit:
                outcome = await self._services.tools.call(tool, ready.arguments)
        except Fault as fault:
            code = f" (error {fault.failure.code})" if fault.failure.code else ""
            hint = f" {fault.failure.hint}" if fault.failure.hint else ""
            return "failed", (Text(f"{fault}{code}{hint}"),)
        except Exception:  # noqa: BLE001 - a named boundary: a defect beside a tool is its failure
            _log.exception("a tool call failed")
            return "failed", (Text("Patina made a mistake; the log has the details."),)
        if limit.cancelled_caught:
            text = finished_text(tool.name, "timed_out", tool.timeout)
            return "timed_out", (Text(f"{text}. The server may still be working on it."),)
        if outcome.is_error:
            return "failed", outcome.parts or (Text("The tool failed and said nothing."),)
        return "completed", outcome.parts

    async def _result(
        self,
        message: Message,
        call: ToolCall,
        status: CallStatus,
        parts: tuple[ResultPart, ...],
        duration_ms: int = 0,
        bound: float = 30.0,
    ) -> None:
        server, tool = split_tool_name(call.name)
        with anyio.CancelScope(shield=True):  # the tool has run: its result is a fact
            parts = await put_away(parts, self._services.journal, RESULT_BYTES)
        await self._recorder.write(
            Result(
                **self._recorder.keys(),
                message=message.id,
                call_id=call.id,
                server=server,
                tool=tool,
                status=status,
                parts=parts,
                duration_ms=duration_ms,
            ),
            text=finished_text(call.name, status, bound),
        )
