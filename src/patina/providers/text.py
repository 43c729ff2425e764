"""Text as providers send it: surrogate halves, and words that are safe to show in a message."""

import re
from typing import Final

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_WORDS: Final = 300


class SurrogateJoiner:
    r"""Joins UTF-16 surrogate pairs that a provider split over two deltas.

    JSON may spell an emoji as two `\u` escapes, and a server that cuts its text by UTF-16 units
    sends them apart. A half that never finds its other half becomes U+FFFD. What comes out never
    holds a surrogate.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> str:
        """Return `text` with what was held before it, without a trailing first half."""
        text = self.held + text
        self.held = ""
        if not _SURROGATE.search(text):
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            text, self.held = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def flush(self) -> str:
        """Return what stands for a half that was held to the end: U+FFFD or nothing."""
        held, self.held = self.held, ""
        return "\ufffd" if held else ""


def words(text: str, secrets: tuple[str, ...] = (), limit: int = _MAX_WORDS) -> str:
    """Return foreign `text` as one line that may stand in a message.

    Control, bidirectional and other unprintable characters become spaces, runs of spaces one
    space, each of `secrets` "[key]", and what is over `limit` characters an ellipsis.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[key]")
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 20 * limit]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
