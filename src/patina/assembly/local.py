"""Model servers of this machine, where nothing else is configured or one is asked for by name."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from patina.assembly.app import Setup
from patina.model.faults import ConfigFault
from patina.model.settings import ProviderSettings, Source
from patina.providers.brands import BRANDS
from patina.providers.discovery import LOCAL_APPS, discover_local
from patina.providers.endpoints import Endpoints, brand_settings
from patina.providers.http import HttpClient

FOUND: Final = "found running on this machine"
_NAMED: Final = "asked for by name, at its usual address"


async def with_local_providers(
    setup: Setup, model: str = "", *, all_there_are: bool = False
) -> Setup:
    """Return `setup` with the model servers that run on this machine, if it has no provider.

    Asking takes at most 0.6 seconds, and none where anything is configured or in the environment,
    unless `all_there_are` are wanted. `model` is a name that was asked for: where it is one of
    theirs, such as `lmstudio/x`, that server is there whatever else is configured, and whether or
    not it answers. Named alone, it is asked which model it has.
    """
    settings = setup.configured.settings
    found: dict[str, ProviderSettings] = {}
    configured = settings.providers or settings.default_model or setup.drivers
    if all_there_are or not (configured or _has_key(setup)):
        found = _others(await _running(), settings.providers)
    setup = _with(setup, found, FOUND)
    named, slash, _ = model.partition("/")
    if named in setup.configured.settings.providers or named in setup.drivers:
        return setup
    if not slash and any(app.provider == named for app in LOCAL_APPS):
        running = await _running()
        if named in running:
            return _with(setup, {named: running[named]}, FOUND)
    usual = {
        app.provider: ProviderSettings(kind=app.kind, base_url=app.base_url, local=True)
        for app in LOCAL_APPS
        if app.provider == named
    }
    return _with(setup, usual, _NAMED)


def _has_key(setup: Setup) -> bool:
    """Whether there is a key of a provider that is known without configuration.

    Kept keys that cannot be opened are some, too.
    """
    endpoints = Endpoints(setup.keys)
    brands = (brand for brand in BRANDS.values() if brand.variable)
    try:
        return any(endpoints.reference(brand.name, brand_settings(brand)) for brand in brands)
    except ConfigFault:
        return True


def _others(
    found: Mapping[str, ProviderSettings], configured: Mapping[str, ProviderSettings]
) -> dict[str, ProviderSettings]:
    """Return what was found and is not configured, under its own name or another."""
    places = {one.base_url.rstrip("/").removesuffix("/v1") for one in configured.values()}
    return {
        name: one
        for name, one in found.items()
        if name not in configured and one.base_url.removesuffix("/v1") not in places
    }


async def _running() -> dict[str, ProviderSettings]:
    http = HttpClient()
    try:
        found = await discover_local(http)
    finally:
        await http.aclose()
    return {local.app.provider: local.settings for local in found}


def _with(setup: Setup, providers: Mapping[str, ProviderSettings], how: str) -> Setup:
    if not providers:
        return setup
    known = setup.configured
    sources = {f"providers.{name}": Source("default", how) for name in providers}
    configured = replace(
        known,
        settings=replace(known.settings, providers={**known.settings.providers, **providers}),
        sources={**known.sources, **sources},
    )
    return replace(setup, configured=configured)
