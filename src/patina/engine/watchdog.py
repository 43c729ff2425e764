"""How long a call may take: so many seconds without a sign of life, and so many in all."""

import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import anyio

from patina.model.questions import VISIT_SECONDS
from patina.ports.clock import Clock

TASK_SECONDS: Final = 86_400.0
_DUE: Final = 0.001  # seconds; sums of times are not exact to the last bit
T = TypeVar("T")


class Watchdog:
    """Bounds one call to `timeout` seconds, begun anew by `restart`, and to `most` in all.

    The time inside `paused` does not count, and `visit` gives more. While `follow` is on, whoever
    polls the task watches over the call, and only a day is the bound.
    """

    def __init__(self, clock: Clock, timeout: float, most: float) -> None:
        self._clock = clock
        self._timeout = timeout
        self._most = max(most, timeout)
        self._following = False
        self._pauses = 0
        self._paused_at = 0.0
        self._paused_for = 0.0
        self._visit_until = -math.inf
        self._began = self._since = self._now()
        self._changed = anyio.Event()
        self.fired = False
        self.bound = timeout  # seconds: that which was passed

    def restart(self) -> None:
        """Begin the time without a sign of life anew."""
        self._since = self._now()

    def visit(self) -> None:
        """Give the call `VISIT_SECONDS` at least: a person said yes to a page, and it waits for
        the end of the visit, of which a server need not tell.
        """
        self._visit_until = self._now() + VISIT_SECONDS
        self._wake()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock while the body runs. Several may, side by side."""
        if not self._pauses:
            self._paused_at = self._clock.monotonic()
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                self._paused_for += self._clock.monotonic() - self._paused_at
                self._wake()

    def follow(self, *, on: bool) -> None:
        """Leave the watch to the polls of a task, or take it up again with the full time."""
        if on != self._following:
            self._following = on
            self._began = self._since = self._now()
            self._wake()

    async def guard(
        self, work: Callable[[], Awaitable[T]], *beside: Callable[[], Coroutine[Any, Any, None]]
    ) -> T | None:
        """Return what `work` returns, None where it was cancelled because its time was over.

        `fired` says so then. `beside` run until it ends. None of them may raise.
        """
        result: T | None = None
        self._began = self._since = self._now()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, tasks.cancel_scope)
            for other in beside:
                tasks.start_soon(other)
            result = await work()
            tasks.cancel_scope.cancel()
        if result is not None:
            self.fired = False  # it was done before it was cancelled
        return result

    async def _watch(self, scope: anyio.CancelScope) -> None:
        while True:
            self._changed = anyio.Event()
            left = math.inf if self._pauses else self._left()
            if left <= _DUE:
                break
            if left == math.inf:
                await self._changed.wait()
            else:
                with self._clock.timeout(left):
                    await self._changed.wait()
        self.fired = True
        scope.cancel()

    def _left(self) -> float:
        now = self._now()
        if self._following:
            self.bound = TASK_SECONDS
            return self._began + TASK_SECONDS - now
        quiet, whole = self._since + self._timeout - now, self._began + self._most - now
        visit = self._visit_until - now
        if visit >= min(quiet, whole):
            self.bound = VISIT_SECONDS
            return visit
        self.bound = self._timeout if quiet <= whole else self._most
        return min(quiet, whole)

    def _now(self) -> float:
        """Return the seconds that count, up to now."""
        now = self._paused_at if self._pauses else self._clock.monotonic()
        return now - self._paused_for

    def _wake(self) -> None:
        self._changed.set()
