"""From the tool calls of one assistant message to their results.

Calls are checked and decided one by one, in the order of the message; those allowed then run side
by side. The order on disk is question, decision, call, result. Every call ends in a result,
whatever happens: the model is told of a denial, a bad argument, a time-out and an interruption.
Only a call that its server goes on with as a task may outlive Patina: it is taken up again.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import anyio

from patina.engine.calling import Caller, Cleared
from patina.engine.interruption import Interruption
from patina.engine.questions import Questions
from patina.engine.recorder import Recorder
from patina.engine.recovery import CRASHED, close_calls
from patina.engine.services import Services
from patina.model.chat import ToolInfo
from patina.model.events import PermissionAsked
from patina.model.faults import McpFault, StoreFault
from patina.model.items import Ask, Choice, Decision, Message
from patina.model.parts import Text, ToolCall
from patina.model.tree import OpenCalls
from patina.ports.permission import Allow, AskUser, Deny

AT_ONCE: Final = 8


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
        self._caller = Caller(services, recorder, questions, interruption)
        self._offered: dict[str, ToolInfo] = {}

    def offer(self, tools: Iterable[ToolInfo]) -> None:
        """Say which tools this turn has; a call of any other is answered as unknown."""
        self._offered = {tool.name: tool for tool in tools}

    async def run(self, opened: OpenCalls) -> None:
        """Bring every call in `opened` to a result. Raises `StoreFault` only.

        Where Patina ends meanwhile, calls that are tasks stay open.
        """
        await self._to_the_end(opened, fresh=True)

    async def finish(self, opened: OpenCalls) -> None:
        """As `run`, but only of what is a task yet; other calls are closed as a crash left them."""
        await self._to_the_end(opened, fresh=False)

    async def _to_the_end(self, opened: OpenCalls, *, fresh: bool) -> None:
        message, recorder = opened.message, self._recorder
        going_on = opened.going_on()
        unwritten: list[StoreFault] = []
        limiter = anyio.CapacityLimiter(AT_ONCE)
        with self._interruption.calls(call.id for call in opened.calls):
            # What was running when a crash came: nobody knows how far it got.
            lost = (c for c in opened.calls if c.id in opened.started or not fresh)
            await close_calls(recorder, message.id, (c for c in lost if c not in going_on), CRASHED)
            async with anyio.create_task_group() as tasks:
                for call in going_on:
                    tasks.start_soon(self._execute, opened, call, limiter, unwritten)
                try:
                    for ready in await self._cleared(opened) if fresh else ():
                        tasks.start_soon(self._execute, opened, ready, limiter, unwritten)
                except StoreFault as fault:
                    unwritten.append(fault)
                    tasks.cancel_scope.cancel()
        if unwritten:
            raise unwritten[0]
        await self.interrupt(self._interruption.reason or CRASHED)

    async def interrupt(self, reason: str) -> None:
        """Give every call that is still open the result "interrupted", but for those left so."""
        opened = self._recorder.tree.open_calls()
        if opened is not None:
            left = opened.going_on() if self._interruption.leaving else ()
            calls = [call for call in opened.calls if call not in left]
            await close_calls(self._recorder, opened.message.id, calls, reason)

    async def _cleared(self, opened: OpenCalls) -> list[Cleared]:
        """Return the calls that may run, once all are decided."""
        cleared: list[Cleared] = []
        for call in opened.calls:
            if self._interruption.requested:
                break
            if call.id in opened.started or call.id in opened.tasks:
                continue
            ready = None
            if not self._interruption.call(call.id).requested:
                ready = await self._clear(opened, call)
            if self._interruption.call(call.id).requested:
                await self._close(opened, call)
            elif ready is not None:
                cleared.append(ready)
        return cleared

    async def _close(self, opened: OpenCalls, call: ToolCall) -> None:
        """Give a call that was ended by itself its result, unless it has one."""
        reason = self._interruption.call(call.id).reason
        await close_calls(self._recorder, opened.message.id, (call,), reason)

    async def _execute(
        self,
        opened: OpenCalls,
        ready: Cleared | ToolCall,
        limiter: anyio.CapacityLimiter,
        unwritten: list[StoreFault],
    ) -> None:
        """Run one call to its result. A fault goes to `unwritten`, not to the calls beside it."""
        call = ready.call if isinstance(ready, Cleared) else ready
        alone = self._interruption.call(call.id)
        try:
            with self._interruption.scope(), alone.scope():
                async with limiter:
                    if isinstance(ready, Cleared):
                        await self._caller.call(opened.message, ready)
                    else:
                        await self._caller.resume(opened.message, call, opened.tasks[call.id])
            if alone.requested:
                await self._close(opened, call)
        except StoreFault as fault:
            unwritten.append(fault)

    async def _clear(self, opened: OpenCalls, call: ToolCall) -> Cleared | None:
        message = opened.message
        tool = self._offered.get(call.name)
        if tool is None:
            text = f"There is no tool {call.name}. Call one of the tools that are listed."
            await self._caller.result(message, call, "failed", (Text(text),))
            return None
        try:
            arguments = self._services.tools.check(tool, call.arguments)
        except McpFault as fault:
            await self._caller.result(message, call, "failed", (Text(str(fault)),))
            return None
        choice, reason = await self._decide(opened, call, tool, arguments)
        if choice is None:
            return None
        if choice == "deny":
            await self._caller.result(message, call, "denied", (Text(reason),))
            return None
        return Cleared(call, tool, arguments)

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
        with self._interruption.scope(), self._interruption.call(call.id).scope():
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
