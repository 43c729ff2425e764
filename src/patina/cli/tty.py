"""Questions to the person at the terminal, if there is one."""

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from functools import cache
from typing import Final, TextIO

import anyio
import anyio.to_thread

from patina.cli.keyboard import Keyboard, keyboard

_DEVICE: Final = "CONIN$" if os.name == "nt" else "/dev/tty"


class Person:
    """Whoever sits at the controlling terminal. Questions go to stderr, never to stdout."""

    def __init__(self) -> None:
        self._input = _controlling_terminal()

    @property
    def present(self) -> bool:
        """Whether anybody can be asked."""
        return self._input is not None

    async def ask(self, question: str, *, fresh: bool = True) -> str:
        """Print `question` and return the line that is typed; "" at the end of the input.

        `fresh` drops what was typed before the question was there to be read.
        """
        assert self._input is not None
        if fresh:
            _forget_typed(self._input)
        sys.stderr.write(question)
        sys.stderr.flush()
        if sys.platform == "win32":
            # A console cannot be waited for: a cancelled read takes the next line with it.
            return await anyio.to_thread.run_sync(self._input.readline, abandon_on_cancel=True)
        await anyio.wait_readable(self._input)
        return self._input.readline()  # a terminal hands out whole lines

    def keys(self, environ: Mapping[str, str]) -> AbstractContextManager[Keyboard | None]:
        """Have single keys while the body runs, as `keyboard`."""
        assert self._input is not None
        return keyboard(self._input, environ)

    async def confirm(self, question: str) -> bool:
        """Ask a question whose answer is no unless it is "y" or "yes"."""
        return (await self.ask(f"{question} [y/N] ")).strip().lower() in ("y", "yes")


@cache
def anybody() -> bool:
    """Whether anybody sits at the controlling terminal. It is looked for once in a process."""
    return Person().present


def _controlling_terminal() -> TextIO | None:
    if not sys.stderr.isatty():
        return None
    if sys.stdin is not None and sys.stdin.isatty():
        return sys.stdin
    try:
        return open(_DEVICE, encoding="utf-8")  # noqa: PTH123 - open while the process lives
    except OSError:
        return None


def _forget_typed(terminal: TextIO) -> None:
    """Drop what was typed before the question was there to be read: it is no answer to it."""
    if sys.platform == "win32":
        return
    import termios

    with suppress(termios.error, OSError, ValueError):
        termios.tcflush(terminal, termios.TCIFLUSH)
