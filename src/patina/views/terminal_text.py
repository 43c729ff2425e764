"""The sanitiser for text that goes to a terminal."""

import re

# Everything that a terminal obeys or hides instead of showing it: C0 but for newline and tab,
# DEL, C1, bidirectional controls, zero-width characters, tags and the hidden variation selectors,
# and halves of surrogate pairs, which cannot be written at all.
# Sources: ECMA-48; Unicode Standard, sections 23.1 to 23.9; UAX 9.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)


def safe_text(text: str) -> str:
    """Return `text` without the characters that a terminal would obey or hide.

    Without its ESC an escape sequence is harmless text, so pieces of a stream may be cleaned one
    by one.
    """
    return _UNSAFE.sub("", text)


def safe_line(text: str) -> str:
    """Return `text` on one line, for a cell of a table or a title: white space becomes spaces."""
    return " ".join(safe_text(text).split())
