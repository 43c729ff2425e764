"""The models that a server's wish may mean: those of all providers that can be used."""

from typing import Final

import anyio

from patina.model.chat import ModelInfo
from patina.providers.registry import ProviderRegistry

LIST_SECONDS: Final = 2.0


async def usable_models(providers: ProviderRegistry) -> tuple[ModelInfo, ...]:
    """Return the models of the usable providers, in their order, with what is known of each.

    Kept lists are read where they are new enough; a provider that does not answer in time is left
    out. Takes `LIST_SECONDS` at most.
    """
    found: dict[str, tuple[ModelInfo, ...]] = {}

    async def list_of(provider: str) -> None:
        found[provider] = (await providers.models(provider)).models

    names = providers.available()
    with anyio.move_on_after(LIST_SECONDS):
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(list_of, name)
    return tuple(model for name in names for model in found.get(name, ()))
