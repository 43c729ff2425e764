"""Model servers of this machine, where nothing else is configured."""

from msgspec.structs import replace

from patina.assembly.app import Setup
from patina.model.settings import Source
from patina.providers.catalog import discover_local
from patina.providers.http import HttpClient


async def with_local_providers(setup: Setup) -> Setup:
    """Return `setup` with the model servers that run on this machine, if it has no provider.

    Asking takes at most 0.3 seconds, and none where anything is configured or in the environment.
    """
    settings = setup.configured.settings
    if settings.providers or settings.default_model or setup.drivers:
        return setup
    http = HttpClient()
    try:
        found = await discover_local(http)
    finally:
        await http.aclose()
    providers = {local.app.provider: local.settings for local in found}
    sources = {
        f"providers.{name}": Source("default", "found running on this machine")
        for name in providers
    }
    configured = replace(
        setup.configured,
        settings=replace(settings, providers=providers),
        sources={**setup.configured.sources, **sources},
    )
    return replace(setup, configured=configured)
