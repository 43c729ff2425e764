"""Open questions of one conversation. A question is an event, its answer a command."""

from typing import Final

import anyio

from patina.model.commands import AnswerPermission, AnswerQuestion
from patina.model.faults import UsageFault
from patina.model.items import Ask, Question
from patina.model.parts import well_formed
from patina.model.questions import Answered, Asked

_MOST_TOKENS: Final = 10_000_000


class _Open:
    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.answered = anyio.Event()
        self.answer: AnswerPermission | None = None


class Posed:
    """A server's question that waits for a person. `answered` is set with the `answer`."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.answered = anyio.Event()
        self.answer: Answered | None = None


class Questions:
    """Questions that wait for a person. The first answer counts."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._posed: dict[str, Posed] = {}

    def open(self, ask: Ask) -> None:
        """Expect an answer to `ask`; called before anyone is shown it."""
        self._open.setdefault(ask.id, _Open(ask))

    def waiting(self) -> list[Ask]:
        """Return the questions about calls that nobody answered yet."""
        return [entry.ask for entry in self._open.values() if entry.answer is None]

    def take(self, command: AnswerPermission) -> None:
        """Take an answer. Raises `UsageFault` where it is not open or has no such choice."""
        entry = self._open.get(command.ask_id)
        if entry is None or entry.answer is not None:
            raise _not_open()
        if command.choice not in entry.ask.options:
            raise UsageFault(
                f"{command.choice} is not a choice of this question.",
                hint=f"Answer with one of: {', '.join(entry.ask.options)}.",
            )
        entry.answer = command
        entry.answered.set()

    async def answer(self, ask_id: str) -> AnswerPermission | None:
        """Return the answer once it is there."""
        entry = self._open[ask_id]
        await entry.answered.wait()
        return entry.answer

    def close(self, ask_id: str) -> None:
        """Stop expecting an answer."""
        self._open.pop(ask_id, None)

    def pose(self, question: Question) -> Posed:
        """Expect an answer to what a server asks; called before anyone is shown it."""
        posed = self._posed[question.id] = Posed(question)
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


def _not_open() -> UsageFault:
    return UsageFault(
        "This question is not open any more.",
        hint="It was answered elsewhere, or its turn has ended.",
    )


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
