"""The driver of OpenAI, Azure OpenAI and every endpoint that speaks their chat completions."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from patina.model.chat import ChatRequest, ModelInfo, StreamEvent
from patina.model.faults import Failure, ProviderFault
from patina.ports.clock import Clock
from patina.providers import failures
from patina.providers.catalog import model_names
from patina.providers.converse import Outgoing, converse
from patina.providers.endpoint import Endpoint
from patina.providers.http import HttpClient
from patina.providers.openai_chat.request import Dialect, encode_body
from patina.providers.openai_chat.stream import ChatReader
from patina.providers.retry import Retries
from patina.providers.trouble import TransportError

_JSON: Final = ("Content-Type", "application/json")
_MODELS_TIMEOUT: Final = 15.0


class Routes(Protocol):
    """Where an endpoint's calls are."""

    def chat(self, model: str) -> str:
        """Return the URL of chat completions with `model`."""

    def models(self) -> str:
        """Return the URL of the list of models."""


class OpenAIRoutes(msgspec.Struct, frozen=True):
    """Routes below a base URL that ends in its version segment."""

    base_url: str

    def chat(self, model: str) -> str:
        """Return the URL of chat completions; the model stands in the body."""
        del model
        return f"{self.base_url}/chat/completions"

    def models(self) -> str:
        """Return the URL of the list of models."""
        return f"{self.base_url}/models"


class AzureRoutes(msgspec.Struct, frozen=True):
    """Routes of an Azure OpenAI resource, where the deployment stands in the path."""

    base_url: str
    api_version: str

    def chat(self, model: str) -> str:
        """Return the URL of chat completions of the deployment `model`."""
        path = f"/openai/deployments/{quote(model, safe='')}/chat/completions"
        return f"{self.base_url}{path}?api-version={quote(self.api_version, safe='')}"

    def models(self) -> str:
        """Return the URL that lists base models: it proves the key, not a deployment."""
        return f"{self.base_url}/openai/models?api-version={quote(self.api_version, safe='')}"


class ChatDriver:
    """Speaks OpenAI chat completions. Implements `ports.provider.Driver`.

    `known` are models that are offered whatever the endpoint lists; for Azure, whose lists do not
    name deployments, they are the whole answer of `list_models`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        routes: Routes,
        http: HttpClient,
        clock: Clock,
        *,
        known: tuple[str, ...] = (),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._endpoint = endpoint
        self._routes = routes
        self._http = http
        self._clock = clock
        self._known = known
        self._jitter = jitter
        own = endpoint.kind in {"openai", "azure_openai"}
        self.dialect = Dialect("max_completion_tokens" if own else "max_tokens")

    def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Send `request` and yield what comes; see `ports.provider.Driver.stream`."""
        exchange = _ChatExchange(self, request)
        retries = Retries(self._clock, self._jitter)
        return converse(self._http, exchange, retries, self._clock, request.timeout)

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """Return what the endpoint offers, in its order. Raises `ProviderFault`."""
        endpoint, url = self._endpoint, self._routes.models()
        try:
            answer = await self._http.get(url, headers=endpoint.headers(url), limit=_MODELS_TIMEOUT)
        except TransportError as error:
            raise ProviderFault.of(failures.lost(endpoint, "models", error)) from None
        if not 200 <= answer.status < 300:
            raise ProviderFault.of(
                self.refusal("models", answer.status, answer.headers, answer.body)
            )
        names = list(self._known)
        if endpoint.kind != "azure_openai":
            try:
                names += [name for name in model_names(answer.body) if name not in names]
            except ValueError:
                failure = failures.unreadable(endpoint, "no list of models")
                raise ProviderFault.of(failure) from None
        return tuple(ModelInfo(endpoint.provider, name) for name in names)

    def prepare(self, request: ChatRequest) -> Outgoing:
        """Return `request` as it leaves."""
        url = self._routes.chat(request.model)
        headers = [_JSON, *self._endpoint.headers(url)]
        return Outgoing(url, headers, encode_body(request, self.dialect))

    def reader(self, model: str) -> ChatReader:
        """Return a reader for one answer of `model`."""
        return ChatReader(self._endpoint, self._endpoint.words(model))

    def refusal(self, model: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """Return what an error status means."""
        shown = self._endpoint.words(model)
        return failures.refused(self._endpoint, shown, status, headers, body, self._clock.now())

    def lost(self, model: str, error: TransportError) -> Failure:
        """Return what a transport error means."""
        return failures.lost(self._endpoint, self._endpoint.words(model), error)

    def adapt(self, status: int, body: bytes) -> bool:
        """Learn from a refusal that names a field which this endpoint does not know.

        Whether something was learnt that was not known before; it holds for later requests too.
        """
        if status not in {400, 422}:
            return False
        text, old = body.decode(errors="replace"), self.dialect
        if old.usage and "stream_options" in text:
            self.dialect = Dialect(old.max_tokens, usage=False)
        elif old.max_tokens == "max_tokens" and "max_completion_tokens" in text:
            self.dialect = Dialect("max_completion_tokens", usage=old.usage)
        return self.dialect != old


class _ChatExchange:
    """One request of a `ChatDriver`. Implements `converse.Exchange`."""

    def __init__(self, driver: ChatDriver, request: ChatRequest) -> None:
        self._driver = driver
        self._request = request

    def outgoing(self) -> Outgoing:
        return self._driver.prepare(self._request)

    def reader(self) -> ChatReader:
        return self._driver.reader(self._request.model)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure | None:
        if self._driver.adapt(status, body):
            return None
        return self._driver.refusal(self._request.model, status, headers, body)

    def lost(self, error: TransportError) -> Failure:
        return self._driver.lost(self._request.model, error)
