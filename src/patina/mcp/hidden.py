"""Characters of servers' texts that nobody sees: found, shown, and taken out.

Source: Unicode Standard, sections 23.1 to 23.9; tags (section 23.9) can spell a whole text.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from patina.mcp.text import visible

_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
# In scripts other than Latin these shape letters, and after a picture they shape the picture.
_SHAPING: Final = frozenset("\u200c\u200d\ufe0e\ufe0f")
_KEYCAP: Final = "\u20e3"
_TAG_BASE: Final = 0xE0000
# What a schema says to its reader; everything else in it is compared with arguments as it is.
_PROSE: Final = frozenset({"title", "description", "$comment"})
_VALUES: Final = frozenset({"enum", "const", "default", "examples"})


def stripped(text: str) -> str:
    """Return `text` without what nobody sees. Line breaks and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub("", text)


def hidden(text: str) -> tuple[str, ...]:
    """Return the characters of `text` that hide, without those that only shape what is seen."""
    if text.isascii() and text.isprintable():
        return ()
    whole = text.replace("\r\n", "\n")
    return tuple(match[0] for match in _HIDDEN.finditer(whole) if not _shapes(whole, match.start()))


def _shapes(text: str, place: int) -> bool:
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if text[place] not in _SHAPING or not before:
        return False
    if after == _KEYCAP:
        return True
    if before == "\ufe0f":
        return text[place] == "\u200d"  # joins two pictures
    return not before.isascii() and _HIDDEN.match(before) is None


def spelled(characters: tuple[str, ...]) -> str:
    """Return the text that tag characters among `characters` spell, "" where there are none."""
    codes = (ord(character) - _TAG_BASE for character in characters)
    return "".join(chr(code) for code in codes if 0x20 <= code < 0x7F)


def revealed(text: str) -> tuple[str, ...]:
    """Return the lines of `text` with everything hidden in them as an escape."""
    return tuple(visible(line) for line in text.replace("\t", "    ").split("\n"))


def stripped_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `schema` with its prose stripped: the same one where nothing hides in it.

    Names and values of arguments stay as they are: the server knows them by these.
    """
    changed = {name: _stripped_part(name, value) for name, value in schema.items()}
    same = all(changed[name] is value for name, value in schema.items())
    return schema if same else changed


def _stripped_part(name: str, value: Any) -> Any:  # noqa: ANN401 - whatever JSON is there
    if isinstance(value, str):
        clean = stripped(value) if name in _PROSE else value
        return value if clean == value else clean
    if isinstance(value, Mapping):
        return value if name in _VALUES else stripped_schema(value)
    if isinstance(value, list) and name not in _VALUES:
        clean_list = [_stripped_part("", part) for part in value]
        same = all(clean is part for clean, part in zip(clean_list, value, strict=True))
        return value if same else clean_list
    return value
