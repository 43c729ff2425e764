"""Which model answers a server's prompt: what the server would like, of what the user has."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from patina.engine.estimate import text_tokens
from patina.model.chat import ModelInfo, ModelRef
from patina.model.parts import Image, text_of
from patina.model.questions import Sampling

HINTS: Final = 10  # of a prompt, that are looked at
_VERSION: Final = re.compile(r"(?<!\d)(\d{1,2})(?:[.-](\d{1,2}))?(?![\d.]*\d|b)", re.IGNORECASE)


def preferred_model(
    prompt: Sampling, models: Sequence[ModelInfo], own: ModelRef, *, shown: bool
) -> ModelRef:
    """Return the model that fits the first hint which any fits, else `own`, without an effort.

    A hint fits a model whose name it is a part of, whatever the case (MCP 2025-11-25, sampling,
    "Model Preferences"). Models that are known not to take the prompt are left out. Of several
    that fit, those known to cost no more than `own` go first: a server does not choose what the
    user pays, so where nobody is `shown` the choice, there are no others. Then the priorities
    choose by price, which is all that is known of a model's power and speed; then `own`, a name
    that says no more than the hint, the same provider, and the newest by its number.
    """
    most = _price(next((model for model in models if _ref(model) == str(own)), None))
    fitting = [
        model
        for model in models
        if _takes(model, prompt) and (shown or _ref(model) == str(own) or _within(model, most))
    ]
    for hint in prompt.hints[:HINTS]:
        wanted = hint.strip().lower()
        found = [m for m in fitting if wanted and wanted in f"{_ref(m)} {m.title}".lower()]
        if found:
            best = min(found, key=lambda model: _order(model, wanted, own, most, prompt.priorities))
            return ModelRef(best.provider, best.model)
    return replace(own, effort=None)


def _order(
    model: ModelInfo,
    wanted: str,
    own: ModelRef,
    most: Decimal | None,
    priorities: Mapping[str, float],
) -> tuple[object, ...]:
    """Return what the best model has the least of."""
    dear = priorities.get("intelligence", 0.0)
    cheap = priorities.get("cost", 0.0) + priorities.get("speed", 0.0)
    price, wish = _price(model), (dear < cheap) - (dear > cheap)
    return (
        not _within(model, most),
        price is None if wish else False,
        (price or 0) * wish,
        _ref(model) != str(own),
        wanted not in (model.model.lower(), _ref(model).lower()),
        model.provider != own.provider,
        [-number for number in _version(model.model)],
        len(model.model),
    )


def _version(name: str) -> tuple[int, int]:
    """Return the number in a model's name, such as (4, 5); sizes and dates are none."""
    found = _VERSION.search(name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _ref(model: ModelInfo) -> str:
    return f"{model.provider}/{model.model}"


def _price(model: ModelInfo | None) -> Decimal | None:
    return model.price.output if model is not None and model.price is not None else None


def _within(model: ModelInfo, most: Decimal | None) -> bool:
    price = _price(model)
    return price == 0 or (price is not None and most is not None and price <= most)


def _takes(model: ModelInfo, prompt: Sampling) -> bool:
    """Whether the model may take the prompt. What is not known speaks for it."""
    if prompt.tools and model.tools is False:
        return False
    seen = (part for spoken in prompt.messages for part in spoken.parts)
    if model.images is False and any(isinstance(part, Image) for part in seen):
        return False
    if model.context_window is None:
        return True
    texts = (text_of(spoken.parts) for spoken in prompt.messages)
    return text_tokens(prompt.system, *texts) + prompt.max_tokens <= model.context_window
