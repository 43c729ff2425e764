"""Figures of a list of prices as they are kept, and the tariff that holds at one moment."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

from patina.model.money import Step, Tariff

KINDS: Final = ("input", "output", "cache_read", "cache_write")


class Figures(Struct, frozen=True, array_like=True):
    """Prices as `model.money.Tariff` has them; None is "not said" and differs from ()."""

    input: tuple[Step, ...] | None = None
    output: tuple[Step, ...] | None = None
    cache_read: tuple[Step, ...] | None = None
    cache_write: tuple[Step, ...] | None = None
    per_request: Decimal | None = None


class Dated(Struct, frozen=True, array_like=True):
    """Figures, and from which day on (YYYY-MM-DD), or between which times of day, they hold (UTC).

    Empty texts set no bound.
    """

    figures: Figures
    since: str = ""
    begins: str = ""
    ends: str = ""

    def holds(self, now: str) -> bool:
        """Whether these hold at the moment `now`, written YYYY-MM-DDTHH:MM:SS, in UTC."""
        if self.since > now[:10]:
            return False
        time = now[11:19]
        if self.begins > self.ends:  # over midnight
            return time >= self.begins or time < self.ends
        return not self.ends or self.begins <= time < self.ends


def tariff_from(
    prices: Sequence[Dated],
    services: Sequence[tuple[str, Dated]],
    now: str,
    *,
    source: str,
    date: str,
) -> Tariff | None:
    """Return what holds at `now`; None where nothing is said of a price.

    `date` is that of the list; figures that hold since a day of their own have that.
    """
    if not prices:
        return None
    usual = next((one for one in reversed(prices) if one.holds(now)), prices[0])
    others: dict[str, Figures] = {}
    for name, dated in services:
        if dated.holds(now):
            first = others.get(name, Figures())
            others[name] = _either(first, dated.figures)
    whole = {
        name: _tariff(_either(figures, usual.figures), source, usual.since or date)
        for name, figures in others.items()
    }
    tariff = _tariff(usual.figures, source, usual.since or date, whole)
    return tariff if tariff.input or tariff.output or tariff.per_request else None


def _either(first: Figures, then: Figures) -> Figures:
    """Return `first`, with what it does not say from `then`."""
    pairs = ((getattr(first, name), getattr(then, name)) for name in Figures.__struct_fields__)
    return Figures(*(one if one is not None else other for one, other in pairs))


def _tariff(
    figures: Figures, source: str, date: str, services: dict[str, Tariff] | None = None
) -> Tariff:
    return Tariff(
        input=figures.input or (),
        output=figures.output or (),
        cache_read=figures.cache_read or (),
        cache_write=figures.cache_write or (),
        per_request=figures.per_request or Decimal(0),
        source=source,
        date=date,
        services=services or {},
    )
