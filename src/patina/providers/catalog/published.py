"""Reads the list that genai-prices publishes as JSON, and refuses what cannot be one.

The shape is that of `genai_prices.types.Provider` (version 0.2.3): what the installed package has
as records, with clauses, tiers and constraints told apart by their keys.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

import msgspec

from patina.providers.catalog.figures import KINDS, Figures
from patina.providers.catalog.genai import Record, record_class, table_of
from patina.providers.catalog.prices import Row, Table

_MOST: Final = Decimal(100_000)  # USD per million tokens; the dearest model ever cost 600
_ALWAYS: Final = ("anthropic", "google", "openai")
_FEWEST: Final = 500  # models; in November 2026 there are over 2,000
_MOST_TESTS: Final = 1000
_LONGEST: Final = 200
# What can take for ever: a group, or something repeated, that is repeated itself.
_SLOW: Final = re.compile(r"\)[*+{]|[*+}][*+{]|\\[1-9]")
_CLAUSES: Final = {
    "equals": "ClauseEquals",
    "starts_with": "ClauseStartsWith",
    "ends_with": "ClauseEndsWith",
    "contains": "ClauseContains",
    "regex": "ClauseRegex",
}
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)


def read_published(body: bytes) -> dict[str, Table]:
    """Return the tables of a published list by the names of providers.

    Raises `ValueError`, which says what is wrong, where it is none or has figures that cannot be.
    """
    try:
        plain = _decoder.decode(body)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    try:
        tables = {str(one["id"]): table_of(_provider(one)) for one in plain}
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"it has another shape ({type(error).__name__})") from None
    for name, table in tables.items():
        for row in table.rows:
            if wrong := _wrong(row):
                raise ValueError(f"{wrong}, at {name[:_LONGEST]!r} {row.name[:_LONGEST]!r}")
    missing = [name for name in _ALWAYS if name not in tables]
    if missing:
        raise ValueError(f"it has nothing of {', '.join(missing)}")
    models = sum(1 for table in tables.values() for row in table.rows if row.prices)
    if models < _FEWEST:
        raise ValueError(f"it has {models} models only")
    return tables


def _wrong(row: Row) -> str:
    """Return what cannot be in a row, "" where all can."""
    texts = [test[1:] for tests in row.match for test in tests]
    patterns = [test[1:] for tests in row.match for test in tests if test[0] == "/"]
    if len(texts) > _MOST_TESTS or any(len(one) > _LONGEST for one in (*texts, row.name)):
        return "it has names that are too long"
    if any(_SLOW.search(pattern) for pattern in patterns):
        return "it has a pattern that may take for ever"
    window = row.context_window
    if window is not None and not (type(window) is int and 0 < window < 10**9):
        return "it has a context window that cannot be"
    for dated in (*row.prices, *(dated for _, dated in row.services)):
        if not _sane(dated.figures):
            return "it has a price that cannot be"
    return ""


def _sane(figures: Figures) -> bool:
    for kind in KINDS:
        steps = getattr(figures, kind) or ()
        starts = [step.above for step in steps]
        if starts != sorted(starts) or any(type(one) is not int or one < 0 for one in starts):
            return False
        if not all(_amount(step.price) for step in steps):
            return False
    return figures.per_request is None or _amount(figures.per_request)


def _amount(value: object) -> bool:
    return isinstance(value, Decimal) and value.is_finite() and 0 <= value <= _MOST


def _made(kind: str, **fields: object) -> Record:
    return record_class(kind)(**fields)


def _provider(plain: Mapping[str, Any]) -> Record:
    others = plain.get("fallback_model_providers") or []
    models = [_model(one) for one in plain["models"]]
    return _made("Provider", models=models, fallback_model_providers=[str(one) for one in others])


def _model(plain: Mapping[str, Any]) -> Record:
    prices = plain["prices"]
    variants, title = plain.get("price_variants") or [], plain.get("name")
    if not isinstance(title, str | None):
        raise TypeError("name")
    return _made(
        "ModelInfo",
        id=str(plain["id"]),
        name=title,
        match=_clause(plain["match"]),
        context_window=plain.get("context_window"),
        deprecated=plain.get("deprecated"),
        prices=[_conditional(one) for one in prices]
        if isinstance(prices, list)
        else _prices(prices),
        price_variants=[_variant(one) for one in variants],
    )


def _clause(plain: Mapping[str, Any]) -> Record:
    ((key, value),) = plain.items()
    if key == "or":
        return _made("ClauseOr", or_=[_clause(one) for one in value])
    if key == "and":
        return _made("ClauseAnd", and_=[_clause(one) for one in value])
    if not isinstance(value, str):
        raise TypeError(key)
    return _made(_CLAUSES[key], **{key: value})


def _conditional(plain: Mapping[str, Any]) -> Record:
    constraint = _constraint(plain.get("constraint"))
    return _made("ConditionalPrice", prices=_prices(plain["prices"]), constraint=constraint)


def _variant(plain: Mapping[str, Any]) -> Record:
    when = {str(key): str(value) for key, value in plain["when"].items()}
    constraint = _constraint(plain.get("constraint"))
    return _made("PriceVariant", when=when, prices=_prices(plain["prices"]), constraint=constraint)


def _constraint(plain: Mapping[str, Any] | None) -> Record | None:
    if plain is None:
        return None
    if "start_date" in plain:
        day = date.fromisoformat(plain["start_date"])
        return _made("StartDateConstraint", start_date=day)
    begins, ends = (_utc(time.fromisoformat(plain[key])) for key in ("start_time", "end_time"))
    return _made("TimeOfDateConstraint", start_time=begins, end_time=ends)


def _utc(value: time) -> time:
    if value.tzinfo is None:
        return value
    return datetime.combine(date(2026, 1, 2), value).astimezone(UTC).time()


def _prices(plain: Mapping[str, Any]) -> Record:
    return _made("ModelPrice", **{str(key): _price(value) for key, value in plain.items()})


def _price(value: Any) -> Decimal | Record | None:  # noqa: ANN401 - as JSON has it
    if value is None:
        return None
    if isinstance(value, Mapping):
        tiers = [
            _made("Tier", start=one["start"], price=_number(one["price"])) for one in value["tiers"]
        ]
        return _made("TieredPrices", base=_number(value["base"]), tiers=tiers)
    return _number(value)


def _number(value: Any) -> Decimal:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise TypeError("a price")
    return Decimal(value)
