"""Open questions of one conversation. A question is an event, its answer a command."""

import anyio

from patina.model.commands import AnswerPermission
from patina.model.faults import UsageFault
from patina.model.items import Ask


class _Open:
    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.answered = anyio.Event()
        self.answer: AnswerPermission | None = None


class Questions:
    """Questions that wait for a person. The first answer counts."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def open(self, ask: Ask) -> None:
        """Expect an answer to `ask`; called before anyone is shown it."""
        self._open.setdefault(ask.id, _Open(ask))

    def waiting(self) -> list[Ask]:
        """Return the questions that nobody answered yet."""
        return [entry.ask for entry in self._open.values() if entry.answer is None]

    def take(self, command: AnswerPermission) -> None:
        """Take an answer. Raises `UsageFault` where it is not open or has no such choice."""
        entry = self._open.get(command.ask_id)
        if entry is None or entry.answer is not None:
            raise UsageFault(
                "This question is not open any more.",
                hint="It was answered elsewhere, or its turn has ended.",
            )
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
