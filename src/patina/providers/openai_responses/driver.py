"""The driver of OpenAI's Responses API, at OpenAI, Azure OpenAI and whoever else speaks it."""

from typing import Final
from urllib.parse import quote

from msgspec import Struct

from patina.model.chat import ChatRequest, ModelInfo
from patina.ports.provider import Driver
from patina.providers.converse import Outgoing
from patina.providers.driver import HttpDriver
from patina.providers.kinds import DriverSetup
from patina.providers.openai_responses.refusals import learn, refuses_reasoning
from patina.providers.openai_responses.request import (
    MOST_OUTPUT,
    UNLIMITED,
    Limits,
    bounded,
    encode_body,
    reasoning_ids,
)
from patina.providers.openai_responses.stream import ResponsesReader

# 404: reasoning that is looked up by its id; 500: what llama.cpp answers to items it cannot read.
_STATUSES: Final = frozenset({400, 404, 422, 500})


class Routes(Struct, frozen=True):
    """Where the calls are: below `base_url`, each with `query`."""

    base_url: str
    query: str = ""

    @property
    def responses(self) -> str:
        """The URL that answers are asked of; the model stands in the body."""
        return f"{self.base_url}/responses{self.query}"

    @property
    def models(self) -> str:
        """The URL of the list of models."""
        return f"{self.base_url}/models{self.query}"


def azure_routes(resource: str, api_version: str) -> Routes:
    """Return the routes of an Azure OpenAI resource: its v1 API, which has the OpenAI paths.

    That API takes no version with a date ("API version lifecycle" in the Azure documentation), so
    that one which was set for the older paths stays away; "preview" is sent.
    """
    dated = api_version[:1].isdigit()
    query = f"?api-version={quote(api_version, safe='')}" if api_version and not dated else ""
    return Routes(f"{resource}/openai/v1", query)


def make(setup: DriverSetup) -> Driver:
    """Return the driver of an endpoint."""
    settings, base_url = setup.settings, setup.endpoint.base_url
    if settings.kind == "azure_openai":
        return ResponsesDriver(setup, azure_routes(base_url, settings.api_version))
    return ResponsesDriver(setup, Routes(base_url.removesuffix("/responses")))


class ResponsesDriver(HttpDriver):
    """Speaks OpenAI Responses. Implements `ports.provider.Driver`."""

    def __init__(self, setup: DriverSetup, routes: Routes) -> None:
        super().__init__(setup)
        self._routes = routes
        self._limits: dict[str, Limits] = {}  # by model
        self._refused: dict[str, set[str]] = {}  # ids of reasoning items, by model

    async def list_models(self) -> tuple[ModelInfo, ...]:
        """Return what the endpoint offers, the configured ones first. Raises `ProviderFault`.

        Azure lists base models, not deployments: that proves the key, and only configured ones
        are returned.
        """
        from patina.providers.openai_chat.listing import models_in  # the same list

        settings, provider = self.setup.settings, self.endpoint.provider
        known = (settings.deployment, *settings.models)
        listed = {name: ModelInfo(provider, name) for name in known if name}
        body = await self.fetch(self._routes.models)
        if settings.kind != "azure_openai":
            try:
                listed |= models_in(provider, body)
            except ValueError:
                raise self.no_list() from None
        return tuple(listed.values())

    def prepare(self, request: ChatRequest) -> Outgoing:
        """Return `request` as it leaves."""
        limits = self._limits.get(request.model, UNLIMITED)
        refused = self._refused.get(request.model, ())
        # A project can be set to dearer services, but money is held for the usual one.
        tier = "default" if self.endpoint.is_openai else ""
        body = encode_body(request, limits, refused, tier=tier)
        return self.outgoing(self._routes.responses, body)

    def most_output(self, request: ChatRequest) -> int:
        """Return the bound as it is sent; where a model refused one, the most that there is."""
        limits = self._limits.get(request.model, UNLIMITED)
        if "max_output_tokens" not in limits.without:
            return bounded(request.max_tokens, limits)
        known = request.info.max_output if request.info is not None else None
        return max(request.max_tokens, known or MOST_OUTPUT)

    def reader(self, request: ChatRequest) -> ResponsesReader:
        """Return a reader for one answer."""
        return ResponsesReader(self.endpoint, self.shown(request.model))

    def adapt(self, request: ChatRequest, status: int, body: bytes) -> bool:
        """Learn from a refusal that names a field, or reasoning of another key or model."""
        if status not in _STATUSES:
            return False
        before = self.prepare(request).body
        if refuses_reasoning(body):
            self._refused.setdefault(request.model, set()).update(reasoning_ids(request.messages))
        elif status in {400, 422}:
            known = self._limits.get(request.model, UNLIMITED)
            self._limits[request.model] = learn(known, body)
        return self.prepare(request).body != before
