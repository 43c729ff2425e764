"""The loop: ask the model, run the tools it calls, ask again, until it needs nothing more.

Read `Turn.run` from top to bottom: everything a turn does is there or one call away. A turn ends
by returning; nothing but a defect makes it raise.
"""

import logging
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from patina.engine.context import load_blobs, messages_of, system_prompt, tool_specs
from patina.engine.interruption import Interruption
from patina.engine.large import MESSAGE_BYTES, put_away
from patina.engine.questions import Questions
from patina.engine.recorder import Recorder
from patina.engine.services import Services
from patina.engine.stream import Receiver, Reply
from patina.engine.tool_step import ToolStep
from patina.model.chat import ChatRequest, Failed, Finished, ModelRef, ToolInfo
from patina.model.events import TurnEnded, TurnStarted
from patina.model.faults import Failure, Fault
from patina.model.ids import new_id
from patina.model.items import Message, Note, NoteLevel, ReplyStart, StopReason
from patina.model.options import TurnOptions
from patina.model.parts import ToolCall
from patina.model.usage import Cost, Usage
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
        *,
        turn_id: str,
        model: ModelRef,
        options: TurnOptions,
    ) -> None:
        self._services = services
        self._recorder = recorder
        self._id = turn_id
        self._model = model
        self._options = options
        self._usage = Usage()
        self._calls = 0
        self._interruption = interruption
        self._offered: dict[str, ToolInfo] = {}  # by alias
        self._tools = ToolStep(services, recorder, questions, interruption, granted)

    async def run(self) -> None:
        """Answer the newest user message, or go on after tool calls that are still open."""
        self._recorder.tell(
            TurnStarted(turn_id=self._id, provider=self._model.provider, model=self._model.model)
        )
        try:
            end = await self._loop()
        except Fault as fault:
            end = TurnEnd("error", fault.failure)
        except Exception:  # noqa: BLE001 - a named boundary: told, logged, and contained
            _log.exception("a turn failed")
            end = TurnEnd("error", DEFECT)
        if end.error is not None:
            await self._note("error", end.error)
        self._recorder.tell(
            TurnEnded(
                turn_id=self._id,
                stop_reason=end.stop_reason,
                usage=self._usage,
                error=end.error,
            )
        )

    async def _loop(self) -> TurnEnd:
        driver = self._services.providers.driver(self._model.provider)
        with self._interruption.scope():
            await self._offer()
        replies = 0
        while True:
            opened = self._recorder.tree.open_calls()
            if opened is not None:
                self._calls += len(opened.calls)
                if end := await self._stop_before_tools(replies):
                    return end
                await self._tools.run(opened)
            if self._interruption.requested:
                return TurnEnd("cancelled")
            end = await self._reply(driver)
            replies += 1
            if end.stop_reason != "tool_calls":
                return end

    async def _offer(self) -> None:
        """List the tools of this turn: the model is told of these, and only these are run."""
        if self._options.servers == ():
            return
        tools = await self._services.tools.list(self._options.servers)
        self._offered = {tool.alias: tool for tool in tools}
        self._tools.offer(tools)

    async def _stop_before_tools(self, replies: int) -> TurnEnd | None:
        """End the turn where its bounds are reached; the open calls are answered as not run."""
        most = self._options.max_replies or self._services.chat.max_replies
        if replies >= most:
            await self._tools.interrupt(f"It was not run: the limit of {most} replies was reached.")
            return TurnEnd("max_turns")
        bound = self._services.chat.tool_calls
        if self._calls > bound:
            await self._tools.interrupt(f"It was not run: the limit of {bound} calls was reached.")
            return TurnEnd("tool_calls_limit")
        return None

    async def _reply(self, driver: Driver) -> TurnEnd:
        """Send one request, receive its reply, and write it down."""
        request = await self._request()
        hold = await self._services.meter.hold(self._recorder.conversation, self._model, request)
        message_id = new_id()
        start = ReplyStart(
            **self._recorder.keys(),
            message=message_id,
            turn=self._id,
            provider=self._model.provider,
            model=self._model.model,
            hold=hold,
            options=self._options,
        )
        await self._recorder.write(start)
        receiver = Receiver(self._recorder, self._services.clock, message_id, self._name_of)
        reply = await receiver.receive(driver.stream(request), self._interruption)
        usage = reply.end.usage if reply.end else None
        self._usage += usage or Usage()
        cost = await self._services.meter.settle(hold, self._model, usage)
        end = self._ending(reply)
        if reply.parts or isinstance(reply.end, Finished):
            parts = await put_away(reply.parts, self._services.journal, MESSAGE_BYTES)
            reply = replace(reply, parts=parts)
            await self._recorder.write(self._message(message_id, reply, end, usage, cost))
        elif reply.end is None:
            await self._note("info", Failure("internal", self._interruption.reason))
        return end

    async def _request(self) -> ChatRequest:
        tree, chat = self._recorder.tree, self._services.chat
        tools = tuple(self._offered.values())
        history = messages_of(tree, self._services.tools, self._model.provider)
        messages, blobs, missing = await load_blobs(history, self._services.journal)
        if missing:
            words = f"{missing} stored files of this conversation cannot be read and were left out."
            await self._note("warning", Failure("store", words))
        return ChatRequest(
            model=self._model.model,
            messages=messages,
            system=system_prompt(tree.fact("system") or chat.system, tools),
            tools=tool_specs(tools),
            temperature=self._options.temperature,
            max_tokens=self._options.max_tokens or chat.max_tokens,
            effort=self._options.effort or self._model.effort,
            blobs=blobs,
            timeout=self._options.timeout or chat.timeout,
        )

    def _name_of(self, alias: str) -> str:
        tool = self._offered.get(alias)
        return tool.name if tool else alias

    def _ending(self, reply: Reply) -> TurnEnd:
        if reply.end is None:
            return TurnEnd("cancelled")
        if isinstance(reply.end, Failed):
            return TurnEnd("error", reply.end.failure)
        if any(isinstance(part, ToolCall) for part in reply.parts):
            return TurnEnd("tool_calls")
        reason = reply.end.reason
        return TurnEnd("stop" if reason == "tool_calls" else reason)

    def _message(
        self, message_id: str, reply: Reply, end: TurnEnd, usage: Usage | None, cost: Cost | None
    ) -> Message:
        return Message(
            **{**self._recorder.keys(), "id": message_id},
            role="assistant",
            parts=reply.parts,
            provider=self._model.provider,
            model=self._model.model,
            stop_reason=end.stop_reason,
            usage=usage,
            cost=cost,
            partial=end.stop_reason in ("cancelled", "error"),
            duration_ms=reply.duration_ms,
            first_token_ms=reply.first_token_ms,
        )

    async def _note(self, level: NoteLevel, what: Failure) -> None:
        kind = what.kind if level == "error" else ""
        note = Note(
            **self._recorder.keys(), level=level, text=what.message, hint=what.hint, kind=kind
        )
        try:
            await self._recorder.write(note)
        except Fault:
            return  # the journal itself is what failed; `turn.ended` tells it
