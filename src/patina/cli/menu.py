"""Choices by single keys at the bottom of the terminal, drawn again where they stand."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio
from msgspec import Struct

from patina.cli.keyboard import Keyboard
from patina.cli.output import text_width, use_color

MOST_LINES: Final = 20  # of a long text that are shown at a time
QUIET_SECONDS: Final = 0.4
_FEWEST_LINES: Final = 3
_GAP: Final = " "
_FOCUS: Final = {"tab": 1, "right": 1, "back": -1, "left": -1}
_SCROLL: Final = ("up", "down", "space", "page up", "page down", "home", "end")
_UNKNOWN: Final = "Type one of the letters:"


class Option(Struct, frozen=True):
    """A choice: its `key`, a small letter, and its `words`."""

    key: str
    words: str

    @property
    def shown(self) -> str:
        """As it is read: "[A] Allow once"."""
        return f"[{self.key.upper()}] {self.words}"


class Menu:
    """Choices below a text that may be long, on standard error.

    `options` is called when they are about to be shown. `lines` are harmless and fit the window;
    they scroll.
    """

    def __init__(
        self,
        options: Callable[[], Sequence[Option]],
        environ: Mapping[str, str],
        lines: Sequence[str] = (),
    ) -> None:
        self._options = options
        self._choices: Sequence[Option] = ()
        self._lines = lines
        self._color = use_color(environ, sys.stderr)
        # An old console obeys no sequences: there everything is printed once more instead.
        self._redraws = sys.platform != "win32" or "WT_SESSION" in environ
        self._drawn: list[int] = []
        self._top = 0
        self._focus: int | None = None

    async def choose(self, keyboard: Keyboard, *, settle: bool) -> str:
        """Return the key of a choice, "esc", or "closed" at the end of the input.

        `settle`: nothing counts before the choices are shown, and they are shown once nothing was
        typed for a moment: who is typing something else answers no question that pops up.
        """
        if settle and await _typing(keyboard):
            return "closed"
        note = ""
        self._choices = self._options()
        try:
            while True:
                self._draw(note)
                chosen, note = self._pressed(await keyboard.key())
                if chosen:
                    return chosen
        finally:
            sys.stderr.write("\n")
            sys.stderr.flush()

    def _pressed(self, key: str) -> tuple[str, str]:
        """Return what a key chooses, "" for nothing yet, and what to say of it."""
        if key in ("esc", "closed"):
            return key, ""
        if key == "enter":
            return ("" if self._focus is None else self._choices[self._focus].key), ""
        if key in _SCROLL and self._lines:
            self._scroll(key)
        elif key in _FOCUS:
            self._move(_FOCUS[key])
        elif key in [choice.key for choice in self._choices]:
            return key, ""
        elif key:
            return "", _UNKNOWN
        return "", ""

    def _move(self, step: int) -> None:
        if self._focus is None:
            self._focus = 0 if step > 0 else len(self._choices) - 1
        else:
            self._focus = (self._focus + step) % len(self._choices)

    def _scroll(self, key: str) -> None:
        page = self._page()
        last = max(len(self._lines) - page, 0)
        steps = {"up": -1, "down": 1, "space": page, "page down": page, "page up": -page}
        top = {"home": 0, "end": last}.get(key, self._top + steps.get(key, 0))
        self._top = min(max(top, 0), last)

    def _page(self) -> int:
        return max(min(MOST_LINES, window()[1] - len(self._rows()) - 3), _FEWEST_LINES)

    def _rows(self) -> list[list[int]]:
        """Return the places of the choices, row by row, as the window is wide now."""
        rows: list[list[int]] = [[]]
        room = window()[0] - 1
        used = 0
        for place, choice in enumerate(self._choices):
            # A mark stands before and behind each, to show where the focus is.
            needed = text_width(choice.shown) + 2 + (len(_GAP) if rows[-1] else 0)
            if rows[-1] and used + needed > room:
                rows.append([])
                used = 0
            rows[-1].append(place)
            used += needed
        return rows

    def _draw(self, note: str) -> None:
        page = self._page()
        shown = [(line, line) for line in self._lines[self._top : self._top + page]]
        if self._lines:
            last = min(self._top + page, len(self._lines))
            where = f"  Lines {self._top + 1} to {last} of {len(self._lines)}. Space, arrows: more."
            shown.append((where, where))
        if note:
            shown.append((note, note))
        shown += [self._row(row) for row in self._rows()]
        width = window()[0]
        if self._drawn and self._redraws:
            up = sum(max(taken - 1, 0) // width + 1 for taken in self._drawn) - 1
            sys.stderr.write(f"\r\x1b[{up}A\x1b[J" if up else "\r\x1b[J")
        elif self._drawn:
            sys.stderr.write("\n")
        self._drawn = [text_width(plain) for plain, _ in shown]
        sys.stderr.write("\n".join(coloured for _, coloured in shown))
        sys.stderr.flush()

    def _row(self, places: Sequence[int]) -> tuple[str, str]:
        """Return a row of choices, plain and as it is written."""
        plain, written = [], []
        for place in places:
            words = self._choices[place].shown
            focused = place == self._focus
            text = f">{words}<" if focused else f" {words} "
            plain.append(text)
            written.append(f"\x1b[7m{text}\x1b[0m" if focused and self._color else text)
        return _GAP.join(plain).rstrip(), _GAP.join(written).rstrip()


async def _typing(keyboard: Keyboard) -> bool:
    """Wait until nothing was typed for a moment, and drop what was; whether the input ended."""
    while True:
        key = None
        with anyio.move_on_after(QUIET_SECONDS):
            key = await keyboard.key()
        if key is None or key == "closed":
            return key is not None


def window() -> tuple[int, int]:
    """Return columns and rows of the terminal of standard error."""
    try:
        size = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24
