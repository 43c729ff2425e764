"""What a server writes to stderr: kept in a file of bounded size, its end kept in memory."""

import os
import re
import time
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, Final

from patina.mcp.files import private_folder
from patina.mcp.text import shortened, visible
from patina.model.masking import Known

LARGEST: Final = 1024 * 1024
LONGEST_LINE: Final = 4096
TAIL_LINES: Final = 8
MASK: Final = "[redacted]"
_NAME: Final = re.compile(r"[a-z0-9_-]{1,32}")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])")


def file_name(server: str) -> str:
    """Return a file name without extension for `server`, whatever its name holds."""
    if _NAME.fullmatch(server) and not _RESERVED.fullmatch(server):
        return server
    import hashlib

    return "server-" + hashlib.sha256(server.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def log_path(state: Path, server: str) -> Path:
    """Return the log file of `server`; the older one has `.1` behind its name."""
    return state / "logs" / "mcp" / f"{file_name(server)}.log"


class ServerLog:
    """The log of one run of a server. `secrets` are values that never reach the file, in no form.

    Nothing here raises: a log that cannot be written must not stop a server.
    """

    def __init__(self, path: Path, secrets: Collection[str] = ()) -> None:
        self._path = path
        self._masked = Known(MASK)
        for secret in secrets:
            self._masked.add(secret)
        short = (text for text in secrets if len(text) > 3 and not Known.masks(text))
        self._short = sorted(short, key=len, reverse=True)
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._rest = b""
        self._file: BinaryIO | None = None
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take a piece of stderr."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._rest) > LONGEST_LINE:
            self._line(self._rest)
            self._rest = b""

    def note(self, text: str) -> None:
        """Add a line of Patina's own; it is not part of the tail."""
        self._write(f"-- {visible(self._masked(text))}")

    def tail(self) -> tuple[str, ...]:
        """Return the last lines of stderr, with nothing hidden in them and no secrets."""
        return tuple(self._tail)

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._rest:
            self._line(self._rest)
            self._rest = b""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _line(self, raw: bytes) -> None:
        text = raw.decode("utf-8", "replace").rstrip("\r").replace("\t", "    ")
        text = self._masked(text)
        for secret in self._short:
            text = text.replace(secret, MASK)
        text = shortened(visible(text), LONGEST_LINE)
        if text.strip():
            self._tail.append(text)
        self._write(text)

    def _write(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        data = f"{stamp} {text}\n".encode()
        try:
            if self._file is None or self._size + len(data) > LARGEST:
                self._open()
            if self._file is not None:
                self._file.write(data)
                self._size += len(data)
        except OSError:
            if self._file is not None:
                self._file.close()
            self._file = None

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
        private_folder(self._path.parent)
        size = self._path.stat().st_size if self._path.exists() else 0
        if size > LARGEST // 2:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            size = 0
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._file = os.fdopen(handle, "ab", buffering=0)
        self._size = size
