"""What endpoints say of money: the cost of a request, and the service that it was.

Fields: OpenRouter ("Usage accounting": `cost`, `cost_details`, `is_byok`), xAI ("Cost tracking":
`cost_in_usd_ticks`), Perplexity (`cost.total_cost`), DeepInfra (`estimated_cost`).
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from patina.providers.lenient import mapping, text

_MOST: Final = Decimal(1_000_000)  # USD for one request: more is nonsense
_TICK: Final = Decimal("1e-10")
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
# What endpoints call the service that everybody gets.
_USUAL: Final = frozenset({"default", "standard", "on_demand", "auto", "unspecified"})
_EXPONENT: Final = -24  # digits after the point that are worth keeping


def billed_of(usage: Any) -> Decimal | None:  # noqa: ANN401 - whatever an endpoint sends
    """Return what a `usage` object says that the request costs in USD, None where it says nothing.

    With a key of the user's own at OpenRouter, what its owner is charged comes on top.
    """
    plain = mapping(usage)
    cost = plain.get("cost")
    if isinstance(cost, Mapping):
        return amount_of(cost.get("total_cost"))
    if cost is not None:
        amount = amount_of(cost)
        if amount is not None and plain.get("is_byok") is True:
            above = amount_of(mapping(plain.get("cost_details")).get("upstream_inference_cost"))
            return amount + above if above is not None else None
        return amount
    ticks = amount_of(plain.get("cost_in_usd_ticks"), _TICK)
    return amount_of(plain.get("estimated_cost")) if ticks is None else ticks


def amount_of(value: Any, unit: Decimal = Decimal(1)) -> Decimal | None:  # noqa: ANN401
    """Return a number, or a text that is one, times `unit`; None for what cannot be an amount."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        amount = Decimal(str(value)[:40]) * unit
        if not amount.is_finite() or not 0 <= amount < _MOST:
            return None
        return amount if _digits(amount) else round(amount, -_EXPONENT)
    except ArithmeticError:  # no number, or one with an absurd exponent
        return None


def _digits(amount: Decimal) -> bool:
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= _EXPONENT


def service_of(value: Any) -> str:  # noqa: ANN401
    """Return the endpoint's word for a service in small letters, "" for the usual one or none."""
    word = text(value).lower()
    return word if _WORD.fullmatch(word) and word not in _USUAL else ""
