"""A person decides: the questions of one step are put together and answered in any order.

All are on disk before any is told. Any front end may answer, the first answer to each counts, and
an answer that grants more than its own call answers the other open questions that it covers.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import anyio
from msgspec import Struct
from msgspec.structs import replace

from patina.engine.interruption import Interruption
from patina.engine.judging import Judge
from patina.engine.notes import write_note
from patina.engine.questions import Questions
from patina.engine.recorder import Recorder
from patina.engine.services import Services
from patina.model.chat import ToolInfo
from patina.model.commands import AnswerPermission
from patina.model.events import PermissionAsked
from patina.model.faults import Fault, McpFault, StoreFault, UsageFault
from patina.model.items import Ask, Choice, Decision, Message
from patina.model.parts import ToolCall
from patina.model.settings import PermissionRule
from patina.model.tree import OpenCalls
from patina.ports.permission import Allow, AskUser, Deny
from patina.views.permission import effects_of

STILL_OPEN = "The question is still open: answer it again."


class Wanted(Struct, frozen=True):
    """A call whose arguments fit. `text` is their JSON text."""

    call: ToolCall
    tool: ToolInfo
    arguments: Mapping[str, Any]
    text: str


class _Put:
    """A question that was put. `ruling` decides it where an answer to another one does."""

    def __init__(self, wanted: Wanted, ask: Ask) -> None:
        self.wanted = wanted
        self.ask = ask
        self.ruling: Allow | Deny | None = None


class Asking:
    """Puts questions about the calls of one turn, and about the turn itself."""

    def __init__(
        self,
        services: Services,
        recorder: Recorder,
        questions: Questions,
        interruption: Interruption,
        judge: Judge,
    ) -> None:
        self._services = services
        self._recorder = recorder
        self._questions = questions
        self._interruption = interruption
        self._judge = judge

    async def decide(
        self,
        opened: OpenCalls,
        wanted: Iterable[tuple[Wanted, AskUser]],
        ended: Callable[[ToolCall], Awaitable[None]],
    ) -> dict[str, Decision]:
        """Have a person decide about calls, and return what was decided by the id of each.

        One that is ended by itself meanwhile is not among them: `ended` writes its result at once.
        Raises `StoreFault`.
        """
        put = self._questions_of(opened, wanted)
        decided: dict[str, Decision] = {}
        unwritten: list[StoreFault] = []

        async def settle(one: _Put) -> None:
            call = one.wanted.call
            alone = self._interruption.call(call.id)
            with self._interruption.scope(), alone.scope():
                await self._questions.answer(one.ask.id)
            try:
                if alone.requested:
                    self._questions.close(one.ask.id)
                    await ended(call)
                    return
                decision = await self._settled(opened.message, one, put)
            except StoreFault as fault:
                unwritten.append(fault)
                tasks.cancel_scope.cancel()
            else:
                if decision is not None:
                    decided[call.id] = decision

        try:
            await self._tell([(one.ask, self._check(one.wanted.tool)) for one in put])
            async with anyio.create_task_group() as tasks:
                for one in put:
                    tasks.start_soon(settle, one)
        finally:
            for one in put:
                self._questions.close(one.ask.id)
        if unwritten:
            raise unwritten[0]
        return decided

    async def may_go_on(self, opened: OpenCalls, replies: int) -> bool:
        """Ask whether the turn may go on after so many replies. Raises `StoreFault`.

        Where the turn is ended meanwhile, nobody has said that it may not.
        """
        earlier = opened.decided.get("")
        if earlier is not None:
            return earlier.choice != "deny"
        ask = opened.asks.get("") or Ask(
            **self._recorder.keys(),
            kind="rounds",
            message=opened.message.id,
            call_id="",
            server="",
            tool="",
            arguments="{}",
            display_name="",
            options=("allow_once", "deny"),
            reason=f"The model has replied {replies} times in this turn, and would go on.",
        )
        answer = await self._answered(ask)
        if answer is None:
            return True
        await self.write(opened.message.id, "", answer.choice, "user", answer.reason, ask=ask.id)
        return answer.choice != "deny"

    async def may_cost(self, turn_id: str, model: str, why: str) -> bool:
        """Ask whether a request to `model` is sent, though nobody knows its price.

        Where the turn is ended meanwhile, it is not. Raises `StoreFault`.
        """
        ask = Ask(
            **self._recorder.keys(),
            kind="price",
            message=turn_id,
            call_id="",
            server="",
            tool="",
            arguments="{}",
            display_name=model,
            options=("allow_once", "allow_session", "deny"),
            reason=why,
        )
        answer = await self._answered(ask)
        if answer is None:
            return False
        await self.write(turn_id, "", answer.choice, "user", answer.reason, ask=ask.id)
        return answer.choice != "deny"

    async def _answered(self, ask: Ask) -> AnswerPermission | None:
        """Return what a person answers, None where the turn is ended meanwhile."""
        try:
            await self._tell([(ask, _no_arguments)])
            with self._interruption.scope():
                await self._questions.answer(ask.id)
            return self._questions.given(ask.id)
        finally:
            self._questions.close(ask.id)

    async def write(
        self,
        message: str,
        call_id: str,
        choice: Choice,
        rule: str,
        reason: str = "",
        *,
        ask: str | None = None,
        arguments: str = "",
        wrote: PermissionRule | None = None,
    ) -> Decision:
        """Write down what was decided about a call of `message`, or about the turn of it, and by
        what. Raises `StoreFault`.
        """
        decision = Decision(
            **self._recorder.keys(),
            message=message,
            call_id=call_id,
            choice=choice,
            rule=rule,
            reason=reason,
            ask=ask,
            arguments=arguments,
            wrote=wrote,
        )
        await self._recorder.write(decision)
        return decision

    def _questions_of(
        self, opened: OpenCalls, wanted: Iterable[tuple[Wanted, AskUser]]
    ) -> list[_Put]:
        """Return the questions: those from before a restart as they are, and new ones."""
        batches = {ask.server: ask.batch for ask in opened.asks.values() if ask.batch}
        put: list[_Put] = []
        for one, verdict in wanted:
            ask = opened.asks.get(one.call.id)
            if ask is None:
                ask = self._ask(opened.message, one, verdict)
                ask = replace(ask, batch=batches.setdefault(ask.server, ask.id))
            put.append(_Put(one, ask))
        return put

    def _ask(self, message: Message, wanted: Wanted, verdict: AskUser) -> Ask:
        tool, options, offers = wanted.tool, verdict.options, verdict.offers
        if not offers or self._services.rules is None:
            options, offers = tuple(one for one in options if one != "allow_always"), ()
        return Ask(
            **self._recorder.keys(),
            message=message.id,
            call_id=wanted.call.id,
            server=tool.server,
            tool=tool.tool,
            arguments=wanted.text,
            display_name=tool.display_name,
            options=options,
            reason=verdict.reason,
            effects=effects_of(tool),
            offers=offers,
        )

    async def _tell(self, asks: list[tuple[Ask, Callable[[str], None]]]) -> None:
        """Expect answers, then tell the questions; new ones once all of them are on disk."""
        tree = self._recorder.tree
        for ask, check in asks:
            self._questions.open(ask, check)
        for ask, _ in asks:
            if ask.id in tree:
                self._recorder.tell(PermissionAsked(item=ask))
        fresh = [ask for ask, _ in asks if ask.id not in tree]
        if fresh:
            await self._recorder.write(*fresh)

    def _check(self, tool: ToolInfo) -> Callable[[str], None]:
        """Return what says of arguments that a person wrote whether they may be run."""

        def check(arguments: str) -> None:
            try:
                given = self._services.tools.check(tool, arguments)
            except McpFault as fault:
                raise UsageFault(str(fault), hint=STILL_OPEN) from None
            verdict = self._judge.verdict(tool, given)
            if isinstance(verdict, Deny):
                raise UsageFault(f"Not with these arguments: {verdict.reason}", hint=STILL_OPEN)

        return check

    async def _settled(self, message: Message, one: _Put, put: list[_Put]) -> Decision | None:
        """Write what a question came to: its answer, or what decides it without one."""
        ask, wanted = one.ask, one.wanted
        answer = self._questions.given(ask.id)
        self._questions.close(ask.id)
        call_id, tool = wanted.call.id, wanted.tool
        if answer is None:
            if one.ruling is None:
                return None
            reason = one.ruling.reason if isinstance(one.ruling, Deny) else ""
            choice: Choice = "deny" if isinstance(one.ruling, Deny) else "allow_once"
            return await self.write(
                message.id, call_id, choice, one.ruling.rule, reason, ask=ask.id
            )
        if answer.choice == "deny":
            reason = f"The user denied this call of {tool.name}. {answer.reason}".strip()
            return await self.write(message.id, call_id, "deny", "user", reason, ask=ask.id)
        edited = "" if answer.arguments in ("", wanted.text) else answer.arguments
        choice, wrote = await self._kept(ask, answer, edited)
        decision = await self.write(
            message.id, call_id, choice, "user", ask=ask.id, arguments=edited, wrote=wrote
        )
        if choice == "allow_session":
            self._judge.grant(tool)
        if choice != "allow_once":
            self._rule(other for other in put if other is not one)
        return decision

    async def _kept(
        self, ask: Ask, answer: AnswerPermission, edited: str
    ) -> tuple[Choice, PermissionRule | None]:
        """Write the rule of "always". Where it cannot be, the call is allowed this once."""
        writer = self._services.rules
        if answer.choice != "allow_always" or writer is None:
            return answer.choice, None
        # The rule about the model's arguments is not meant by who changed them.
        fitting = (one for one in ask.offers if not (edited and one.args))
        rule = answer.rule or next(fitting, ask.offers[-1])
        try:
            await writer.write(rule)
        except Fault as fault:
            words = f"The rule was not kept; the call is allowed this once. {fault}"
            await write_note(self._recorder, "warning", replace(fault.failure, message=words))
            return "allow_once", None
        return "allow_always", rule

    def _rule(self, others: Iterable[_Put]) -> None:
        """Decide the open questions that a new grant answers."""
        for other in others:
            verdict = self._judge.verdict(other.wanted.tool, other.wanted.arguments)
            if not isinstance(verdict, AskUser):
                other.ruling = verdict
                self._questions.release(other.ask.id)


def _no_arguments(arguments: str) -> None:
    raise UsageFault("This question has no arguments to change.", hint=STILL_OPEN)
