"""Reads the list of the package genai-prices (MIT), as data.

Its own classes need pydantic: 0.1 s and 26 MB for a list of which a few lines are wanted, too much
for the first question after an installation. So its module of data is run with plain records in
their place, which takes a fifth of that. A test compares the outcome with the package's own.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache
from importlib import util
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from patina.model.money import Step
from patina.providers.catalog.figures import KINDS, Dated, Figures
from patina.providers.catalog.prices import Row, Table

_PACKAGE: Final = "genai_prices"
_STAND_IN: Final = "patina.providers.catalog._genai_data"
# The conditions of a request that make it another service, by the field that says so.
_SERVICES: Final = ("service_tier", "processing", "speed")
_TESTS: Final = {
    "ClauseEquals": ("=", "equals"),
    "ClauseStartsWith": ("^", "starts_with"),
    "ClauseEndsWith": ("$", "ends_with"),
    "ClauseContains": ("~", "contains"),
    "ClauseRegex": ("/", "regex"),
}


class Record:
    """Whatever the data says, by the name of its class and of its fields."""

    def __init__(self, *values: object, **fields: object) -> None:
        self.values = values
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> None:
        """Fields that the data leaves out are None."""
        if name.startswith("__"):
            raise AttributeError(name)


def installed() -> str:
    """Return a mark of the installed list, which changes with it; "" where there is none."""
    path = _path()
    try:
        status = path.stat() if path is not None else None
    except OSError:
        status = None
    return f"{status.st_size}-{status.st_mtime_ns}" if status is not None else ""


def version() -> str:
    """Return the version of the installed list, "" where there is none."""
    from importlib import metadata

    try:
        return metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return ""


def read_tables() -> dict[str, Table]:
    """Return all tables by the package's names of providers; none where it cannot be read."""
    try:
        return {provider.id: table_of(provider) for provider in _providers()}
    except (ImportError, AttributeError, TypeError, ValueError, LookupError, SyntaxError) as error:
        logging.getLogger(__name__).warning("No list of prices: %s", type(error).__name__)
        return {}


def _path() -> Path | None:
    spec = util.find_spec(_PACKAGE)  # finds the package and runs nothing of it
    origin = spec.origin if spec is not None else None
    return Path(origin).with_name("data.py") if origin else None


def _providers() -> list[Any]:
    path = _path()
    if path is None:
        raise ImportError(_PACKAGE)
    package, types = ModuleType(_STAND_IN), _Records(f"{_STAND_IN}.types")
    package.__path__ = []
    spec = util.spec_from_file_location(f"{_STAND_IN}.data", path)
    if spec is None or spec.loader is None:
        raise ImportError(_PACKAGE)
    data = util.module_from_spec(spec)
    modules = {_STAND_IN: package, types.__name__: types}
    sys.modules.update(modules)
    try:
        spec.loader.exec_module(data)
    finally:
        for name in modules:
            del sys.modules[name]
    providers: list[Any] = data.providers
    return providers


class _Records(ModuleType):
    """A module that has a class of records under every name that the data uses."""

    __all__ = (
        *("Provider", "ModelInfo", "ModelPrice", "TieredPrices", "Tier", "ConditionalPrice"),
        *("PriceVariant", "StartDateConstraint", "TimeOfDateConstraint", "ArrayMatch"),
        *("UsageExtractor", "UsageExtractorMapping", "ClauseOr", "ClauseAnd", *_TESTS),
    )

    def __getattr__(self, name: str) -> type[Record]:
        if name not in self.__all__:
            raise AttributeError(name)
        return record_class(name)


@cache
def record_class(name: str) -> type[Record]:
    """Return the class of the records that the data calls `name`."""
    return type(name, (Record,), {})


def table_of(provider: Any) -> Table:  # noqa: ANN401 - a record
    """Return a provider's models. Raises what `read_tables` logs for data of another shape."""
    rows = tuple(_row(model) for model in provider.models or ())
    return Table(rows, tuple(provider.fallback_model_providers or ()))


def _row(model: Any) -> Row:  # noqa: ANN401
    prices = model.prices
    dated = tuple(_dated(one) for one in (prices if isinstance(prices, list) else [prices]))
    match = tuple(tuple(tests) for tests in _alternatives(model.match))
    name = "" if model.deprecated else model.id
    services = tuple(_services(model.price_variants or ()))
    return Row(match, dated, model.context_window, model.name or "", name, services)


def _services(variants: Iterable[Any]) -> Iterator[tuple[str, Dated]]:
    """Yield the figures of other services by name, such as "batch"."""
    for variant in variants:
        ((field, name), *more) = variant.when.items()
        if field in _SERVICES and not more and (figures := _figures(variant.prices)) != Figures():
            yield name, _bounded(figures, variant.constraint)


def _alternatives(clause: Any) -> Iterator[list[str]]:  # noqa: ANN401
    """Yield lists of tests; the clause matches where all of one list pass."""
    kind = type(clause).__name__
    if kind == "ClauseOr":
        for part in clause.or_:
            yield from _alternatives(part)
    elif kind == "ClauseAnd":
        for parts in product(*(list(_alternatives(part)) for part in clause.and_)):
            yield [test for part in parts for test in part]
    else:
        mark, field = _TESTS[kind]
        text: str = getattr(clause, field)
        yield [mark + (text if mark == "/" else text.lower())]


def _dated(one: Any) -> Dated:  # noqa: ANN401 - a record of prices, or one with a constraint
    if type(one).__name__ == "ConditionalPrice":
        return _bounded(_figures(one.prices), one.constraint)
    return Dated(_figures(one))


def _bounded(figures: Figures, constraint: Any) -> Dated:  # noqa: ANN401
    kind = type(constraint).__name__
    if kind == "StartDateConstraint":
        return Dated(figures, constraint.start_date.isoformat())
    if kind == "TimeOfDateConstraint":
        # All times of the data are UTC.
        times = (constraint.start_time, constraint.end_time)
        return Dated(figures, "", *(time.strftime("%H:%M:%S") for time in times))
    if constraint is not None:
        raise ValueError(f"prices that hold by a {kind}")
    return Dated(figures)


def _figures(prices: Any) -> Figures:  # noqa: ANN401
    sent, received, read, written = (_steps(getattr(prices, f"{kind}_mtok")) for kind in KINDS)
    requests = prices.requests_kcount
    per_request = requests / 1000 if isinstance(requests, Decimal) else None
    return Figures(sent, received, read, written, per_request)


def _steps(value: Any) -> tuple[Step, ...] | None:  # noqa: ANN401
    if type(value).__name__ == "TieredPrices":
        return (Step(0, value.base), *(Step(tier.start, tier.price) for tier in value.tiers))
    return (Step(0, value),) if isinstance(value, Decimal) else None
