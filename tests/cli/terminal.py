"""The real command in a real terminal, typed into and read from."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

SECONDS = 60.0
CTRL_C = "\x03"
CTRL_D = "\x04"


class Terminal:
    """A `patina` process whose three standard streams are one pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._shown = b""
        self._read_to = 0

    @property
    def shown(self) -> str:
        """All that was printed so far, as the terminal would get it."""
        return self._shown.decode("utf-8", "replace")

    @property
    def descriptor(self) -> int:
        """Our side of the pseudo-terminal."""
        return self._descriptor

    def see(self, mark: str) -> str:
        """Wait until `mark` is printed after what was seen last; what came up to it."""
        wanted = mark.encode()
        deadline = time.monotonic() + SECONDS
        while (place := self._shown.find(wanted, self._read_to)) < 0:
            left = deadline - time.monotonic()
            more = left > 0 and self._more(left)
            assert more, f"no {mark!r} in {self._shown[self._read_to :].decode(errors='replace')!r}"
        begin, self._read_to = self._read_to, place + len(wanted)
        return self._shown[begin : self._read_to].decode("utf-8", "replace")

    def press_until(self, key: str, mark: str) -> None:
        """Press `key`, again each second, until `mark` is printed.

        A key that arrives between the printing of a prompt and the wait for its line is noticed
        only with the next one. Nobody types so fast but a test.
        """
        wanted = mark.encode()
        deadline = time.monotonic() + SECONDS
        while self._shown.find(wanted, self._read_to) < 0:
            assert time.monotonic() < deadline, self.shown
            self.type(key)
            pressed = time.monotonic()
            while self._shown.find(wanted, self._read_to) < 0 and time.monotonic() < pressed + 1:
                self._more(0.1)
                assert self.process.poll() is None, f"it ended: {self.shown}"
        self.see(mark)

    def type(self, text: str) -> None:
        """Type `text`; a newline is the Enter key."""
        os.write(self._descriptor, text.encode())

    def end(self) -> int:
        """Wait for the end of the process; its exit code."""
        deadline = time.monotonic() + SECONDS
        while self._more(max(deadline - time.monotonic(), 0)):
            pass
        return self.process.wait(max(deadline - time.monotonic(), 0.1))

    def _more(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        piece = b""
        if ready:
            with suppress(OSError):  # Linux says so when the other side is closed
                piece = os.read(self._descriptor, 65536)
        self._shown += piece
        return bool(piece)


@contextmanager
def terminal(
    *arguments: str,
    variables: dict[str, str] | None = None,
    program: tuple[str, ...] = ("-m", "patina"),
) -> Iterator[Terminal]:
    """Run `patina`, or another Python program, with these arguments; its controlling terminal has
    100 columns.
    """
    pty = pytest.importorskip("pty")
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    # A shell would do the same: without it the process has no controlling terminal, and no Ctrl+C.
    code = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *program, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", **(variables or {})},
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(SECONDS)
        os.close(ours)
