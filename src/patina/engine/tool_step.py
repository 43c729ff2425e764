"""From the tool calls of one assistant message to their results.

Calls are checked and decided in the order of the message, and what a person decides is asked
together; those allowed then run side by side. The order on disk is question, decision, call,
result. Every call ends in a result, whatever happens: the model is told of a denial, a bad
argument, a time-out and an interruption. Only a call that its server goes on with as a task, or
that a person was not heard about yet, may outlive Patina: it is taken up again.
"""

from collections.abc import Iterable
from functools import partial
from typing import Final

import anyio

from patina.engine.asking import Asking, Wanted
from patina.engine.calling import Caller, Cleared, Ending
from patina.engine.interruption import Interruption
from patina.engine.judging import Judge
from patina.engine.questions import Questions
from patina.engine.recorder import Recorder
from patina.engine.recovery import CRASHED, close_calls
from patina.engine.repairing import repair_hint, unknown_tool
from patina.engine.repeating import refusal, repeated
from patina.engine.services import Services
from patina.model.chat import ToolInfo
from patina.model.faults import McpFault, StoreFault
from patina.model.items import Decision, Message
from patina.model.parts import ToolCall
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
        self._interruption = interruption
        self._judge = Judge(services, granted)
        self._asking = Asking(services, recorder, questions, interruption, self._judge)
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
        """Give every call that is still open the result "interrupted", but for those left so.

        As Patina ends, what its server goes on with is left, and what a person was not heard about:
        those are taken up again.
        """
        opened = self._recorder.tree.open_calls()
        if opened is None:
            return
        left: tuple[ToolCall, ...] = ()
        if self._interruption.leaving:
            unasked = (c for c in opened.calls if opened.waiting() and c.id not in opened.started)
            left = (*opened.going_on(), *unasked)
        calls = [call for call in opened.calls if call not in left]
        await close_calls(self._recorder, opened.message.id, calls, reason)

    async def may_go_on(self, opened: OpenCalls, replies: int) -> bool:
        """Ask a person whether the turn may go on after so many replies. Raises `StoreFault`."""
        return await self._asking.may_go_on(opened, replies)

    async def may_cost(self, turn_id: str, model: str, why: str) -> bool:
        """Ask a person whether a request is sent whose price nobody knows. Raises `StoreFault`."""
        return await self._asking.may_cost(turn_id, model, why)

    async def _cleared(self, opened: OpenCalls) -> list[Cleared]:
        """Return the calls that may run, once all are decided."""
        self._judge.look(self._recorder.tree)
        going_in_circles = repeated(self._recorder.tree, opened.message)
        wanted: dict[str, Wanted] = {}
        decided = {name: one for name, one in opened.decided.items() if name}
        asked: list[tuple[Wanted, AskUser]] = []
        for call in self._not_begun(opened):
            if self._interruption.requested:
                return []
            one = None
            if not self._interruption.call(call.id).requested:
                again = call.id in going_in_circles and call.id not in decided
                one = await self._wanted(opened.message, call, again=again)
            if one is None:
                continue
            wanted[call.id] = one
            verdict = self._judge.verdict(one.tool, one.arguments)
            # A decision from before a restart counts, unless a rule denies it by now.
            if call.id not in decided or isinstance(verdict, Deny):
                if isinstance(verdict, AskUser):
                    asked.append((one, verdict))
                else:
                    decided[call.id] = await self._ruled(opened, call, verdict)
        if asked:
            decided |= await self._asking.decide(opened, asked, partial(self._close, opened))
        if self._interruption.requested:
            return []
        return await self._allowed(opened, wanted, decided, waited=bool(asked))

    def _not_begun(self, opened: OpenCalls) -> list[ToolCall]:
        begun = (*opened.started, *opened.tasks)
        return [call for call in opened.calls if call.id not in begun]

    async def _ruled(
        self, opened: OpenCalls, call: ToolCall, verdict: Allow | Deny, asked: str | None = None
    ) -> Decision:
        """Write down what a rule decided; `asked` is the question that it decides after all."""
        ask = opened.asks.get(call.id)  # put before a restart, and needs no answer any more
        return await self._asking.write(
            opened.message.id,
            call.id,
            "deny" if isinstance(verdict, Deny) else "allow_once",
            verdict.rule,
            verdict.reason if isinstance(verdict, Deny) else "",
            ask=ask.id if ask is not None else asked,
        )

    async def _allowed(
        self,
        opened: OpenCalls,
        wanted: dict[str, Wanted],
        decided: dict[str, Decision],
        *,
        waited: bool,
    ) -> list[Cleared]:
        """Return what may run, in the order of the message; the rest gets its result.

        `waited`: a person was waited for, and rules may deny by now what was allowed before.
        """
        cleared: list[Cleared] = []
        for call in self._not_begun(opened):
            if self._interruption.call(call.id).requested:
                await self._close(opened, call)
                continue
            one, decision = wanted.get(call.id), decided.get(call.id)
            if one is None or decision is None:
                continue
            ready = Cleared(call, one.tool, one.arguments, one.text)
            if decision.choice != "deny" and decision.arguments:
                edited = await self._edited(opened.message, one, decision.arguments)
                if edited is None:
                    continue
                ready = edited
            if decision.choice != "deny" and (waited or decision.rule == "user"):
                verdict = self._judge.verdict(ready.tool, ready.arguments)
                if isinstance(verdict, Deny):
                    decision = await self._ruled(opened, call, verdict, decision.ask)
            if decision.choice == "deny":
                ending = Ending.told("denied", decision.reason)
                await self._caller.result(opened.message, call, ending)
            else:
                cleared.append(ready)
        return cleared

    async def _edited(self, message: Message, wanted: Wanted, text: str) -> Cleared | None:
        """Return a call with the arguments that a person gave it."""
        try:
            arguments = self._services.tools.check(wanted.tool, text)
        except McpFault as fault:  # the tool is another one since they were written
            ending = Ending.told("failed", str(fault))
            await self._caller.result(message, wanted.call, ending)
            return None
        return Cleared(wanted.call, wanted.tool, arguments, text, edited=True)

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
                        earlier = opened.decided.get(call.id)
                        edited = earlier.arguments if earlier is not None else ""
                        task = opened.tasks[call.id]
                        await self._caller.resume(opened.message, call, task, edited)
            if alone.requested:
                await self._close(opened, call)
        except StoreFault as fault:
            unwritten.append(fault)

    async def _wanted(self, message: Message, call: ToolCall, *, again: bool) -> Wanted | None:
        """Return a call that can be run as it is; else it gets its result."""
        tool = self._offered.get(call.name)
        if tool is None:
            words = unknown_tool(call.name, self._offered.values())
        elif again:
            words = refusal(tool.name)
        else:
            check = partial(self._services.tools.check, tool)
            try:
                return Wanted(call, tool, check(call.arguments), call.arguments)
            except McpFault as fault:
                words = repair_hint(tool, fault, check)
        await self._caller.result(message, call, Ending.told("failed", words))
        return None
