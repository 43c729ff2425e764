"""Puts together what settings, an endpoint's list, the list of prices and families say."""

from typing import Final

from patina.model.chat import ModelInfo
from patina.model.money import Tariff
from patina.model.settings import ModelSettings
from patina.providers.catalog.families import UNKNOWN, family_of
from patina.providers.catalog.prices import Known
from patina.providers.catalog.tariffs import LOCAL, SETTINGS, price_of

GENAI_PRICES: Final = "genai-prices"
PATINA: Final = "patina"

_NOTHING: Final = ModelSettings()
_UNKNOWN: Final = Known()


def merged(
    listed: ModelInfo, own: ModelSettings | None, known: Known | None, tariff: Tariff
) -> ModelInfo:
    """Return `listed` with what else is known; the settings `own` go before everything.

    Where an endpoint lists nothing, `listed` has its names alone. `tariff` is what the model costs.
    `source` says where the price came from, else what the rest came from first: "settings",
    "local", "endpoint", "genai-prices" or "patina".
    """
    own, known = own or _NOTHING, known or _UNKNOWN
    price, source = price_of(tariff), listed.source
    if own.price:
        source = SETTINGS
    elif tariff.local:
        source = LOCAL
    elif price is not None and listed.price is None:
        source = GENAI_PRICES
    elif price is None and own is not _NOTHING:
        source = SETTINGS
    elif price is None and not source and known.context_window is not None:
        source = GENAI_PRICES
    images, files, tools, thinking = listed.images, listed.files, listed.tools, listed.thinking
    if images is None or files is None or tools is None or thinking is None:
        family = family_of(listed.model)
        if family is not UNKNOWN:
            images = family.images if images is None else images
            files = family.files if files is None else files
            tools = family.tools if tools is None else tools
            thinking = family.thinking if thinking is None else thinking
            source = source or PATINA
    return ModelInfo(
        listed.provider,
        listed.model,
        own.context_window or listed.context_window or known.context_window,
        own.max_output or listed.max_output,
        listed.title or known.title,
        images if own.images is None else own.images,
        files if own.files is None else own.files,
        tools if own.tools is None else own.tools,
        thinking,
        price,
        source,
    )
