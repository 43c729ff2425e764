"""Bars of characters."""

from decimal import Decimal
from typing import Final

_EIGHTHS: Final = "▏▎▍▌▋▊▉█"
_ASCII: Final = "#"


def bar(part: Decimal | int, whole: Decimal | int, width: int, *, ascii_only: bool = False) -> str:
    """Return a bar of at most `width` columns for `part` of `whole`.

    In eighths of a column, or in whole ones of ASCII. What is more than nothing can be seen.
    """
    if not whole or part <= 0 or width <= 0:
        return ""
    steps = 1 if ascii_only else len(_EIGHTHS)
    length = min(max(round(Decimal(part) / Decimal(whole) * width * steps), 1), width * steps)
    if ascii_only:
        return _ASCII * length
    full, eighths = divmod(length, steps)
    return _EIGHTHS[-1] * full + (_EIGHTHS[eighths - 1] if eighths else "")
