"""All providers of the settings: names to models, models to drivers."""

import random
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from patina.model.chat import ModelInfo, ModelRef
from patina.model.faults import ConfigFault, ProviderFault, UsageFault
from patina.model.settings import ProviderSettings, Settings
from patina.ports.clock import Clock
from patina.ports.keys import Keys, Origins
from patina.ports.provider import Driver
from patina.providers.brands import BRANDS, DEMO, brand_of
from patina.providers.endpoint import Endpoint
from patina.providers.endpoints import Endpoints, base_url_of, brand_in, brand_settings, kind_of
from patina.providers.http import HttpClient
from patina.providers.kinds import DriverSetup, kind_named
from patina.providers.naming import parse_model
from patina.providers.queue import ProviderState, Queue
from patina.providers.text import words

if TYPE_CHECKING:
    from patina.model.money import Tariff
    from patina.providers.catalog.catalog import Catalog, Listing, Place
    from patina.providers.catalog.prices import Origin


class ProviderRegistry:
    """Implements `ports.provider.Providers` and `ports.tariffs.Tariffs`.

    `drivers` are ready-made ones by provider name, before all others: fakes of tests. With
    `offline` only the demo and local providers are used. `changed` is told the state of a provider
    whenever it becomes another; `jitter` returns a number from 0 to 1. `origins` bind keys to the
    places they were given for; without them no key is bound. `cache` is the folder of what is
    kept about models; without it nothing is. `prices_url` is where a list of prices is published,
    "" for that of genai-prices.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        http: HttpClient,
        clock: Clock,
        *,
        drivers: Mapping[str, Driver] | None = None,
        offline: bool = False,
        changed: Callable[[str, ProviderState], None] | None = None,
        jitter: Callable[[], float] = random.random,
        origins: Origins | None = None,
        cache: Path | None = None,
        prices_url: str = "",
    ) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._given = dict(drivers or {})
        self._offline = offline
        self._changed = changed
        self._jitter = jitter
        self._endpoints = Endpoints(keys, origins)
        self._cache = cache
        self._prices_url = prices_url
        self._made_catalog: Catalog | None = None
        self._made: dict[str, tuple[Endpoint, Driver]] = {}
        self._queues: dict[str, Queue] = {}

    def resolve(self, name: str) -> ModelRef:
        """Return the model meant by `name`; see `ports.provider.Providers.resolve`.

        A provider's name alone means its default model.
        """
        if not name:
            return self._default()
        provider = name.partition("/")[0]
        if provider in self._given or provider == DEMO:
            ref = parse_model(name)
            if provider == DEMO and ref.model not in {"", DEMO}:
                raise UsageFault(
                    f"The provider {DEMO} has no model {words(ref.model)}.", hint=f"Use {DEMO}."
                )
            return ModelRef(provider, ref.model or provider, ref.effort)
        settings = self._configured(provider)
        ref = parse_model(name, settings.models)
        model = ref.model or self._default_model(provider, settings)
        if not model:
            shown = words(provider)
            start = "Start it if it does not run. " if settings.local else ""
            raise UsageFault(
                f"The provider {shown} has no default model.",
                hint=f"{start}Name a model, as {shown}/MODEL. To list them: patina models {shown}",
            )
        return ModelRef(provider, model, ref.effort)

    def driver(self, provider: str) -> Driver:
        """Return the driver of `provider`; see `ports.provider.Providers.driver`.

        Raises `UsageFault` for an unknown provider, and `ProviderFault` for one whose endpoint is
        missing or malformed, or whose kind nothing here speaks.
        """
        if provider in self._given:
            return self._given[provider]
        if provider == DEMO:
            from patina.providers.demo import DemoDriver

            return DemoDriver()
        endpoint = self.endpoint(provider)
        made = self._made.get(provider)
        if made is None or made[0] != endpoint:  # a key may have been replaced
            self._endpoints.claim(endpoint, self._configured(provider))
            made = (endpoint, self._make(provider, endpoint))
            self._made[provider] = made
        return made[1]

    def available(self) -> tuple[str, ...]:
        """Return the providers that can be used as they are, the demo last.

        Those that only have a key in the environment come after the configured ones.
        """
        return self._usable_ones(offline=self._offline)

    def listable(self) -> tuple[str, ...]:
        """Return the providers that `models` has something to say of, offline too."""
        return self._usable_ones(offline=False)

    def endpoint(self, provider: str) -> Endpoint:
        """Return where `provider` is reached and its key. Raises as `driver` does."""
        return self._endpoint(provider, offline=self._offline)

    def _endpoint(self, provider: str, *, offline: bool) -> Endpoint:
        settings = self._configured(provider)
        local = settings.local or settings.kind == "ollama"
        if offline and not local:
            raise ProviderFault(
                f"Patina is offline, and {words(provider)} needs the network.",
                hint=f"Leave out --offline, or use a local provider or -m {DEMO}.",
                kind="network",
            )
        return self._endpoints.find(provider, settings)

    async def info(self, ref: ModelRef) -> ModelInfo:
        """Return what is known of a model; see `ports.provider.Providers.info`."""
        return await self._catalog.info(self._place(ref.provider), ref.model)

    async def tariff(self, model: ModelRef) -> "Tariff":
        """Return what a model costs now; see `ports.tariffs.Tariffs.tariff`."""
        return await self._catalog.tariff(self._place(model.provider), model.model)

    async def prices(self, *, refresh: bool = False) -> "Origin":
        """Return where the list of prices comes from, with `refresh` after a download of it.

        Raises `ProviderFault` where that cannot be had; then the list stays as it was.
        """
        if not refresh:
            return await self._catalog.origin()
        if self._offline:
            raise ProviderFault(
                "Patina is offline, and new prices need the network.",
                hint="Leave out --offline.",
                kind="network",
            )
        from patina.providers.catalog.download import PUBLISHED, download

        url = self._prices_url or PUBLISHED
        return await self._catalog.refresh_prices(lambda: download(self._http, url))

    async def models(self, provider: str, *, refresh: bool = False) -> "Listing":
        """Return the models of a provider; see `catalog.Catalog.listing`."""

        async def ask() -> tuple[ModelInfo, ...]:
            return await self.driver(provider).list_models()

        return await self._catalog.listing(self._place(provider), ask, refresh=refresh)

    @property
    def _catalog(self) -> "Catalog":
        if self._made_catalog is None:
            # Most questions want nothing of it.
            from patina.providers.catalog.catalog import Catalog

            self._made_catalog = Catalog(self._cache, self._clock)
        return self._made_catalog

    def _place(self, provider: str) -> "Place":
        """Return a provider for the catalog, as far as it is known."""
        from patina.providers.catalog.catalog import Place

        if provider == DEMO:
            return Place(DEMO, ProviderSettings(kind="openai_compatible", local=True))
        try:
            settings = self._configured(provider)
        except UsageFault:
            settings = ProviderSettings(kind="openai_compatible")
        if provider in self._given:
            return Place(provider, settings)
        try:
            kind = kind_of(provider, settings)
            brand = brand_in(provider, settings, kind)
            return Place(provider, settings, base_url_of(provider, settings, brand, kind))
        except ProviderFault:
            return Place(provider, settings)

    def _usable_ones(self, *, offline: bool) -> tuple[str, ...]:
        brands = (name for name, brand in BRANDS.items() if brand.variable)
        names = dict.fromkeys((*self._given, *self._settings.providers, *brands))
        return (*(n for n in names if n != DEMO and self._usable(n, offline=offline)), DEMO)

    def _make(self, provider: str, endpoint: Endpoint) -> Driver:
        settings = self._configured(provider)
        setup = DriverSetup(
            endpoint=endpoint,
            settings=settings,
            http=self._http,
            clock=self._clock,
            queue=self._queue(provider, settings),
            jitter=self._jitter,
        )
        return kind_of(provider, settings).make(setup)

    def _queue(self, provider: str, settings: ProviderSettings) -> Queue:
        """One for all drivers of the provider: a new key is no new line."""

        def changed(state: ProviderState) -> None:
            if self._changed is not None:
                self._changed(provider, state)

        if provider not in self._queues:
            self._queues[provider] = Queue(self._clock, settings.concurrency, changed)
        return self._queues[provider]

    def _configured(self, provider: str) -> ProviderSettings:
        settings = self._settings.providers.get(provider)
        if settings is None and provider in BRANDS:
            settings = brand_settings(BRANDS[provider])
        if settings is None:
            known = sorted({*self._settings.providers, *BRANDS, *self._given, DEMO})
            close = get_close_matches(provider, known, 3, 0.5)
            raise UsageFault(
                f"There is no provider named {words(provider)}.",
                hint=f"Did you mean {' or '.join(close)}?"
                if close
                else f"Known are {', '.join(known)}. A model is written provider/model.",
            )
        if not settings.enabled:
            raise UsageFault(
                f"The provider {words(provider)} is switched off.",
                hint=f"Switch it on: patina config set providers.{provider}.enabled true",
            )
        return settings

    def _default(self) -> ModelRef:
        if self._settings.default_model:
            ref = self.resolve(self._settings.default_model)
            if not self._offline or self._usable(ref.provider, offline=True):
                return ref
        for name in self.available():
            if name in self._given:
                return self.resolve(name)
            if name != DEMO and self._default_model(name, self._configured(name)):
                return self.resolve(name)
        if self._offline:
            return ModelRef(DEMO, DEMO)
        waiting = [n for n, s in self._settings.providers.items() if s.enabled]
        if waiting:
            self.endpoint(waiting[0])  # its own fault says best what is missing
            return self.resolve(waiting[0])
        raise ProviderFault(
            "No model provider is configured.",
            hint="Set OPENAI_API_KEY or another provider's key, start Ollama or LM Studio, or try"
            f" the built-in stand-in: -m {DEMO}",
            kind="auth",
        )

    def _usable(self, provider: str, *, offline: bool) -> bool:
        if provider in self._given or provider == DEMO:
            return True
        try:
            self._endpoint(provider, offline=offline)
        except (ConfigFault, ProviderFault, UsageFault):  # the first: kept keys that are locked
            return False
        return True

    def _default_model(self, provider: str, settings: ProviderSettings) -> str:
        first = next(iter(settings.models), "")
        kind = kind_named(settings.kind)
        brand = brand_in(provider, settings, kind) if kind else brand_of(provider, settings.kind)
        return settings.default_model or settings.deployment or first or brand.default_model
