"""A bound of time that does not count the time of people."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio

from patina.model.questions import (
    VISIT_SECONDS,
    Answered,
    Asked,
    Sampled,
    Sampling,
    TaskState,
)
from patina.ports.dialog import Dialog

R = TypeVar("R")


class Patience:
    """Implements `ports.dialog.Dialog` over `dialog`; `scope` ends after `seconds` of a server's
    time. Progress begins them anew.
    """

    def __init__(self, dialog: Dialog | None, seconds: float) -> None:
        self.seconds = seconds
        self.scope = anyio.CancelScope(deadline=anyio.current_time() + seconds)
        self._dialog = dialog
        self._people = 0
        self._visit_until = 0.0

    @property
    def present(self) -> bool:
        """As `Dialog.present`."""
        return self._dialog is not None and self._dialog.present

    def progress(self, done: float, total: float | None, text: str) -> None:
        """As `Dialog.progress`."""
        self._restart()
        self._inner.progress(done, total, text)

    def log(self, level: str, text: str) -> None:
        """As `Dialog.log`."""
        self._inner.log(level, text)

    async def ask(self, asked: Asked) -> Answered:
        """As `Dialog.ask`."""
        with self._aside():
            answered = await self._inner.ask(asked)
        if asked.kind == "url" and answered.action == "accept":
            self._visit_until = anyio.current_time() + VISIT_SECONDS
            self._restart()
        return answered

    async def sample(self, server: str, prompt: Sampling) -> Sampled:
        """As `Dialog.sample`."""
        with self._aside():
            return await self._inner.sample(server, prompt)

    async def task(self, state: TaskState) -> None:
        """As `Dialog.task`."""
        await self._inner.task(state)

    def keeps_task(self) -> bool:
        """As `Dialog.keeps_task`."""
        return self._inner.keeps_task()

    async def aside(self, deed: Awaitable[R]) -> R:
        """Return what `deed` gets, whose time does not count."""
        with self._aside():
            return await deed

    @contextmanager
    def _aside(self) -> Iterator[None]:
        self._people += 1
        self._restart()
        try:
            yield
        finally:
            self._people -= 1
            self._restart()

    def _restart(self) -> None:
        due = float("inf") if self._people else anyio.current_time() + self.seconds
        self.scope.deadline = max(due, self._visit_until)

    @property
    def _inner(self) -> Dialog:
        assert self._dialog is not None, "only a call with a dialog is told and asked"
        return self._dialog
