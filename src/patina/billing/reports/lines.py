"""One CSV line for each request, for spreadsheets and scripts."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from io import StringIO
from typing import Final

from patina.model.money import Entry
from patina.views.terminal_text import safe_line

# The columns, and the field of `Entry` or of its usage that each of them holds.
COLUMNS: Final[Mapping[str, str]] = {
    "id": "id",
    "at": "at",
    "day": "day",
    "provider": "provider",
    "model": "model",
    "purpose": "purpose",
    "outcome": "outcome",
    "input_tokens": "",
    "output_tokens": "",
    "cache_read_tokens": "",
    "cache_write_tokens": "",
    "reasoning_tokens": "",
    "cost": "cost",
    "estimated": "estimated",
    "held": "held",
    "session_id": "conversation",
    "turn_id": "turn",
    "server": "server",
    "run": "run",
    "source": "source",
    "price_date": "price_date",
    "tier": "tier",
    "first_token_ms": "first_token_ms",
    "duration_ms": "duration_ms",
}
# A spreadsheet takes what begins so for a formula (OWASP, CSV Injection);
# in an East Asian language the wide signs count, too.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")
_QUOTE: Final = "'"


def header() -> str:
    """Return the first line."""
    return _lines([list(COLUMNS)])


def lines(entries: Iterable[Entry]) -> str:
    """Return a line for each entry.

    What is not known is empty; amounts are USD with a dot, `at` is UTC as ISO 8601, `estimated`
    is true or false. Text loses what a terminal would obey, and gets a "'" before it where a
    spreadsheet would take it for a formula.
    """
    return _lines([_cells(entry) for entry in entries])


def matches(entry: Entry, only: Mapping[str, str]) -> bool:
    """Whether an entry is among those that `Ledger.sums` counts with the same `only`."""
    return all(
        (f"{entry.provider}/{entry.model}" if name == "model" else getattr(entry, name)) == value
        for name, value in only.items()
    )


def _cells(entry: Entry) -> list[str]:
    return [
        _cell(getattr(entry, field) if field else getattr(entry.usage, name))
        for name, field in COLUMNS.items()
    ]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, int):
        return str(value)
    return _text(str(value))


def _text(text: str) -> str:
    formula = text.startswith(_FORMULA)
    # Nearly all is plain; there are a dozen texts in a line, and a year has 100,000 lines.
    if not (text.isascii() and text.isprintable()):
        text = safe_line(text)
    return f"{_QUOTE}{text}" if formula or text.startswith(_FORMULA) else text


def _lines(rows: Sequence[Sequence[str]]) -> str:
    out = StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
