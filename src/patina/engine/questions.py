"""Open questions of one conversation. A question is an event, its answer a command."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Final

import anyio
from msgspec.structs import replace

from patina.model.commands import AnswerPermission, AnswerQuestion
from patina.model.faults import UsageFault
from patina.model.items import Ask, Question
from patina.model.parts import well_formed
from patina.model.questions import Answered, Asked
from patina.model.settings import PermissionRule

_MOST_TOKENS: Final = 10_000_000


class _Open:
    def __init__(self, ask: Ask, check: Callable[[str], None]) -> None:
        self.ask = ask
        self.check = check
        self.answered = anyio.Event()
        self.answer: AnswerPermission | None = None


class Posed:
    """A server's question that waits for a person. `answered` is set with the `answer`."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.answered = anyio.Event()
        self.answer: Answered | None = None


class Questions:
    """Questions that wait for a person. The first answer counts.

    While any is open, the time that `bounded` stops does not count.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._posed: dict[str, Posed] = {}
        self._paused: Callable[[], AbstractContextManager[None]] | None = None
        self._pauses: dict[str, ExitStack] = {}

    def bounded(self, paused: Callable[[], AbstractContextManager[None]] | None) -> None:
        """Have `paused` entered for each question while it is open."""
        self._paused = paused

    def _pause(self, identifier: str) -> None:
        if self._paused is not None and identifier not in self._pauses:
            self._pauses[identifier] = stack = ExitStack()
            stack.enter_context(self._paused())

    def _go_on(self, identifier: str) -> None:
        stack = self._pauses.pop(identifier, None)
        if stack is not None:
            stack.close()

    def open(self, ask: Ask, check: Callable[[str], None]) -> None:
        """Expect an answer to `ask`; called before anyone is shown it.

        `check` raises `UsageFault` for arguments of an answer that may not be run.
        """
        self._open[ask.id] = _Open(ask, check)
        self._pause(ask.id)

    def waiting(self) -> list[Ask]:
        """Return the questions about calls that nobody answered yet."""
        return [entry.ask for entry in self._open.values() if entry.answer is None]

    def take(self, command: AnswerPermission) -> None:
        """Take an answer. Raises `UsageFault` where it is not open or has no such choice, offer or
        arguments: then it stays open.
        """
        entry = self._open.get(command.ask_id)
        if entry is None or entry.answer is not None:
            raise _not_open()
        if command.choice not in entry.ask.options:
            raise UsageFault(
                f"{command.choice} is not a choice of this question.",
                hint=f"Answer with one of: {', '.join(entry.ask.options)}.",
            )
        if command.choice == "allow_always" and command.rule is not None:
            _check_offered(command.rule, entry.ask.offers)
        if command.choice != "deny" and command.arguments:
            entry.check(command.arguments)
        entry.answer = command
        entry.answered.set()

    async def answer(self, ask_id: str) -> None:
        """Return once there is an answer, or the question was released."""
        await self._open[ask_id].answered.wait()

    def given(self, ask_id: str) -> AnswerPermission | None:
        """Return the answer, if there is one."""
        entry = self._open.get(ask_id)
        return entry.answer if entry is not None else None

    def release(self, ask_id: str) -> None:
        """Need no answer to this question any more, unless there is one."""
        entry = self._open.get(ask_id)
        if entry is not None and entry.answer is None:
            del self._open[ask_id]
            entry.answered.set()

    def close(self, ask_id: str) -> None:
        """Stop expecting an answer."""
        self._open.pop(ask_id, None)
        self._go_on(ask_id)

    def pose(self, question: Question) -> Posed:
        """Expect an answer to what a server asks; called before anyone is shown it."""
        posed = self._posed[question.id] = Posed(question)
        self._pause(question.id)
        return posed

    def posed(self) -> list[Question]:
        """Return what servers ask that nobody answered yet."""
        return [posed.question for posed in self._posed.values() if posed.answer is None]

    def take_values(self, command: AnswerQuestion) -> None:
        """Take the answer to a server's question.

        Raises `UsageFault` where it is not open, or the values do not fit: then it stays open.
        """
        posed = self._posed.get(command.question_id)
        if posed is None or posed.answer is not None:
            raise _not_open()
        answered = command.answered
        if answered.action != "accept":
            answered = Answered(action=answered.action)
        wrong = _problems(posed.question.asked, answered)
        if wrong:
            raise UsageFault(" ".join(wrong), hint="The question is still open: answer it again.")
        posed.answer = answered
        posed.answered.set()

    def withdraw(self, posed: Posed) -> None:
        """Stop expecting an answer to a server's question."""
        self._posed.pop(posed.question.id, None)
        self._go_on(posed.question.id)


def _not_open() -> UsageFault:
    return UsageFault(
        "This question is not open any more.",
        hint="It was answered elsewhere, or its turn has ended.",
    )


def _check_offered(rule: PermissionRule, offers: tuple[PermissionRule, ...]) -> None:
    """Raise `UsageFault` for a rule that is none of the offers, but for its last day."""
    if replace(rule, expires="") not in [replace(offer, expires="") for offer in offers]:
        raise UsageFault(
            "This rule is not among those that the question offers.",
            hint="Choose one of them; only its last day may be changed.",
        )
    if rule.expires:
        from datetime import date

        try:
            day = date.fromisoformat(rule.expires).isoformat()
        except ValueError:
            day = ""
        if day != rule.expires:
            raise UsageFault(f"{rule.expires!r} is not a day.", hint="Write it as 2026-12-31.")


def _problems(asked: Asked, answered: Answered) -> list[str]:
    """Return what is wrong with an answer that accepts, a sentence each."""
    content = answered.content
    if answered.action != "accept":
        return []
    if asked.kind == "form":
        from patina.model.forms import fields_of, problems

        return problems(fields_of(asked.form), content)
    if asked.kind == "url":
        return ["A page takes no values."] if content else []
    return _sampling_problems(content)


def _sampling_problems(content: dict[str, object]) -> list[str]:
    """Return what is wrong with the changes that a person made to a prompt."""
    known = {"system": str, "messages": dict, "model": str, "max_tokens": int}
    wrong = [f"A prompt has no {name!r} to change." for name in content if name not in known]
    for name, kind in known.items():
        value = content.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            wrong.append(f"{name} has the wrong type.")
        elif isinstance(value, dict) and not all(map(_is_text, [*value, *value.values()])):
            wrong.append(f"{name} holds something that is no text.")
        elif isinstance(value, str) and not _is_text(value):
            wrong.append(f"{name} is no text.")
        elif isinstance(value, int) and not 1 <= value <= _MOST_TOKENS:
            wrong.append(f"{name} must be from 1 to {_MOST_TOKENS}.")
    return wrong


def _is_text(value: object) -> bool:
    return isinstance(value, str) and well_formed(value) == value
