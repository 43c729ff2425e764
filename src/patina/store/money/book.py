"""The ledger itself: lines in files, limits checked by an index over them. Blocking, one thread.

Who writes passes a turnstile that all processes share, follows the files to their ends, decides,
appends a line and syncs it, and follows that too. So the index is never ahead of the files, and may
be deleted at any time; after a crash at any point the next process reads what was written.

what is wrong with the index               what is done
damaged, or of another version             removed, and made anew from the files
full disk, no right, I/O error, busy       this process goes on with one in memory
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

import apsw

from patina.model.faults import StoreFault
from patina.model.money import Entry, Hold, Limit, Standing
from patina.ports.ledger import OverLimit
from patina.store.files import FileSystem
from patina.store.index.errors import DamagedError, TroubleError, sorted_errors
from patina.store.money import record as records
from patina.store.money.index import STEP, Index
from patina.store.money.lines import (
    AnyLine,
    encode,
    hold_line,
    settle_line,
    told_line,
)
from patina.store.money.log import Turnstile, UsageLog
from patina.store.money.place import LONGEST_PAUSE, Place, acquire
from patina.store.money.record import Record

LOCK_WAIT: Final = 5.0
_MOST_REMEMBERED: Final = 1_000
# The index as it is, one made anew, one in memory.
_ATTEMPTS: Final = 3

_Answer = TypeVar("_Answer")


class Book:
    """The ledger of one data folder. `now` tells UTC in ISO 8601."""

    def __init__(
        self,
        data: Path,
        state: Path,
        device: str,
        files: FileSystem,
        now: Callable[[], str],
        lock_wait: float = LOCK_WAIT,
        step: int = STEP,
    ) -> None:
        self._data = data
        self._device = device
        self._now = now
        self._lock_wait = lock_wait
        self._step = step
        self._log = UsageLog(data, device, files)
        self._turnstile = Turnstile(data, files)
        self._place = Place(state)
        self._index: Index | None = None
        self._limits: dict[str, tuple[Limit, ...]] = {}

    def close(self) -> None:
        """Close all files."""
        self._drop()
        self._turnstile.close()

    def rebuild(self) -> None:
        """Make the index anew from the files. Raises `StoreFault`."""
        with self._passed(make=False):
            self._drop()
            self._place.remove()
        self._do(lambda _: None)

    def reserve(self, hold: Hold, limits: Sequence[Limit]) -> tuple[Standing, ...]:
        """Write a hold down if it fits; see `Ledger.reserve`."""
        line = hold_line(hold, self._device)
        records.of_hold(line)  # raises where it is none
        writing = self._writing(hold.day, line)

        def work(index: Index) -> tuple[Standing, ...]:
            if not writing.done:
                for standing in index.standing(limits, hold.day):
                    if not records.fits(standing, hold.amount):
                        raise OverLimit(standing)
                writing.write()
            return index.standing(limits, hold.day, self._read_back(index, hold.id))

        answer = self._do(work, write=True, alone=bool(limits))
        self._remember(hold.id, tuple(limits))
        return answer

    def settle(self, entry: Entry) -> tuple[Standing, ...]:
        """Write down how a hold ended; see `Ledger.settle`."""
        records.of_settle(settle_line(entry, 1, "", self._device))  # raises where it is none
        writing = self._writing(entry.day, None)

        def work(index: Index) -> tuple[Standing, ...]:
            known = index.find(entry.id)
            if not writing.done:
                rev = 1 if known is None else known.rev + 1
                writing.write(settle_line(entry, rev, self._now(), self._device))
            known = self._read_back(index, entry.id)
            return index.standing(self._limits.get(entry.id, ()), known.day, known)

        return self._do(work, write=True)

    def told(self, limit: Limit, period: str, share: Decimal) -> bool:
        """Note that the user is told of a limit; see `Ledger.told`."""
        line = told_line(limit, period, share, self._now(), self._device)
        writing = self._writing(line.ts, line)

        def work(index: Index) -> bool:
            if writing.done or not index.is_told(line):
                writing.write()
                return True
            return False

        return self._do(work, write=True)

    def ask(self, work: Callable[[Index], _Answer]) -> _Answer:
        """Return what `work` reads. Raises `StoreFault`."""
        return self._do(work)

    def _read_back(self, index: Index, request: str) -> Record:
        """Return what is known of a request of which a line was just written."""
        while index.follow(self._now(), self._step):
            pass
        known = index.find(request)
        if known is None:
            raise StoreFault(
                "What was saved about a request's cost could not be read back.",
                hint=f"Check the disk or network drive of {self._data}.",
            )
        return known

    def _writing(self, day: str, line: AnyLine | None) -> "_Writing":
        return _Writing(self._log, day[:7], line)

    def _remember(self, hold: str, limits: tuple[Limit, ...]) -> None:
        self._limits[hold] = limits
        while len(self._limits) > _MOST_REMEMBERED:
            del self._limits[next(iter(self._limits))]

    def _do(
        self, work: Callable[[Index], _Answer], *, write: bool = False, alone: bool = False
    ) -> _Answer:
        """Return what `work` does with an index that has all that was written.

        It may be called again after an error of the index. `alone`: it must not be done where
        other processes cannot be kept away.
        """
        for _ in range(_ATTEMPTS):
            try:
                while True:
                    with self._passed(make=write) as passed:
                        if alone and not passed and self._place.in_memory:
                            raise _not_alone(self._data)
                        done = self._step_on(work)
                    if done:
                        return done[0]
                    # Who waits tries every now and then, and would never meet an open door.
                    time.sleep(LONGEST_PAUSE)
            except TroubleError as error:
                self._recover(error)
        raise StoreFault(
            "What was spent so far could not be read, so nothing was sent.",
            hint="Try again; `patina doctor` says what is wrong with the disk.",
        )

    def _step_on(self, work: Callable[[Index], _Answer]) -> tuple[_Answer] | None:
        """Do the work; None where there is more to be read first."""
        with sorted_errors():
            if self._index is None:
                self._index = Index(self._place.open(self._lock_wait), self._data)
            index = self._index
            with _transaction(index.db):
                if index.follow(self._now(), self._step):
                    return None
                return (work(index),)

    @contextmanager
    def _passed(self, *, make: bool) -> Iterator[bool]:
        def wait(descriptor: int) -> bool:
            if not acquire(descriptor, self._lock_wait):
                raise StoreFault(
                    "Another program has kept the record of spending locked for "
                    f"{self._lock_wait:.0f} seconds, so nothing was sent.",
                    hint="Look for a Patina that hangs (or was paused) and end it.",
                )
            return True

        with self._turnstile.passed(wait, make=make) as passed:
            yield passed

    def _recover(self, error: TroubleError) -> None:
        self._drop()
        if isinstance(error, DamagedError) and not self._place.in_memory:
            self._place.remove()
        else:
            self._place.give_up()

    def _drop(self) -> None:
        if self._index is not None:
            self._index.db.close()
            self._index = None


class _Writing:
    """A line that is written once, however often the index fails meanwhile."""

    def __init__(self, log: UsageLog, month: str, line: AnyLine | None) -> None:
        self._log = log
        self._month = month
        self._line = line
        self.done = False

    def write(self, line: AnyLine | None = None) -> None:
        line = line or self._line
        if self.done or line is None:
            return
        self._log.append(self._month, encode(line))
        self.done = True


@contextmanager
def _transaction(db: apsw.Connection) -> Iterator[None]:
    """A transaction. What was read stays read, also where the work is refused."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except (OverLimit, StoreFault):
        db.execute("COMMIT")
        raise
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _not_alone(data: Path) -> StoreFault:
    return StoreFault(
        "Spending limits cannot be kept: neither the state folder can be written, nor a file of "
        f"{data} be locked. Nothing was sent.",
        hint="Make the state folder writable, or set PATINA_HOME to a folder on a local disk.",
    )
