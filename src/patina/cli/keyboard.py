"""Single keys of the terminal, pressed without Enter."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, TextIO

import anyio

_ESC_SECONDS: Final = 0.05  # within which the rest of a key's sequence follows its ESC
_POLL_SECONDS: Final = 0.03  # a console cannot be waited for without a thread that stays behind
# What terminals send for keys. Source: XTerm Control Sequences, "PC-Style Function Keys".
_SEQUENCES: Final = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[C": "right",
    "\x1bOC": "right",
    "\x1b[D": "left",
    "\x1bOD": "left",
    "\x1b[Z": "back",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\x1b[F": "end",
    "\x1bOF": "end",
    "\x1b[4~": "end",
    "\x1b": "esc",
    "\n": "enter",
    "\r": "enter",
    "\t": "tab",
    " ": "space",
    "\x04": "closed",
}
# The second character of what a Windows console sends for keys that are none of text.
_CONSOLE: Final = {
    "H": "\x1b[A",
    "P": "\x1b[B",
    "M": "\x1b[C",
    "K": "\x1b[D",
    "\x0f": "\x1b[Z",
    "I": "\x1b[5~",
    "Q": "\x1b[6~",
    "G": "\x1b[H",
    "O": "\x1b[F",
}


class Keyboard:
    """Keys one by one, of a terminal that hands out each as it is pressed."""

    def __init__(self, terminal: TextIO) -> None:
        self._descriptor = terminal.fileno()

    async def key(self) -> str:
        """Return the next key: a small letter or other character, or a name such as "enter".

        "" is a key that means nothing here, or several at once: what is pasted presses no key.
        "closed" is the end of the input. Ctrl+C is none: it stays the signal that it is.
        """
        return key_of(await self._read())

    async def _read(self) -> str:
        if sys.platform == "win32":
            return await _console_keys()
        data = await self._bytes()
        if data == b"\x1b":
            with anyio.move_on_after(_ESC_SECONDS):
                data += await self._bytes()
        return data.decode("utf-8", "replace")

    async def _bytes(self) -> bytes:
        await anyio.wait_readable(self._descriptor)
        try:
            return os.read(self._descriptor, 1024) or b"\x04"
        except OSError:
            return b"\x04"  # the terminal is gone


def key_of(typed: str) -> str:
    """Return the key whose characters were `typed` at once, as `Keyboard.key` does.

    A key that repeats is one; so is a letter with Enter behind it.
    """
    body = typed.rstrip("\r\n") or typed[:1]
    for sequence, name in _SEQUENCES.items():
        if body == sequence * max(len(body) // len(sequence), 1):
            return name
    same = len(set(body)) == 1
    return body[0].lower() if same and body.isprintable() else ""


@contextmanager
def keyboard(terminal: TextIO, environ: Mapping[str, str]) -> Iterator[Keyboard | None]:
    """Have `terminal` hand out single keys, unseen, while the body runs; None where it cannot.

    What was typed before is dropped. The terminal is as it was afterwards, whatever happens.
    """
    if environ.get("TERM") == "dumb":
        yield None
        return
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            msvcrt.getwch()
        yield Keyboard(terminal)
        return
    import termios

    descriptor = terminal.fileno()
    try:
        before = termios.tcgetattr(descriptor)
        single = termios.tcgetattr(descriptor)
        single[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        single[6][termios.VMIN], single[6][termios.VTIME] = 1, 0
        # Stopped with these settings, Patina would leave a terminal that shows nothing.
        single[6][termios.VSUSP] = b"\x00"
        termios.tcsetattr(descriptor, termios.TCSANOW, single)
    except (termios.error, OSError):
        yield None
        return
    try:
        with suppress(termios.error):
            termios.tcflush(descriptor, termios.TCIFLUSH)
        yield Keyboard(terminal)
    finally:
        with suppress(termios.error, OSError):
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


async def _console_keys() -> str:
    """Return what waits in a Windows console, in the sequences of other terminals."""
    typed = ""
    if sys.platform == "win32":
        import msvcrt

        while not msvcrt.kbhit():  # noqa: ASYNC110 - nothing else tells of a key
            await anyio.sleep(_POLL_SECONDS)
        while msvcrt.kbhit():
            character = msvcrt.getwch()
            if character in ("\x00", "\xe0"):
                character = _CONSOLE.get(msvcrt.getwch(), "\x00")
            typed += character
    return typed
