"""Which of a PDF's fonts can show which text.

No font of this machine is needed: Latin text is in Helvetica and Vera (that comes along and is
embedded), Chinese, Japanese and Korean text in the fonts that PDF readers bring themselves.
What none of them has loses its accent, or becomes "?".
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final
from unicodedata import normalize

# reportlab has no types of its own, and nobody publishes complete ones.
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import (
    registerFont,
    stringWidth,
)
from reportlab.pdfbase.ttfonts import TTFont

from patina.views.terminal_text import safe_line

PLAIN: Final = "Helvetica"
BOLD: Final = "Helvetica-Bold"
_VERA: Final = ("Vera", "Vera.ttf")
# The reader's font, and the character set that it has at least.
_CHINESE: Final = ("STSong-Light", "gbk")
_TAIWAN: Final = ("MSung-Light", "big5")
_JAPANESE: Final = ("HeiseiKakuGo-W5", "shift_jis")
_KOREAN: Final = ("HYGothic-Medium", "euc_kr")
_MISSING: Final = "?"
# Longer text is cut before it is measured: no column shows as much.
_MOST: Final = 400

Run = tuple[str, str]


def runs(text: str, font: str = PLAIN) -> list[Run]:
    """Return `text`, on one line and without what is hidden, as pieces with their fonts."""
    text = safe_line(text[:_MOST])
    found: list[Run] = []
    readers = _readers(text)
    for character in text:
        name, shown = _font(character, font, readers)
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1] + shown)
        else:
            found.append((name, shown))
    return found


def width(pieces: list[Run], size: float) -> float:
    """Return how wide text is, in points."""
    return sum(float(stringWidth(text, name, size)) for name, text in pieces)


def cut(text: str, font: str, size: float, room: float) -> list[Run]:
    """Return as much of `text` as fits in `room` points, with an ellipsis where it is cut."""
    pieces = runs(text, font)
    if width(pieces, size) <= room:
        return pieces
    most = len(text)
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        if width(runs(f"{text[:middle].rstrip()}…", font), size) <= room:
            least = middle
        else:
            most = middle - 1
    return runs(f"{text[:least].rstrip()}…", font)


def _font(character: str, font: str, readers: tuple[Run, ...]) -> Run:
    if _encodes(character, "cp1252"):
        return font, character
    if _vera()(character):
        return _VERA[0], character
    base = normalize("NFKD", character)[0]
    if base != character and _encodes(base, "cp1252"):
        return font, base
    for name, charset in readers:
        if character <= "\uffff" and _encodes(character, charset):
            _register(name)
            return name, character
    return font, _MISSING


def _readers(text: str) -> tuple[Run, ...]:
    """Return the readers' fonts in the order in which they suit the whole text."""
    if any("\uac00" <= each <= "\ud7a3" for each in text):
        return (_KOREAN, _JAPANESE, _CHINESE, _TAIWAN)
    if any("\u3041" <= each <= "\u30ff" for each in text):
        return (_JAPANESE, _CHINESE, _TAIWAN, _KOREAN)
    return (_CHINESE, _TAIWAN, _JAPANESE, _KOREAN)


def _encodes(character: str, charset: str) -> bool:
    try:
        return bool(character.encode(charset))
    except UnicodeEncodeError:
        return False


@lru_cache(maxsize=1)
def _vera() -> Callable[[str], bool]:
    font = TTFont(*_VERA)
    registerFont(font)
    glyphs = font.face.charToGlyph
    return lambda character: ord(character) in glyphs


@lru_cache(maxsize=8)
def _register(name: str) -> None:
    registerFont(UnicodeCIDFont(name))
