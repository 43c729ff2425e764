"""The catalog: what is known of any model of any provider, without asking anyone."""

import logging
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from msgspec import Struct

from patina.model.chat import ModelInfo
from patina.model.faults import Failure, Fault, ProviderFault
from patina.model.money import Tariff
from patina.model.settings import ModelSettings, ProviderSettings
from patina.ports.clock import Clock
from patina.providers.catalog.lists import Lists
from patina.providers.catalog.merge import GENAI_PRICES, merged
from patina.providers.catalog.prices import Known, Origin, Prices
from patina.providers.catalog.tariffs import tariff_of
from patina.providers.text import words

FOLDER: Final = "models"
INFO_SECONDS: Final = 2.0
TARIFF_SECONDS: Final = 30.0
LIST_SECONDS: Final = 10.0
FRESH: Final = timedelta(hours=24)

# Names in the list of prices that are no models to talk with, or only the beginning of a name.
_NOT_TALKED_WITH: Final = re.compile(
    r"(?:^|[-/_.])(?:embed\w*|rerank\w*|moderation|whisper\w*|transcribe|translate|tts|realtime"
    r"|audio|live|image|ft)(?:[-:.]|$)|-$"
)

Ask = Callable[[], Awaitable[tuple[ModelInfo, ...]]]
Fetch = Callable[[], Awaitable[bytes]]
_NOTHING: Final = ModelSettings()

# What goes by itself: meanwhile an older list will do.
_PASSING: Final = frozenset({"network", "timeout", "cut", "server", "overloaded", "rate_limit"})

# Tables of prices: whose models an endpoint has, by its host, else by its kind.
_BY_HOST: Final = {
    "api.anthropic.com": "anthropic",
    "api.cerebras.ai": "cerebras",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.fireworks.ai": "fireworks",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.moonshot.ai": "moonshotai",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.together.xyz": "together",
    "api.x.ai": "x-ai",
    "generativelanguage.googleapis.com": "google",
    "openrouter.ai": "openrouter",
}
_BY_KIND: Final = {
    "anthropic": "anthropic",
    "azure_openai": "azure",
    "cohere": "cohere",
    "google": "google",
    "openai": "openai",
}


class Place(Struct, frozen=True):
    """A provider as far as the catalog is concerned. Without a `base_url` no list is kept."""

    provider: str
    settings: ProviderSettings
    base_url: str = ""

    @property
    def local(self) -> bool:
        """Whether it costs nothing: by its kind or setting, never by its address."""
        return self.settings.local or self.settings.kind == "ollama"

    def table(self, model: str) -> tuple[str, str]:
        """Return the table of prices of a model and its name in it, ("", "") if there is none."""
        if self.local:
            return "", ""
        host = urlsplit(self.base_url).hostname or ""
        if host == "router.huggingface.co":
            # Who runs the model, and so its price, is known where the name ends in it.
            name, _, router = model.rpartition(":")
            return (f"huggingface_{router}", name) if name else ("", "")
        table = _BY_HOST.get(host) or _BY_KIND.get(self.settings.kind, "")
        return (table, model) if table else ("", "")


class Listing(Struct, frozen=True):
    """The models of a provider. `fetched` is when its endpoint listed them, None where nobody had
    to be asked or nobody ever answered. `failure` says why it could not be asked now.
    """

    models: tuple[ModelInfo, ...] = ()
    fetched: datetime | None = None
    failure: Failure | None = None


class Catalog:
    """What settings, kept lists, the list of prices and families of models say of a model.

    Files are below `cache`; None keeps nothing.
    """

    def __init__(self, cache: Path | None, clock: Clock) -> None:
        folder = cache / FOLDER if cache is not None else None
        self._clock = clock
        self._lists = Lists(folder)
        self._prices = Prices(folder)

    async def info(self, place: Place, model: str) -> ModelInfo:
        """Return what is known of a model. No endpoint is asked.

        Prices are looked up, two seconds at most.
        """
        listed, fetched = self._listed(place, model)
        await self._prepare(place, model)
        return self._merged(place, listed, fetched)

    async def tariff(self, place: Place, model: str) -> Tariff:
        """Return what a model costs now, as far as `info` knows. No endpoint is asked."""
        listed, fetched = self._listed(place, model)
        # Money waits for the list, which a slow machine may have to make first: a price that is
        # not looked up in time would be one that nobody knows.
        await self._prepare(place, model, TARIFF_SECONDS)
        return self._tariff(place, listed, self._known(place, model), fetched)

    async def origin(self) -> Origin:
        """Return where the list of prices comes from."""
        await self._prices.prepare(self._clock.now())
        return self._prices.origin

    async def refresh_prices(self, fetch: Fetch) -> Origin:
        """Have the list that `fetch` downloads in place of the one that is there.

        Raises `ProviderFault` where it cannot be had, is no such list or cannot be kept; then
        everything stays as it was.
        """
        from patina.providers.catalog.published import read_published

        await self._prices.prepare(self._clock.now())
        body = await fetch()
        try:
            tables = await anyio.to_thread.run_sync(read_published, body)
        except ValueError as error:
            raise ProviderFault(
                f"What came is no list of prices that can be used: {error}.",
                hint="The prices stay as they were. Try again later.",
                kind="server",
            ) from None
        if not await self._prices.replace(tables, GENAI_PRICES, self._clock.now()[:10]):
            raise ProviderFault(
                "The new list of prices cannot be written into the cache.",
                hint="See that its folder can be written: patina config path",
                kind="server",
            )
        return self._prices.origin

    async def _prepare(self, place: Place, model: str, seconds: float = INFO_SECONDS) -> None:
        if place.table(model)[0]:
            with anyio.move_on_after(seconds):
                await self._prices.prepare(self._clock.now())

    def _listed(self, place: Place, model: str) -> tuple[ModelInfo, str]:
        """Return a model as its endpoint lists it, and the day when it was asked."""
        listed = self._lists.find(place.provider, place.base_url, model)
        return listed or (ModelInfo(place.provider, model), "")

    async def listing(self, place: Place, ask: Ask, *, refresh: bool = False) -> Listing:
        """Return the models of a provider with what is known of each.

        `ask` asks its endpoint; it is called if the last list is older than a day, the provider is
        local, or `refresh` says so. Where the endpoint cannot be reached now its last list is
        returned, with the failure; where there is none, the models that the list of prices names.
        Never raises but for cancellation.
        """
        await self._prices.prepare(self._clock.now())
        kept = self._lists.load(place.provider, place.base_url)
        age = self._now() - kept.fetched if kept else FRESH
        if kept and timedelta() <= age < FRESH and not (refresh or place.local):
            return Listing(self._completed(place, kept.models, kept.fetched), kept.fetched)
        try:
            models = await _within(LIST_SECONDS, place.provider, ask)
        except Fault as fault:
            failure = fault.failure
            if failure.kind not in _PASSING:
                return Listing(failure=failure)
            if kept is None:
                return Listing(self._completed(place, self._named(place), None), None, failure)
            models = self._completed(place, kept.models, kept.fetched)
            return Listing(models, kept.fetched, failure)
        fetched = self._now()
        if place.base_url:
            self._lists.save(place.provider, place.base_url, models, fetched)
        return Listing(self._completed(place, models, fetched), fetched)

    def _named(self, place: Place) -> tuple[ModelInfo, ...]:
        """Return the models that the list of prices names: better than none without a network."""
        table, _ = place.table("")
        return tuple(
            ModelInfo(place.provider, name)
            for name in self._prices.names(table)
            if not _NOT_TALKED_WITH.search(name) and not _elsewhere(table, name)
        )

    def _completed(
        self, place: Place, models: tuple[ModelInfo, ...], fetched: datetime | None
    ) -> tuple[ModelInfo, ...]:
        day = fetched.date().isoformat() if fetched else ""
        return tuple(self._merged(place, listed, day) for listed in models)

    def _known(self, place: Place, model: str) -> Known | None:
        table, name = place.table(model)
        return self._prices.find(table, name, self._clock.now()) if table else None

    def _merged(self, place: Place, listed: ModelInfo, fetched: str) -> ModelInfo:
        """Return `listed` with what else is known."""
        known = self._known(place, listed.model)
        tariff = self._tariff(place, listed, known, fetched)
        return merged(listed, place.settings.models.get(listed.model), known, tariff)

    def _tariff(self, place: Place, listed: ModelInfo, known: Known | None, fetched: str) -> Tariff:
        return tariff_of(
            own=place.settings.models.get(listed.model, _NOTHING).price,
            listed=listed.price,
            known=known.tariff if known is not None else None,
            local=place.local,
            provider=place.provider,
            fetched=fetched,
            table=place.table(listed.model)[0],
        )

    def _now(self) -> datetime:
        return datetime.fromisoformat(self._clock.now())


def _elsewhere(table: str, name: str) -> bool:
    """Whether a name of a table is only known where the maker's models are resold."""
    if table == "google":
        return name.startswith("claude-")  # on Vertex, which is another endpoint
    return ":" in name and table != "openrouter"


async def _within(seconds: float, provider: str, ask: Ask) -> tuple[ModelInfo, ...]:
    with anyio.move_on_after(seconds):
        try:
            return await ask()
        except Fault:
            raise
        except Exception as error:  # a named boundary: drivers of other packages may do anything
            logging.getLogger(__name__).exception("The list of %s", provider)
            raise ProviderFault(
                f"The models of {words(provider)} could not be listed ({type(error).__name__}).",
                hint="The log has the details. Its driver has a defect.",
                kind="server",
            ) from error
    raise ProviderFault(
        f"{words(provider)} did not list its models within {seconds:g} s.", kind="timeout"
    )
