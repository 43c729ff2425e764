"""Time, so that a test can own it."""

from contextlib import AbstractContextManager
from typing import Protocol

from anyio import CancelScope


class Clock(Protocol):
    """Wall time for records, steady time for durations, and waiting."""

    def now(self) -> str:
        """Return UTC now as ISO 8601 with milliseconds and "Z"."""

    def monotonic(self) -> float:
        """Return steady seconds; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""

    def timeout(self, seconds: float) -> AbstractContextManager[CancelScope]:
        """Cancel the body after `seconds`; the scope's `cancelled_caught` then says so."""
