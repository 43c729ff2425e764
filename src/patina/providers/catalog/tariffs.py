"""Whose prices count: the user's, else the provider's own list, else the list of genai-prices."""

from collections.abc import Mapping
from decimal import Decimal, localcontext
from typing import Final

from msgspec.structs import replace

from patina.model.chat import Price
from patina.model.money import Step, Tariff
from patina.providers.catalog.figures import KINDS

SETTINGS: Final = "settings"
LOCAL: Final = "local"

_ZERO: Final = Decimal(0)
_FREE: Final = Tariff(
    **{kind: (Step(0, _ZERO),) for kind in KINDS},  # type: ignore[arg-type]
    source=LOCAL,
    local=True,
)
_HALF: Final = {"batch": Decimal("0.5")}
# What a service costs of the usual price, by table of prices, where no figures of its own are
# known. The providers name these on the pricing pages of developers.openai.com,
# platform.claude.com, ai.google.dev and docs.mistral.ai, and at console.groq.com
# ("flex-processing").
_FACTORS: Final[Mapping[str, dict[str, Decimal]]] = {
    "openai": _HALF,
    "azure": _HALF,
    # "us": inference that stays in the United States.
    "anthropic": {**_HALF, "us": Decimal("1.1")},
    "google": {**_HALF, "flex": Decimal("0.5")},
    "mistral": _HALF,
    "groq": {**_HALF, "flex": Decimal(1)},
}


def tariff_of(
    *,
    own: Mapping[str, str],
    listed: Price | None,
    known: Tariff | None,
    local: bool,
    provider: str,
    fetched: str,
    table: str,
) -> Tariff:
    """Return what a model costs.

    `own` are amounts as text of the settings, `listed` is the price in the list of `provider`,
    which was `fetched` on that day, and `known` what `table` of genai-prices says. What is local
    costs nothing, unless the settings say otherwise. Kinds that the settings leave out are
    completed, and `source` names both.
    """
    if local and not own:
        return _FREE
    rest = (known or Tariff()) if not local else Tariff()
    if rest.known:
        rest = replace(rest, factors=_FACTORS.get(table, {}))
    if listed is not None and not local:
        rest = _listed(listed, rest, provider, fetched, table)
    return _overridden(own, rest) if own else rest


def price_of(tariff: Tariff) -> Price | None:
    """Return a tariff as a listing has it: the prices of short requests."""
    steps = {kind: getattr(tariff, kind) for kind in KINDS}
    if not any(steps.values()):
        return None
    first = {kind: one[0].price if one else None for kind, one in steps.items()}
    return Price(**first, tiered=any(len(one) > 1 for one in steps.values()))


def _listed(price: Price, known: Tariff, provider: str, fetched: str, table: str) -> Tariff:
    """Return the provider's own prices; lists have no steps, so those are taken as they are known.

    Where its price is another than the known one, steps keep their proportion to it.
    """
    named = {kind: amount for kind in KINDS if (amount := getattr(price, kind)) is not None}
    steps = {kind: _stepped(amount, getattr(known, kind)) for kind, amount in named.items()}
    same = all(known_at(known, kind) == named.get(kind) for kind in ("input", "output"))
    tariff = Tariff(
        **steps,  # type: ignore[arg-type]
        per_request=known.per_request if price.per_request is None else price.per_request,
        source=f"list of {provider}",
        date=fetched,
        factors=_FACTORS.get(table, {}),
        services=known.services if same else {},
    )
    missing = [kind for kind in KINDS if kind not in named and getattr(known, kind)]
    # What is cached is not completed where the price is another than the known one: as long as
    # nobody says what that costs there, it counts as other input.
    return _with(tariff, known, [k for k in missing if same or k in {"input", "output"}])


def _overridden(own: Mapping[str, str], rest: Tariff) -> Tariff:
    named = {kind: (Step(0, Decimal(own[kind])),) for kind in KINDS if kind in own}
    missing = [kind for kind in KINDS if kind not in own and getattr(rest, kind)]
    tariff = Tariff(
        **named,  # type: ignore[arg-type]
        per_request=rest.per_request,
        source=SETTINGS,
        factors=rest.factors,
    )
    return _with(tariff, rest, missing)


def _with(tariff: Tariff, rest: Tariff, kinds: list[str]) -> Tariff:
    """Return `tariff` with `kinds` of `rest`, and both sources."""
    if not kinds:
        return tariff
    source = f"{tariff.source}, {rest.source}"
    taken = {kind: getattr(rest, kind) for kind in kinds}
    return replace(tariff, **taken, source=source, date=tariff.date or rest.date)


def known_at(tariff: Tariff, kind: str) -> Decimal | None:
    """Return the price of `kind` for short requests, None where it is not known."""
    steps = getattr(tariff, kind)
    return steps[0].price if steps else None


def _stepped(amount: Decimal, known: tuple[Step, ...]) -> tuple[Step, ...]:
    if len(known) < 2 or not known[0].price:
        return (Step(0, amount),)
    with localcontext(prec=12):
        ratio = amount / known[0].price
        higher = [Step(one.above, one.price * ratio) for one in known[1:]]
    return (Step(0, amount), *higher)
