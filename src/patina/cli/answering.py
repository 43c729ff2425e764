"""The person at the terminal answers what comes up in a turn: may this tool run, and forms."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from patina.assembly.app import App
from patina.cli.tty import Person
from patina.model import commands, events
from patina.model.faults import Failure, LimitFault, PermissionFault
from patina.model.items import Ask, Choice, Decision, Question
from patina.model.questions import Answered
from patina.views.terminal_text import safe_text

if TYPE_CHECKING:
    from patina.cli.question import Batch, Said
    from patina.cli.server_questions import ServerQuestions


class Answering:
    """Answers the questions of one conversation, one after the other.

    `someone` is asked for when a person is needed; `end` ends the turn for want of one. What is
    answered elsewhere meanwhile is withdrawn here.
    """

    def __init__(
        self,
        app: App,
        someone: Callable[[], Person],
        end: Callable[[Failure], None],
        *,
        quiet: bool,
    ) -> None:
        self._app = app
        self._someone = someone
        self._end = end
        self._quiet = quiet
        self._turn = anyio.Lock()
        self._asked: dict[str, Ask] = {}
        self._undecided: dict[str, Ask] = {}
        self._sent: set[str] = set()  # answered here, but not decided yet
        self._shown: dict[str, anyio.CancelScope] = {}
        self._elsewhere: dict[str, Choice] = {}  # how what was shown here was answered
        self._questions: ServerQuestions | None = None

    def hear(self, event: events.AnyEvent, tasks: TaskGroup) -> None:
        """Act on an event of the conversation; what takes time runs in `tasks`."""
        if isinstance(event, events.PermissionAsked):
            self._asked[event.item.id] = self._undecided[event.item.id] = event.item
            tasks.start_soon(self._decide, event.item, event.conversation)
        elif isinstance(event, events.PermissionDecided):
            self._decided(event.item)
        elif isinstance(event, events.QuestionAsked):
            tasks.start_soon(self._answer, event.item, event.conversation)
        elif isinstance(event, events.QuestionAnswered) and event.item.question in self._shown:
            self._shown[event.item.question].cancel()
        elif isinstance(event, events.CommandFailed) and event.ref in self._sent:
            # Something is wrong with the answer; the question is still open.
            self._sent.discard(event.ref)
            ask, wrong = self._undecided[event.ref], event.error.message
            tasks.start_soon(self._decide, ask, event.conversation, wrong)

    def leave(self) -> bool:
        """Cancel the question of a server that is shown; whether there was one."""
        return self._questions is not None and self._questions.leave()

    @property
    def busy(self) -> bool:
        """Whether the terminal is taken by a question."""
        return self._turn.locked()

    async def _decide(self, ask: Ask, conversation: str, wrong: str = "") -> None:
        """Put a question about a call to the person. `wrong` is what was wrong with an answer."""
        from patina.cli.question import PermissionQuestion, elsewhere

        person = self._someone()
        if not person.present:
            self._end(_nobody(ask))
            return
        async with self._turn:
            if ask.id not in self._undecided or ask.id in self._sent:
                return  # answered while another one was shown
            question = PermissionQuestion(self._app, person, self._app.setup.environ)
            said = None
            with anyio.CancelScope() as self._shown[ask.id]:
                said = await question.put(ask, lambda: self._batch(ask), wrong)
            del self._shown[ask.id]
            if ask.id in self._elsewhere:
                _say(elsewhere(self._elsewhere[ask.id]))
            elif said is not None:
                self._submit(ask, said, conversation)
            else:
                self._end(_nobody(ask))  # the input has ended

    def _submit(self, ask: Ask, said: "Said", conversation: str) -> None:
        for one in self._batch(ask).open if said.every else (ask,):
            self._sent.add(one.id)
            self._app.engine.submit(
                commands.AnswerPermission(
                    conversation=conversation,
                    ask_id=one.id,
                    choice=said.choice,
                    reason=said.reason,
                    arguments=said.arguments if one.id == ask.id else "",
                    rule=said.rule,
                )
            )

    def _batch(self, ask: Ask) -> "Batch":
        from patina.cli.question import Batch

        batch = [one for one in self._asked.values() if ask.batch and one.batch == ask.batch]
        waiting = self._undecided.keys() - self._sent
        return Batch(tuple(batch), tuple(one for one in batch if one.id in waiting))

    def _decided(self, decision: Decision) -> None:
        """Withdraw the question that was decided, wherever it was."""
        identifier = decision.ask or ""
        self._undecided.pop(identifier, None)
        self._sent.discard(identifier)
        if identifier in self._shown:
            self._elsewhere[identifier] = decision.choice
            self._shown[identifier].cancel()

    async def _answer(self, question: Question, conversation: str) -> None:
        """Put a server's question to the person; where nobody is there, cancel it and say so."""
        if not self._someone().present:
            answered = Answered(action="cancel")
            if not self._quiet:
                from patina.cli.terminal_dialog import unanswered_text

                name = question.display_name or question.server
                _say(unanswered_text(name, question.asked))
        else:
            found = await self._put(question)
            if found is None:
                _say("\nThis is not asked any more.")
                return
            answered = found
        self._app.engine.submit(
            commands.AnswerQuestion(
                conversation=conversation, question_id=question.id, answered=answered
            )
        )

    async def _put(self, question: Question) -> Answered | None:
        """Return the person's answer, None where the question was answered elsewhere."""
        from patina.cli.server_questions import ServerQuestions

        if self._questions is None:
            self._questions = ServerQuestions(self._someone(), self._app.setup.environ)
        answered: Answered | None = None
        with anyio.CancelScope() as self._shown[question.id]:
            async with self._turn:
                name = question.display_name or question.server
                answered = await self._questions.answer(name, question.asked)
        del self._shown[question.id]
        return answered


def _nobody(ask: Ask) -> Failure:
    """Return why the turn cannot go on without an answer to `ask`, and what would allow it."""
    if ask.kind == "rounds":
        words = f"{ask.reason} Nobody is here to say whether it may.".strip()
        hint = "chat.rounds in config.toml says after how many replies it asks."
        return PermissionFault(words, hint=hint).failure
    if ask.kind == "price":
        words = f"{ask.reason} Nobody is here to say whether it may be."
        hint = "To send it all the same: patina config set billing.on_unknown_price allow"
        return LimitFault(words, hint=hint).failure
    from patina.permission.approvals import flag_for

    name = f"{ask.server}.{ask.tool}"
    flag = flag_for(name)
    allow = f"Allow it with {flag}, or let" if flag else "Answer at a terminal, or let"
    return PermissionFault(
        f"{name} needs an answer and nobody is here to give one.",
        hint=f"{allow} the model go on with --approve deny.",
    ).failure


def _say(text: str) -> None:
    sys.stderr.write(f"{safe_text(text)}\n")
    sys.stderr.flush()
