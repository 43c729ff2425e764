"""What a large text is, in one sentence for a model: JSON, a table, or words."""

from collections import Counter
from typing import Any, Final

import msgspec

from patina.engine.reading import is_json_like

MOST_NAMES: Final = 20
LONGEST_NAME: Final = 60  # characters
TABLE_LINES: Final = 20  # that are looked at
TABLE_LEAST: Final = 3
_SEPARATORS: Final = ("\t", ",", ";", "|")


def shape_of(text: str) -> str:
    """Return what `text` is: the keys of JSON, the columns of a table, else "text"."""
    return _json_shape(text) or _table_shape(text) or "text"


def _json_shape(text: str) -> str:
    if not is_json_like(text):
        return ""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return ""
    if isinstance(value, dict):
        return f"a JSON object with the keys {_names(map(_key, value.items()), len(value))}"
    if not isinstance(value, list):
        return ""
    of = ""
    if value and isinstance(value[0], dict):
        of = f", the first an object with the keys {_names(value[0], len(value[0]))}"
    elif value:
        of = f", the first {_kind(value[0])}"
    return f"a JSON array of {len(value):,}{of}"


def _key(item: tuple[str, Any]) -> str:
    name, value = item
    return f"{_short(name)} ({_kind(value)})"


def _kind(value: object) -> str:
    if isinstance(value, list):
        return f"an array of {len(value):,}"
    if isinstance(value, dict):
        return f"an object of {len(value):,}"
    if value is None or isinstance(value, bool):
        return msgspec.json.encode(value).decode()
    return "a string" if isinstance(value, str) else "a number"


def _names(names: Any, count: int) -> str:  # noqa: ANN401 - any iterable of strings
    shown = [_short(name) for _, name in zip(range(MOST_NAMES), names, strict=False)]
    more = f" and {count - MOST_NAMES:,} more" if count > MOST_NAMES else ""
    return ", ".join(shown) + more


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _table_shape(text: str) -> str:
    lines = text[:100_000].split("\n", TABLE_LINES)[:TABLE_LINES]
    lines = [line.rstrip("\r") for line in lines if line.strip()]
    if len(lines) < TABLE_LEAST:
        return ""
    for separator in _SEPARATORS:
        columns = lines[0].count(separator)
        counted = Counter(line.count(separator) for line in lines)
        # A separator inside quotes makes a line differ: most of them have to agree.
        if columns and counted[columns] * 5 >= len(lines) * 4:
            names = [cell.strip().strip('"') for cell in lines[0].split(separator)]
            return f"a table of {columns + 1} columns: {_names(names, len(names))}"
    return ""
