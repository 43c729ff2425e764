"""Amounts as sums are made of them: whole numbers of 1e-12 USD."""

from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Final

_DIGITS: Final = 12
# Of one request. More than anybody was ever charged for one; 92 of them still fit in 64 bits.
MOST: Final = Decimal(100_000)
_MOST_UNITS: Final = int(MOST.scaleb(_DIGITS))
# Where a sum that is kept stays: above, a database would go on with numbers that are not exact.
MOST_SUM: Final = 9 * 10**18
# In SQL `cost` is added up in two parts, since one could be too much for 64 bits.
SPLIT: Final = 1 << 32
HIGH: Final = f"sum(cost / {SPLIT})"
LOW: Final = f"sum(cost % {SPLIT})"


def to_units(amount: Decimal, *, up: bool = False) -> int:
    """Return `amount` (USD), at least 0 and at most `MOST`, rounded to the nearest unit or `up`.

    Raises `ValueError` for what is no number.
    """
    if not amount.is_finite():
        raise ValueError(f"{amount} is no amount of money")
    if amount >= MOST:
        return _MOST_UNITS
    # A tiny fraction may have an exponent that would take for ever to be written out.
    if amount <= 0:
        return 0
    rounding = ROUND_CEILING if up else ROUND_HALF_EVEN
    return int(amount.scaleb(_DIGITS).to_integral_value(rounding))


def whole(high: int, low: int) -> int:
    """Return the sum whose two parts are these."""
    return high * SPLIT + low


def to_amount(units: int) -> Decimal:
    """Return USD without needless zeros and without an exponent."""
    amount = Decimal(units).scaleb(-_DIGITS).normalize()
    return amount if amount.as_tuple().exponent <= 0 else amount.quantize(Decimal(1))  # type: ignore[operator]  # of a finite number it is an int
