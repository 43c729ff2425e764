"""What servers of a Patina that crashed left running, and its end.

Each Patina that starts servers has a file in `<state>/mcp/running`: a line about itself, then one
for every server process that begins or ends. It holds a lock on that file as long as it lives, so
a file that can be locked is of one that is dead. On Windows job objects end servers with their
Patina; what is done here is then a second chance.
"""

import os
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Final

import anyio.to_thread
import msgspec
from msgspec import Struct

from patina.mcp.files import private_folder
from patina.mcp.survivors import ServerProcess, end_survivors

# A file without a line may be of one who is about to lock it. Seconds.
_FRESH: Final = 60.0
_LARGEST: Final = 16 * 1024 * 1024
# Windows locks ranges of bytes, and a locked byte cannot be read: lock one no file ever reaches.
_FAR: Final = 1 << 62


class _Owner(Struct, frozen=True):
    """The first line: whose file it is, for people, and what marks the children of servers."""

    run: str
    pid: int


class Running:
    """The server processes of this Patina, noted in `folder`. One for each folder: `running_in`."""

    def __init__(self, folder: Path) -> None:
        self.run = os.urandom(16).hex()
        self._path = folder / f"{self.run}.jsonl"
        self._alive: set[int] = set()
        self._marks = count(1)
        self._file: int | None = None
        self._opening = Lock()

    def mark(self) -> str:
        """Return what marks the next process of a server, and all that comes from it."""
        return f"{self.run}.{next(self._marks)}"

    def prepare(self) -> None:
        """Make ready what `began` needs. Reads and writes files: call it from a worker thread.

        A record that cannot be written must not stop a server; then there is none.
        """
        import psutil  # noqa: F401 - for `began`, which must not wait for it

        with suppress(OSError):
            self._open()

    def began(self, pid: int, server: str) -> None:
        """Note the process `pid` of `server`. Does not wait."""
        import psutil

        try:
            created = psutil.Process(pid).create_time()
        except psutil.Error:
            created = time.time()  # gone already, which its children may not be
        with suppress(OSError):
            self._open()  # again, where the last server ended since `prepare`
            self._write(ServerProcess(pid, created, server))
            self._alive.add(pid)

    def ended(self, pid: int) -> None:
        """Note that nothing of the process `pid` is left; after the last one, no file is."""
        if pid not in self._alive:
            return
        self._alive.remove(pid)
        with suppress(OSError):
            self._write(ServerProcess(pid, ended=True))
            if not self._alive:
                self._close()

    def _open(self) -> None:
        with self._opening:
            if self._file is not None:
                return
            private_folder(self._path.parent)
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                locked = _lock(file)
            except OSError:
                locked = False
            if not locked:
                # Without a lock others would take it for a dead Patina's.
                os.close(file)
                self._path.unlink(missing_ok=True)
                return
            self._file = file
            self._write(_Owner(self.run, os.getpid()))

    def _close(self) -> None:
        with self._opening:
            if self._file is not None:
                file, self._file = self._file, None
                os.close(file)
                self._path.unlink(missing_ok=True)

    def _write(self, line: _Owner | ServerProcess) -> None:
        if self._file is not None:
            os.write(self._file, msgspec.json.encode(line) + b"\n")


def running_folder(state: Path) -> Path:
    """Return where it is noted what runs."""
    return state / "mcp" / "running"


_runnings: Final[dict[Path, Running]] = {}


def running_in(folder: Path) -> Running:
    """Return this process's one record in `folder`."""
    return _runnings.setdefault(folder, Running(folder))


async def reap(state: Path) -> int:
    """End what dead Patinas left running, and return how many processes that were.

    Takes up to some seconds, and none where nothing was left: run it in the background.
    Cancelling it leaves the rest to the next time.
    """
    ended = 0
    for path in await anyio.to_thread.run_sync(_records, running_folder(state)):
        file = await anyio.to_thread.run_sync(_take, path)
        if file is None:
            continue
        try:
            run, servers = await anyio.to_thread.run_sync(_read, file)
            if servers or run:
                ended += await end_survivors(run, servers)
        finally:
            os.close(file)
        # After the lock is gone: Windows removes no open file. Whoever locks it finds nothing.
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return ended


def _records(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.jsonl"))
    except OSError:
        return []


def _take(path: Path) -> int | None:
    """Return the open, locked file of a dead Patina; None where it is none of the kind."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        status = os.fstat(file)
        fresh = status.st_size == 0 and time.time() - status.st_mtime < _FRESH
        if not fresh and _lock(file):
            return file
    except OSError:
        pass  # a disk without locks: whether its owner lives is not known
    os.close(file)
    return None


def _read(file: int) -> tuple[str, list[ServerProcess]]:
    """Return the mark and the servers that had not ended. What cannot be read is left out."""
    run, servers, content = "", dict[int, ServerProcess](), b""
    with suppress(OSError), os.fdopen(os.dup(file), "rb") as stream:
        stream.seek(0)
        content = stream.read(_LARGEST)
    for line in content.splitlines():
        with suppress(msgspec.MsgspecError, UnicodeError):
            if not run:
                run = msgspec.json.decode(line, type=_Owner).run
                continue
            server = msgspec.json.decode(line, type=ServerProcess)
            servers.pop(server.pid, None)
            if not server.ended and server.pid > 1:
                servers[server.pid] = server
    return run, list(servers.values())


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        """Lock the open file, False where another has. Raises `OSError` where nothing locks."""
        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        """Lock the open file, False where another has. Raises `OSError` where nothing locks."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
