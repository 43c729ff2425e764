"""Whether the texts of a result say what its structured content does.

Servers should repeat structured content as a text (MCP 2025-11-25, server/tools), and most do; to
send it twice would cost its tokens twice. Others put a sentence there, and the data nowhere else.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

LONGEST: Final = 64 * 1024  # characters of texts in which single values are looked for
MOST_VALUES: Final = 200
# What SDKs put around a value that is no object.
_WRAPPER: Final = "result"


def says_all(texts: Sequence[str], structured: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether `texts` are `structured` as JSON, whole or an element each, or have its values."""
    if not texts:
        return False
    told = [_read(text) for text in texts]
    meant = [structured]
    if isinstance(structured, dict) and list(structured) == [_WRAPPER]:
        meant.append(structured[_WRAPPER])
    whole = "\n".join(texts)
    if any(one in (*told, told, list(texts), whole) for one in meant):
        return True
    if len(whole) > LONGEST:
        return False
    values = list(_values(structured, MOST_VALUES + 1))
    return len(values) <= MOST_VALUES and all(_stands_in(value, whole) for value in values)


def _read(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return text


def _values(value: object, most: int) -> Iterator[object]:
    """Iterate over the texts, numbers and yes or no in a JSON value, `most` at most."""
    open_, found = [value], 0
    while open_ and found < most:
        one = open_.pop()
        if isinstance(one, dict):
            open_ += one.values()
        elif isinstance(one, list):
            open_ += one
        elif one is not None and one != "":
            found += 1
            yield one


def _stands_in(value: object, text: str) -> bool:
    if isinstance(value, bool):
        return _has_word(str(value).lower(), text.lower())
    if isinstance(value, int | float):
        return any(_has_word(form, text) for form in (str(value), f"{value:,}", f"{value:g}"))
    words = str(value)
    return _has_word(words, text) or msgspec.json.encode(words).decode() in text


def _has_word(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
