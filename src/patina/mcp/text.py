"""Text of servers, made safe to read: nothing hidden, nothing that steers a terminal."""

from typing import Final

# Printable by category, yet drawn as nothing: fillers, joiners, variation selectors.
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_VARIATION: Final = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))


def visible(text: str) -> str:
    """Return `text` with every hidden, control or look-alike-space character as an escape.

    Line breaks are escaped too, so the answer is one line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _shows(char) else _escaped(char) for char in text)


def _shows(char: str) -> bool:
    code = ord(char)
    return (
        char.isprintable()
        and char not in _INVISIBLE
        and not any(first <= code <= last for first, last in _VARIATION)
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def shortened(text: str, limit: int) -> str:
    """Return `text`, cut to `limit` characters with an ellipsis where it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def command_line(argv: tuple[str, ...]) -> str:
    """Return `argv` as one line that a person can read: quoted where needed, nothing hidden.

    For reading only; it is never run.
    """
    return " ".join(_quoted(visible(word)) for word in argv)


def _quoted(word: str) -> str:
    plain = word and all(char.isalnum() or char in "@%+=:,./-_\\~" for char in word)
    return word if plain else "'" + word.replace("'", "'\"'\"'") + "'"
