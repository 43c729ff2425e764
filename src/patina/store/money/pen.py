"""Writes lines of requests that no limit is about: without the index, which costs a short run more
than its lines do. Blocking, one thread.
"""

from pathlib import Path
from typing import Final

from patina.model.money import Entry, Hold
from patina.store import lock
from patina.store.files import FileSystem
from patina.store.money import record as records
from patina.store.money.lines import HoldLine, SettleLine, encode, hold_line, settle_line
from patina.store.money.log import Turnstile, UsageLog

# So many lines of one process are left for the index to read later; more would be felt then.
_MOST_UNREAD: Final = 128


class Pen:
    """Appends to the ledger of one data folder. What it wrote, any index reads like all else."""

    def __init__(self, data: Path, device: str, files: FileSystem, lock_wait: float) -> None:
        self._device = device
        self._lock_wait = lock_wait
        self._log = UsageLog(data, device, files)
        self._turnstile = Turnstile(data, files)
        self._open: dict[str, int] = {}  # how often each hold was settled
        self._written = 0

    @property
    def is_fit(self) -> bool:
        """Whether the next request may be written without the index."""
        return self._written < _MOST_UNREAD

    def wrote(self, hold: str) -> bool:
        """Whether the line of this hold is its own."""
        return hold in self._open

    def reserve(self, hold: Hold) -> None:
        """Write a hold down. Raises `StoreFault`, and `ValueError` for what is none."""
        line = hold_line(hold, self._device)
        records.of_hold(line)
        self._write(hold.day, line)
        self._open[hold.id] = 0

    def settle(self, entry: Entry, now: str) -> None:
        """Write down how one of its holds ended. Raises as `reserve`."""
        line = settle_line(entry, self._open[entry.id] + 1, now, self._device)
        records.of_settle(line)
        self._write(entry.day, line)
        self._open[entry.id] += 1

    def close(self) -> None:
        """Close all files."""
        self._turnstile.close()

    def _write(self, day: str, line: HoldLine | SettleLine) -> None:
        # Nothing is decided here, so a lock that others keep stops nothing.
        with self._turnstile.passed(lambda one: lock.acquire(one, self._lock_wait), make=True):
            self._log.append(day[:7], encode(line))
        self._written += 1
