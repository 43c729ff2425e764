"""The ledger on disk, for callers that must not block."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import anyio

from patina.model.faults import StoreFault
from patina.model.money import Entry, Hold, Limit, Standing, Sum, Top
from patina.ports.ledger import GroupBy
from patina.store.files import FileSystem
from patina.store.layout import device_id

if TYPE_CHECKING:
    from patina.store.money.book import Book
    from patina.store.money.pen import Pen

# A disk that has not answered for so long is reported; what was handed to it may yet be written.
_PATIENCE = 60.0
_CLOSING = 10.0
_MOST_WAITING = 256
_PAGE = 500

_Answer = TypeVar("_Answer")


def utc_now() -> str:
    """Return UTC now as ISO 8601 with milliseconds and "Z"."""
    return f"{datetime.now(tz=UTC).isoformat(timespec='milliseconds')[:-6]}Z"


class FileLedger:
    """A `Ledger` in files (`docs/transcripts.md`, Money).

    `data` may be synced between machines, `state` must not be. Nothing is read or loaded before
    the first use; one thread then does everything, in order. What was begun is finished even if
    its caller is cancelled. `now` tells UTC as ISO 8601; `lock_wait` is how many seconds other
    processes are waited for.
    """

    def __init__(
        self,
        data: Path,
        state: Path,
        device: str = "",
        *,
        now: Callable[[], str] = utc_now,
        files: FileSystem | None = None,
        lock_wait: float = 5.0,
    ) -> None:
        self._data = data
        self._state = state
        self._device = device
        self._now = now
        self._files = files or FileSystem()
        self._lock_wait = lock_wait
        self._waiting = anyio.Semaphore(_MOST_WAITING)
        self._thread: ThreadPoolExecutor | None = None
        self._book: Book | None = None
        self._pen: Pen | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish what is under way and end the thread, within 10 seconds."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is None:
            return
        drained = False
        with anyio.move_on_after(_CLOSING, shield=True):
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            drained = True
        thread.shutdown(wait=drained)

    async def reserve(self, hold: Hold, limits: Sequence[Limit]) -> tuple[Standing, ...]:
        """Write a hold down if it fits; see `Ledger.reserve`."""
        limits = tuple(limits)

        def work() -> tuple[Standing, ...]:
            pen = self._held_pen()
            if limits or not pen.is_fit:
                return self._open().reserve(hold, limits)
            pen.reserve(hold)
            return ()

        return await self._do(work)

    async def settle(self, entry: Entry) -> tuple[Standing, ...]:
        """Write down how a hold ended; see `Ledger.settle`."""

        def work() -> tuple[Standing, ...]:
            pen = self._held_pen()
            if not pen.wrote(entry.id):
                return self._open().settle(entry)
            pen.settle(entry, self._now())
            return ()

        return await self._do(work)

    async def standing(self, limits: Sequence[Limit], day: str) -> tuple[Standing, ...]:
        """Return how far limits are used; see `Ledger.standing`."""
        limits = tuple(limits)
        return await self._run(lambda book: book.ask(lambda index: index.standing(limits, day)))

    async def sums(
        self, by: GroupBy, since: str = "", until: str = "", **only: str
    ) -> tuple[Sum, ...]:
        """Return sums of requests; see `Ledger.sums`."""

        def work(book: "Book") -> tuple[Sum, ...]:
            from patina.store.money.sums import check_narrowing, sums

            check_narrowing(only)
            return book.ask(lambda index: sums(index.db, by, since, until, only))

        return await self._run(work)

    async def top(
        self, by: GroupBy, most: int, since: str = "", until: str = "", **only: str
    ) -> Top:
        """Return the dearest sums; see `Ledger.top`."""

        def work(book: "Book") -> Top:
            from patina.store.money.sums import check_narrowing, top

            check_narrowing(only)
            return book.ask(lambda index: top(index.db, by, most, since, until, only))

        return await self._run(work)

    async def entries(
        self, take: Callable[[Sequence[Entry]], None], since: str = "", until: str = ""
    ) -> None:
        """Give all requests to `take`, on the event loop; see `Ledger.entries`."""
        after = ("", "", 0)
        while True:
            page = partial(_page, since=since, until=until, after=after)
            entries, after = await self._run(page)
            if not entries:
                return
            take(entries)

    async def told(self, limit: Limit, period: str, share: Decimal) -> bool:
        """Note that the user is told of a limit; see `Ledger.told`."""
        return await self._run(lambda book: book.told(limit, period, share))

    async def rebuild(self) -> None:
        """Make the index anew from the files. Raises `StoreFault`."""
        await self._run(lambda book: book.rebuild())

    async def _run(self, work: "Callable[[Book], _Answer]") -> _Answer:
        return await self._do(lambda: work(self._open()))

    async def _do(self, work: Callable[[], _Answer]) -> _Answer:
        async with self._waiting:
            if self._closed:
                raise StoreFault(
                    "The record of spending is closed, so nothing was sent.",
                    hint="Start Patina again.",
                )
            self._thread = self._thread or ThreadPoolExecutor(1, "patina-ledger")
            loop = asyncio.get_running_loop()
            answer = loop.run_in_executor(self._thread, work)
            with anyio.move_on_after(_PATIENCE, shield=True):
                return await answer
        raise StoreFault(
            f"The disk has not answered for {_PATIENCE:.0f} seconds, so nothing was sent.",
            hint=f"Check the disk or network drive of {self._data}.",
        )

    def _open(self) -> "Book":
        if self._book is None:
            from patina.store.money.book import Book  # SQLite is loaded in the thread

            self._device = self._device or device_id(self._state)
            self._book = Book(
                self._data, self._state, self._device, self._files, self._now, self._lock_wait
            )
        return self._book

    def _held_pen(self) -> "Pen":
        if self._pen is None:
            from patina.store.money.pen import Pen

            self._device = self._device or device_id(self._state)
            self._pen = Pen(self._data, self._device, self._files, self._lock_wait)
        return self._pen

    def _close(self) -> None:
        if self._pen is not None:
            self._pen.close()
        if self._book is not None:
            self._book.close()


def _page(
    book: "Book", *, since: str, until: str, after: tuple[str, str, int]
) -> tuple[list[Entry], tuple[str, str, int]]:
    return book.ask(lambda index: index.page(since, until, after, _PAGE))
