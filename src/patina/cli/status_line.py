"""What goes on right now, on one line of a terminal that is written again and again."""

import os
import sys

from patina.cli.output import fit
from patina.views.terminal_text import safe_line

_WIDTH = 80


class StatusLine:
    """The last line of standard error, where that is a terminal; nothing is shown elsewhere.

    Whoever prints anything else clears it first.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = False

    def show(self, text: str) -> None:
        """Show `text` in place of what was shown. Text of servers is made harmless."""
        if self._terminal:
            sys.stderr.write(f"\r{fit(safe_line(text), _width() - 1)}\x1b[K")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        """Leave the line empty."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def progress_text(name: str, done: float, total: float | None, text: str) -> str:
    """Return how far the call of `name` is, in words: "s.t 3 of 5 (60%): reading"."""
    if text and not done and total is None:
        return f"{name}: {text}"  # it does not count
    how_far = f"{done:g}"
    if total is not None and total > 0:
        share = min(max(done / total, 0), 1)
        how_far = f"{done:g} of {total:g} ({share:.0%})"
    return f"{name} {how_far}: {text}" if text else f"{name} {how_far}"


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _WIDTH
    except (OSError, ValueError):
        return _WIDTH
