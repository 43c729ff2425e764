"""What the plain chat says of MCP servers as it happens."""

import sys
from collections import deque
from typing import Final

from patina.model.events import ServerNotice
from patina.views.terminal_text import safe_line

_MOST: Final = 100


class ServerNews:
    """Shows what a person should know of servers, one dim line each, beside what is typed.

    A warning or an error at once; that a server is connected only where it was missed. While an
    answer is written it is kept until that is done. `hear` may be called from any thread.
    """

    def __init__(self, *, terminal: bool, dim: bool) -> None:
        self._terminal = terminal
        self._dim = dim
        self._missed: set[str] = set()
        self._kept: deque[str] = deque(maxlen=_MOST)
        self._prompt: str | None = None

    def hear(self, notice: ServerNotice) -> None:
        """Take a notice, and show it now or when the prompt is there again."""
        if notice.level == "success":
            if notice.server not in self._missed:
                return
            self._missed.discard(notice.server)
        else:
            self._missed.add(notice.server)
        self._kept.append(safe_line(notice.text))
        prompt = self._prompt
        if prompt is not None:
            self._show(prompt)

    def prompting(self, prompt: str | None) -> None:
        """Show what was kept; from now on a line is typed behind `prompt`, or (None) none is."""
        self._show(None)
        self._prompt = prompt

    def _show(self, prompt: str | None) -> None:
        while self._kept:
            text = self._kept.popleft()
            line = f"\x1b[2m{text}\x1b[0m" if self._dim else text
            if not self._terminal:
                print(line, file=sys.stderr, flush=True)
            elif prompt is None:
                print(line, flush=True)
            else:
                # Over the line that is being typed, which then stands below.
                print(f"\r{line}\n{prompt}{_typed()}", end="", flush=True)


def _typed() -> str:
    """Return what of the line was typed so far, where the system tells."""
    readline = sys.modules.get("readline")
    return readline.get_line_buffer() if readline is not None else ""
