"""One log of JSON lines in `state/logs`, for all processes of this user."""

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from patina.config.paths import private_folder

if sys.platform != "win32":
    import fcntl

MAX_BYTES: Final = 5_000_000
KEPT_FILES: Final = 3
MAX_TEXT: Final = 64_000
LONGEST_WORD: Final = 4_000
RETRY_SECONDS: Final = 60.0
LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_MCP_LOGGERS: Final = ("mcp", "patina.mcp")


class JsonLinesHandler(logging.Handler):
    """Appends `{"ts", "level", "logger", "msg", "pid", …}` lines to `path`.

    `ts` is UTC with milliseconds; a record's `data` (a dictionary given in `extra`) stands under
    "data", an exception under "error" with type, message and traceback. Every line passes
    `redact`. At `max_bytes` the file becomes `path.1`, and so on up to `KEPT_FILES`. The file is
    opened by the first record. Nothing here ever fails the program: where the disk is full or
    read-only, records are dropped and the file is tried again after `RETRY_SECONDS`.
    """

    def __init__(
        self, path: Path, redact: Callable[[str], str], max_bytes: int = MAX_BYTES
    ) -> None:
        super().__init__()
        self._path = path
        self._redact = redact
        self._max_bytes = max_bytes
        self._descriptor: int | None = None
        self._silent_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or drop it."""
        if time.monotonic() < self._silent_until:
            return
        try:
            line = self._redact(_encode(record)) + "\n"
            self._write(line.encode("utf-8", "replace"))
        except OSError:
            self._silent_until = time.monotonic() + RETRY_SECONDS
            self._forget()
        except Exception:  # noqa: BLE001, S110 - a record that cannot be shown must not fail what logs it
            pass

    def close(self) -> None:
        """Close the file."""
        self._forget()
        super().close()

    def _write(self, line: bytes) -> None:
        # Another process may have rotated the file since.
        if self._descriptor is not None and not self._is_current(self._descriptor):
            self._forget()
        descriptor = self._open() if self._descriptor is None else self._descriptor
        if os.fstat(descriptor).st_size + len(line) > self._max_bytes:
            self._rotate(descriptor)
            descriptor = self._open() if self._descriptor is None else self._descriptor
        # One write to a file opened for appending: lines of several processes do not mix.
        os.write(descriptor, line)

    def _open(self) -> int:
        private_folder(self._path.parent)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor

    def _forget(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except OSError:
            return False

    def _rotate(self, descriptor: int) -> None:
        """Rename the files by one, unless another process does so at this moment."""
        if sys.platform == "win32":
            self._forget()  # an open file cannot be renamed there, neither by others
            with suppress(PermissionError):
                self._shift()
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if self._is_current(descriptor):
            self._shift()
        self._forget()

    def _shift(self) -> None:
        for number in range(KEPT_FILES, 0, -1):
            source = self._numbered(number - 1)
            if source.exists():
                source.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def install_log(
    path: Path, level: str, redact: Callable[[str], str], *, debug_mcp: bool = False
) -> None:
    """Send all records to the log at `path` and to nothing else.

    `level` is a key of `LEVELS`; libraries speak from "warning" on, unless `level` is "debug".
    `debug_mcp` lets all of MCP speak. Calling it again replaces the log.
    """
    remove_log()
    root = logging.getLogger()
    root.addHandler(JsonLinesHandler(path, redact))
    chosen = LEVELS.get(level, logging.INFO)
    root.setLevel(chosen if chosen == logging.DEBUG else max(chosen, logging.WARNING))
    logging.getLogger("patina").setLevel(chosen)
    for name in _MCP_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG if debug_mcp else logging.NOTSET)


def remove_log() -> None:
    """Close the log; records are dropped from now on."""
    root = logging.getLogger()
    for handler in [*root.handlers]:
        if isinstance(handler, JsonLinesHandler):
            root.removeHandler(handler)
            handler.close()
    # Without this, Python prints records without a handler on stderr.
    if not any(isinstance(handler, logging.NullHandler) for handler in root.handlers):
        root.addHandler(logging.NullHandler())


def _encode(record: logging.LogRecord) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    line: dict[str, object] = {
        "ts": f"{moment}.{int(record.msecs):03d}Z",
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": _message(record),
        "pid": record.process,
    }
    data = getattr(record, "data", None)
    if data is not None:
        line["data"] = data
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        line["error"] = {
            "type": type(error).__name__,
            "message": _clean(str(error)),
            # The standard traceback shows lines of code, never the values of variables.
            "traceback": _clean("".join(traceback.format_exception(error))),
        }
    try:
        return msgspec.json.encode(line, enc_hook=repr).decode()
    except (TypeError, ValueError, RecursionError):
        line.pop("data", None)
        return msgspec.json.encode(line).decode()


def _message(record: logging.LogRecord) -> str:
    try:
        return _clean(record.getMessage())
    except (TypeError, ValueError, KeyError):
        return _clean(f"{record.msg} {record.args!r}")


def _clean(text: str) -> str:
    if len(text) > MAX_TEXT:
        # Between two words, where there are some: half a secret would pass the mask.
        ends = (text.rfind(mark, MAX_TEXT - LONGEST_WORD, MAX_TEXT) for mark in (" ", "\n", '"'))
        end = max(ends)
        text = f"{text[: end if end > 0 else MAX_TEXT]}… ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode()
