"""Models of providers."""

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from patina.model.chat import ChatRequest, ModelInfo, ModelRef, StreamEvent


class Driver(Protocol):
    """One configured provider, spoken to in its wire protocol."""

    def stream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """Send `request` and yield what comes, as it comes.

        Never raises but for cancellation, whatever the network or the endpoint does: it ends in
        exactly one `Finished` or `Failed`. `Failed(cut)` is a stream without an end of its own.
        `Retrying` comes only before the first delta. Cancelling, and `aclose`, close the
        connection at once.
        """

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """Return what the endpoint offers. Raises `ProviderFault`."""


@runtime_checkable
class SaysMost(Protocol):
    """A driver that may let a request be answered with more than its `max_tokens`."""

    def most_output(self, request: ChatRequest) -> int:
        """Return the tokens that an answer can have, reasoning included: they are held for it."""


class Providers(Protocol):
    """All configured providers."""

    def resolve(self, name: str) -> ModelRef:
        """Return the model meant by `provider/model[:effort]`, or the default for "".

        Raises `UsageFault` for an unknown provider, `ProviderFault` where nothing is configured.
        """

    def driver(self, provider: str) -> Driver:
        """Return the driver of `provider`. Raises `ProviderFault` (auth) where a key is missing."""

    async def info(self, ref: ModelRef) -> ModelInfo:
        """Return what is known of the model, from settings, lists and the catalog.

        Takes two seconds at most and never raises; what is not known stays None.
        """
