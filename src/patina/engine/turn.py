"""The loop: ask the model, run the tools it calls, ask again, until it needs nothing more.

Read `Turn.run` from top to bottom: everything a turn does is there or one call away. A turn ends
by returning; nothing but a defect makes it raise.
"""

import logging
from typing import Final

import anyio
from msgspec import Struct
from msgspec.structs import replace

from patina.engine.bounds import Counts
from patina.engine.excerpts import Excerpts
from patina.engine.exchange import Exchange, Origin, Sent
from patina.engine.interruption import Interruption
from patina.engine.large import MESSAGE_BYTES, put_away
from patina.engine.notes import write_note
from patina.engine.own_tools import OwnTools
from patina.engine.preparing import Requests, takes_no_tools
from patina.engine.questions import Questions
from patina.engine.recorder import Recorder
from patina.engine.services import Services
from patina.engine.stream import Reply
from patina.engine.tool_step import ToolStep
from patina.engine.watchdog import Watchdog
from patina.model.chat import ChatRequest, Failed, Finished, ModelRef, ToolInfo
from patina.model.events import TurnEnded, TurnStarted
from patina.model.faults import Failure, Fault
from patina.model.items import Message, StopReason
from patina.model.money import Purpose
from patina.model.options import TurnOptions
from patina.model.parts import Part, ToolCall
from patina.model.tree import OpenCalls
from patina.model.usage import Usage
from patina.ports.provider import Driver

_log = logging.getLogger(__name__)

DEFECT: Final = Failure(
    "internal",
    "Patina made a mistake and ended this turn.",
    "What was said is kept. The log has the details: `patina doctor` says where.",
)


class TurnEnd(Struct, frozen=True):
    """How a turn ended."""

    stop_reason: StopReason
    error: Failure | None = None


class Turn:
    """One turn of one conversation: from a user message to the end of what it set off."""

    def __init__(
        self,
        services: Services,
        recorder: Recorder,
        questions: Questions,
        interruption: Interruption,
        granted: set[str],
        excerpts: Excerpts,
        counts: Counts,
        *,
        turn_id: str,
        model: ModelRef,
        options: TurnOptions,
        purpose: Purpose,
    ) -> None:
        self._own = OwnTools(services, lambda: recorder.tree)
        services = replace(services, tools=self._own)
        self._services = services
        self._recorder = recorder
        self._questions = questions
        self._id = turn_id
        self._purpose = purpose
        self._model = model
        self._options = options
        self._usage = Usage()
        self._calls = 0
        self._interruption = interruption
        self._offered: dict[str, ToolInfo] = {}  # by alias
        self._tools = ToolStep(services, recorder, questions, interruption, granted)
        self._requests = Requests(
            services, recorder, interruption, model, options, self._own, excerpts
        )
        self._exchange = Exchange(
            services,
            recorder,
            interruption,
            self._tools,
            counts,
            self._requests,
            Origin(turn_id, model, options),
            self._name_of,
        )

    async def run(self) -> TurnEnd:
        """Answer the newest user message, or go on after tool calls that are still open."""
        self._recorder.tell(
            TurnStarted(turn_id=self._id, provider=self._model.provider, model=self._model.model)
        )
        end = await self._bounded()
        if end.error is not None:
            await write_note(self._recorder, "error", end.error)
        self._recorder.tell(
            TurnEnded(
                turn_id=self._id,
                stop_reason=end.stop_reason,
                usage=self._usage,
                error=end.error,
            )
        )
        return end

    async def _bounded(self) -> TurnEnd:
        """Run the loop within the time of a turn; what goes wrong in it is its end."""
        seconds = self._services.chat.turn_time
        if not seconds:
            return await self._contained()
        watchdog = Watchdog(self._services.clock, seconds, seconds)
        over = Failure(
            "timeout",
            f"The turn was ended: it took over {seconds:,.0f} seconds.",
            "Send a message to go on. `chat.turn_time` is the bound.",
        )

        async def watch() -> None:
            await watchdog.guard(anyio.sleep_forever)
            self._interruption.request(over.message)

        self._questions.bounded(watchdog.paused)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                end = await self._contained()
                tasks.cancel_scope.cancel()
        finally:
            self._questions.bounded(None)
        in_time = self._interruption.reason != over.message
        return end if in_time or end.stop_reason != "cancelled" else TurnEnd("error", over)

    async def _contained(self) -> TurnEnd:
        try:
            return await self._loop()
        except Fault as fault:
            return TurnEnd("error", fault.failure)
        except Exception:  # noqa: BLE001 - a named boundary: told, logged, and contained
            _log.exception("a turn failed")
            return TurnEnd("error", DEFECT)

    async def _loop(self) -> TurnEnd:
        driver = self._services.providers.driver(self._model.provider)
        with self._interruption.scope():
            await self._offer()
        replies = 0
        while True:
            opened = self._recorder.tree.open_calls()
            if opened is not None:
                self._calls += len(opened.calls)
                if end := await self._stop_before_tools(opened, replies):
                    return end
                await self._tools.run(opened)
            if self._interruption.requested:
                return TurnEnd("cancelled")
            first = not replies and opened is None
            end = await self._reply(driver, self._purpose if first else "tools")
            replies += 1
            if end.stop_reason != "tool_calls":
                return end

    async def _offer(self) -> None:
        """List the tools of this turn: the model is told of these, and only these are run."""
        servers = self._options.servers
        if servers == () or (servers is None and self._requests.are_toolless):
            return  # no server has to be waited for
        listed = await self._own.list(servers)
        tools = await self._requests.tools_of(listed)
        self._offered = {tool.alias: tool for tool in tools}
        self._tools.offer(tools)

    async def _stop_before_tools(self, opened: OpenCalls, replies: int) -> TurnEnd | None:
        """End the turn where its bounds are reached; the open calls are answered as not run."""
        most = self._options.max_replies or self._services.chat.max_replies
        if replies >= most:
            await self._tools.interrupt(f"It was not run: the limit of {most} replies was reached.")
            return TurnEnd("max_turns")
        bound = self._services.chat.tool_calls
        if self._calls > bound:
            await self._tools.interrupt(f"It was not run: the limit of {bound} calls was reached.")
            return TurnEnd("tool_calls_limit")
        if self._is_long(opened, replies) and not await self._tools.may_go_on(opened, replies):
            await self._tools.interrupt("It was not run: the user ended the turn here.")
            return TurnEnd("max_turns")
        return None

    def _is_long(self, opened: OpenCalls, replies: int) -> bool:
        """Whether a person is asked before the turn goes on, or was before a restart.

        A bound that was given for this turn is the answer in advance.
        """
        rounds = 0 if self._options.max_replies else self._services.chat.rounds
        return "" in opened.asks or bool(rounds and replies and replies % rounds == 0)

    async def _reply(self, driver: Driver, purpose: Purpose) -> TurnEnd:
        """Ask the model once; a second time without tools where it takes none."""
        request = await self._requests.next(offering=bool(self._offered))
        reply, end = await self._send(driver, request, purpose)
        if not reply.parts and takes_no_tools(request, reply.end):
            await self._requests.leave_out_tools()
            self._offered = {}
            self._tools.offer(())
            again = await self._requests.next(offering=False)
            _, end = await self._send(driver, again, "retry")
        return end

    async def _send(
        self, driver: Driver, request: ChatRequest, purpose: Purpose
    ) -> tuple[Reply, TurnEnd]:
        """Send one request, receive its reply, and write it down. Raises `LimitFault`."""
        sent = await self._exchange.send(driver, request, purpose)
        if sent is None:
            return Reply((), None, 0, None), TurnEnd("cancelled")
        self._usage += sent.usage or Usage()
        return sent.reply, await self._written(sent)

    async def _written(self, sent: Sent) -> TurnEnd:
        """Write what came of a request, and return what that means for the turn."""
        reply = sent.reply
        end = self._ending(reply)
        if reply.parts or isinstance(reply.end, Finished):
            parts = tuple(
                self._own.unfolded(part) if isinstance(part, ToolCall) else part
                for part in reply.parts
            )
            journal, mask = self._services.journal, self._services.mask
            parts = await put_away(parts, journal, MESSAGE_BYTES, mask)
            await self._recorder.write(self._message(sent, parts, end))
        elif reply.end is None:
            why = Failure("internal", self._interruption.reason)
            await write_note(self._recorder, "info", why)
        return end

    def _name_of(self, alias: str) -> str:
        tool = self._offered.get(alias)
        return tool.name if tool else alias

    def _ending(self, reply: Reply) -> TurnEnd:
        if reply.end is None:
            return TurnEnd("cancelled")
        if isinstance(reply.end, Failed):
            return TurnEnd("error", self._requests.explained(reply.end.failure))
        if any(isinstance(part, ToolCall) for part in reply.parts):
            return TurnEnd("tool_calls")
        reason = reply.end.reason
        return TurnEnd("stop" if reason == "tool_calls" else reason)

    def _message(self, sent: Sent, parts: tuple[Part, ...], end: TurnEnd) -> Message:
        return Message(
            **{**self._recorder.keys(), "id": sent.message},
            role="assistant",
            parts=parts,
            provider=self._model.provider,
            model=self._model.model,
            stop_reason=end.stop_reason,
            usage=sent.usage,
            cost=sent.cost,
            partial=end.stop_reason in ("cancelled", "error"),
            duration_ms=sent.reply.duration_ms,
            first_token_ms=sent.reply.first_token_ms,
        )
