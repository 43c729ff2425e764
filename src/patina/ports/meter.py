"""The money gate: no request leaves without a hold."""

from typing import Protocol

from patina.model.chat import ChatRequest, ModelRef
from patina.model.usage import Cost, Usage


class Meter(Protocol):
    """Reserves money before a request and books its real cost afterwards."""

    async def hold(self, conversation: str, model: ModelRef, request: ChatRequest) -> str | None:
        """Reserve the worst case and return the hold's id (None: nothing is metered).

        Raises `LimitFault` where a limit would be passed.
        """

    async def settle(self, hold: str | None, model: ModelRef, usage: Usage | None) -> Cost | None:
        """Book what was used and return its cost; None is "unknown", never zero."""
