"""Opens the index of the ledger, as a file where that is safe, else in memory. Blocking."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from patina.store import lock
from patina.store.files import FileSystem, make_folder
from patina.store.index.errors import sorted_errors
from patina.store.index.mounts import is_remote
from patina.store.money.schema import prepare

_NAME: Final = "holds.db"
_BESIDE: Final = ("-wal", "-shm", "-journal")
_PAGE_CACHE_KIB: Final = 8 << 10
_LOG_BYTES: Final = 16 << 20
# Waiting is by trying, so that nobody waits for ever. Short pauses: a turn takes half a
# millisecond, and eight processes may want one.
_SHORTEST_PAUSE_NS: Final = 200_000
_LONGEST_PAUSE_NS: Final = 1_500_000
LONGEST_PAUSE: Final = 2 * _LONGEST_PAUSE_NS / 1e9


def acquire(descriptor: int, wait: float) -> bool:
    """Lock an open file within `wait` seconds, at a moment's notice. Raises `OSError` if nothing
    locks there.
    """
    deadline = time.monotonic() + wait
    while not lock.try_lock(descriptor):
        if time.monotonic() >= deadline:
            return False
        # The last digits of the clock are as good as dice, and `random` costs a millisecond.
        luck = time.monotonic_ns() % (_LONGEST_PAUSE_NS - _SHORTEST_PAUSE_NS)
        time.sleep((_SHORTEST_PAUSE_NS + luck) / 1e9)
    return True


class Place:
    """Where holds.db is. After `give_up` it is in the memory of this process only."""

    def __init__(self, state: Path) -> None:
        self.file = state / _NAME
        self._opened: tuple[int, int] | None = None
        self._in_memory: bool | None = None

    @property
    def in_memory(self) -> bool:
        """Whether nobody else sees what is written to it: then only a lock keeps others away."""
        if self._in_memory is None:
            # A write-ahead log needs memory that all processes share.
            self._in_memory = is_remote(self.file.parent)
        return self._in_memory

    def give_up(self) -> None:
        """Keep the index in memory from now on."""
        self._in_memory = True

    def open(self, patience: float) -> apsw.Connection:
        """Return a connection. Raises `DamagedError` and `UnavailableError`."""
        with sorted_errors():
            if self.in_memory:
                db = apsw.Connection(":memory:")
                prepare(db)
                return db
            if not os.path.lexists(self.file):
                # The log of an index that was removed must not meet the next one.
                self._remove(*_BESIDE)
                make_folder(FileSystem(), self.file.parent)
            db = apsw.Connection(str(self.file))
            try:
                db.set_busy_timeout(int(patience * 1000))
                self._prepare(db)
            except BaseException:
                db.close()
                raise
            self._opened = _identity(self.file)
            return db

    def remove(self) -> None:
        """Remove the file that was opened, or could not be, unless another is there now."""
        if self._opened is None or _identity(self.file) == self._opened:
            with suppress(OSError):
                self._remove("", *_BESIDE)
        self._opened = None

    def _prepare(self, db: apsw.Connection) -> None:
        db.pragma("cache_size", -_PAGE_CACHE_KIB)
        if db.pragma("journal_mode") != "wal":
            if os.name == "posix":
                self.file.chmod(0o600)
            db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "normal")
        db.pragma("journal_size_limit", _LOG_BYTES)
        db.execute("BEGIN IMMEDIATE")
        prepare(db)
        db.execute("COMMIT")

    def _remove(self, *endings: str) -> None:
        for ending in endings:
            self.file.with_name(self.file.name + ending).unlink(missing_ok=True)


def _identity(file: Path) -> tuple[int, int] | None:
    """Return what tells the file from another that takes its place, None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
