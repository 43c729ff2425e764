"""The money gate while there is no ledger: nothing is limited, and no cost is claimed."""

from patina.model.chat import ChatRequest, ModelRef
from patina.model.usage import Cost, Usage


class Unmetered:
    """`ports.meter.Meter` that lets every request pass and calls its cost unknown (None)."""

    async def hold(self, conversation: str, model: ModelRef, request: ChatRequest) -> str | None:
        """Reserve nothing."""
        return None

    async def settle(self, hold: str | None, model: ModelRef, usage: Usage | None) -> Cost | None:
        """Say that the cost is not known."""
        return None
