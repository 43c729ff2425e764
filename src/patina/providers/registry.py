"""All providers of the settings: names to models, models to drivers, keys to endpoints."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from msgspec import structs

from patina.model.chat import ModelRef
from patina.model.faults import ProviderFault, UsageFault
from patina.model.settings import ProviderSettings, Settings
from patina.ports.clock import Clock
from patina.ports.keys import Keys
from patina.ports.provider import Driver
from patina.providers.address import parse_url
from patina.providers.catalog import (
    AZURE_API_VERSION,
    BRANDS,
    DEMO,
    Brand,
    azure_base,
    ollama_base,
    openai_base,
    parse_model,
)
from patina.providers.endpoint import Endpoint, KeyHeader
from patina.providers.failures import key_hint
from patina.providers.http import HttpClient
from patina.providers.text import words

_SPOKEN: Final = ", ".join(brand.kind for brand in BRANDS.values() if brand.spoken)


class ProviderRegistry:
    """Implements `ports.provider.Providers`.

    `drivers` are ready-made ones by provider name, before all others: fakes of tests. `keys` is
    asked for the name in `secret:NAME` or `env:NAME`; where a provider names neither a key nor an
    address of its own, for its brand's environment variable, then for its own name. With `offline`
    only the demo and local providers are used.
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
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._http = http
        self._clock = clock
        self._given = dict(drivers or {})
        self._offline = offline
        self._made: dict[str, tuple[Endpoint, Driver]] = {}

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
        model = ref.model or self._default_model(settings)
        if not model:
            raise UsageFault(
                f"The provider {words(provider)} has no default model.",
                hint=f"Name one: -m {words(provider)}/MODEL",
            )
        return ModelRef(provider, model, ref.effort)

    def driver(self, provider: str) -> Driver:
        """Return the driver of `provider`; see `ports.provider.Providers.driver`.

        Raises `UsageFault` for an unknown provider, and `ProviderFault` for one whose protocol
        this version does not speak, or whose endpoint is missing or malformed.
        """
        if provider in self._given:
            return self._given[provider]
        if provider == DEMO:
            from patina.providers.demo import DemoDriver

            return DemoDriver()
        endpoint = self.endpoint(provider)
        made = self._made.get(provider)
        if made is None or made[0] != endpoint:  # a key may have been replaced
            made = (endpoint, self._make(provider, endpoint))
            self._made[provider] = made
        return made[1]

    def available(self) -> tuple[str, ...]:
        """Return the providers that can be used as they are, the demo last."""
        names = dict.fromkeys((*self._given, *self._settings.providers))
        usable = tuple(name for name in names if name != DEMO and self._usable(name))
        return (*usable, DEMO)

    def endpoint(self, provider: str) -> Endpoint:
        """Return where `provider` is reached and its key. Raises as `driver` does."""
        settings = self._configured(provider)
        brand = BRANDS[settings.kind]
        if not brand.spoken:
            raise ProviderFault(
                f"This version of Patina does not speak the protocol of {brand.title} yet.",
                hint=f"Kinds that work: {_SPOKEN}; many services also offer an OpenAI-compatible"
                " address, which the kind openai_compatible can use.",
                kind="bad_request",
            )
        local = settings.local or settings.kind == "ollama"
        if self._offline and not local:
            raise ProviderFault(
                f"Patina is offline, and {words(provider)} needs the network.",
                hint=f"Leave out --offline, or use a local provider or -m {DEMO}.",
                kind="network",
            )
        bare = Endpoint(
            provider=provider,
            label=_label(provider, brand),
            kind=settings.kind,
            base_url=_base_url(provider, settings, brand),
            local=local,
            variable=_variable(provider, settings, brand),
            secret=_after("secret:", settings.api_key) or provider,
        )
        return self._with_key(bare, settings, brand)

    def _with_key(self, bare: Endpoint, settings: ProviderSettings, brand: Brand) -> Endpoint:
        key = self._find_key(bare, settings, brand)
        if not key:
            # Servers that are spoken to in OpenAI's protocol may well want none.
            elsewhere = brand.kind == "openai" and settings.base_url and bare.provider != "openai"
            if settings.api_key or (brand.needs_key and not settings.local and not elsewhere):
                where = bare.variable or f"the secret {bare.secret}"
                raise ProviderFault(
                    f"There is no key for {bare.label}: {where} is not set or empty.",
                    hint=key_hint(bare),
                    kind="auth",
                )
            return bare
        if not key.isascii() or not key.isprintable():
            raise ProviderFault(
                f"The key for {bare.label} has characters that no key has.",
                hint=key_hint(bare),
                kind="auth",
            )
        azure = settings.kind == "azure_openai"
        auth = KeyHeader("api-key", key) if azure else KeyHeader("Authorization", key, "Bearer")
        return structs.replace(bare, auth=auth)

    def _find_key(self, bare: Endpoint, settings: ProviderSettings, brand: Brand) -> str:
        scheme, _, name = settings.api_key.partition(":")
        if scheme == "withheld":  # set by config: the key of one place may not go to another
            raise ProviderFault(
                f"The key for {bare.label} is withheld: {name}.",
                hint="Put the key into that file, or the address into config.toml.",
                kind="auth",
            )
        names = [name or scheme] if scheme else []
        if not names and not settings.base_url:
            names = [brand.variable, bare.provider]
        found = (self._keys.get(name) for name in names if name)
        return next((key.strip() for key in found if key and key.strip()), "")

    def _make(self, provider: str, endpoint: Endpoint) -> Driver:
        from patina.providers.openai_chat.driver import AzureRoutes, ChatDriver, OpenAIRoutes

        settings = self._configured(provider)
        known = tuple(dict.fromkeys(n for n in (settings.deployment, *settings.models) if n))
        if settings.kind == "azure_openai":
            version = settings.api_version or AZURE_API_VERSION
            azure = AzureRoutes(endpoint.base_url, version)
            return ChatDriver(endpoint, azure, self._http, self._clock, known=known)
        routes = OpenAIRoutes(endpoint.base_url)
        return ChatDriver(endpoint, routes, self._http, self._clock, known=tuple(settings.models))

    def _configured(self, provider: str) -> ProviderSettings:
        settings = self._settings.providers.get(provider)
        if settings is None and provider in BRANDS:
            settings = ProviderSettings(kind=BRANDS[provider].kind)
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
            if not self._offline or self._usable(ref.provider):
                return ref
        for name in self.available():
            settings = self._settings.providers.get(name)
            if name in self._given or (settings and self._default_model(settings)):
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

    def _usable(self, provider: str) -> bool:
        if provider in self._given or provider == DEMO:
            return True
        try:
            self.endpoint(provider)
        except (ProviderFault, UsageFault):
            return False
        return True

    def _default_model(self, settings: ProviderSettings) -> str:
        first = next(iter(settings.models), "")
        brand = BRANDS[settings.kind]
        return settings.default_model or settings.deployment or first or brand.default_model


def _label(provider: str, brand: Brand) -> str:
    if brand.kind == "openai_compatible":
        return words(provider)
    return brand.title if provider == brand.kind else f"{brand.title} ({words(provider)})"


def _variable(provider: str, settings: ProviderSettings, brand: Brand) -> str:
    """The environment variable that the key may stand in, for the hint."""
    named = _after("env:", settings.api_key)
    return named or (brand.variable if provider == brand.kind else "")


def _after(scheme: str, reference: str) -> str:
    return reference[len(scheme) :] if reference.startswith(scheme) else ""


def _base_url(provider: str, settings: ProviderSettings, brand: Brand) -> str:
    url = settings.base_url or brand.base_url
    if not url:
        variable = ", or AZURE_OPENAI_ENDPOINT" if brand.kind == "azure_openai" else ""
        raise ProviderFault(
            f"The provider {words(provider)} has no address.",
            hint=f"Set base_url of providers.{provider}{variable}.",
            kind="config",
        )
    try:
        if brand.kind == "ollama":
            url = ollama_base(url)
        url = azure_base(url) if brand.kind == "azure_openai" else openai_base(url)
        parse_url(url)
    except ValueError as error:
        raise ProviderFault(
            f"The base_url of the provider {words(provider)} cannot be used: {error}.",
            hint=f"Set it: patina config set providers.{provider}.base_url https://…",
            kind="config",
        ) from None
    return url
