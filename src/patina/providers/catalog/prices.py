"""Prices and context windows by model name, out of a list of genai-prices.

That is the one which comes with the installed package, or a newer one that was downloaded when
somebody asked for it. It is kept in one compact file of the cache, so that a run which wants one
price reads one provider's part of it, and is made anew when the installed package changes.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from patina.model.money import Tariff
from patina.providers.catalog import files
from patina.providers.catalog.figures import Dated, tariff_from

_VERSION: Final = 3
_FILE: Final = "prices.json"
_BEGINNING: Final = re.compile(r"(?:[=^]|/\^(?!.*\|))(\w)(?![?*{])")
_COMPACT_DATE: Final = re.compile(r"(?<=-)(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?!\d)")


class Known(Struct, frozen=True):
    """What the list says of a model."""

    title: str = ""
    context_window: int | None = None
    tariff: Tariff | None = None


class Row(Struct, frozen=True, array_like=True):
    """A model. `name` is what it is called, "" for one that is not to be offered.

    `match` holds alternatives, each of which is a list of tests that all must pass. A test is a
    character and a text, both in small letters but for patterns: "=" equal, "^" begins with it,
    "$" ends with it, "~" contains it, "/" the pattern is found. Of `prices` that hold the last
    counts. `services` are figures by the name of a service, which stand in for the usual ones;
    for each kind of token the first that holds counts.
    """

    match: tuple[tuple[str, ...], ...]
    prices: tuple[Dated, ...] = ()
    context_window: int | None = None
    title: str = ""
    name: str = ""
    services: tuple[tuple[str, Dated], ...] = ()


class Table(Struct, frozen=True):
    """One provider's models; the first that matches counts. Then come those of `others`."""

    rows: tuple[Row, ...]
    others: tuple[str, ...] = ()


class Origin(Struct, frozen=True):
    """Where a list comes from. `source` names it; `days` (YYYY-MM-DD) are those on which figures
    of it begin to hold, of a download only its own. `models` is how many it has.
    """

    source: str = ""
    days: tuple[str, ...] = ()
    downloaded: bool = False
    models: int = 0

    def date(self, now: str) -> str:
        """Return the day of the newest figures that hold at `now`, "" where that is not known."""
        return max((day for day in self.days if day <= now[:10]), default="")


class Book(Struct, frozen=True):
    """The whole file. `stamp` tells which installed package it was made of, or beside."""

    version: int
    stamp: str
    origin: Origin
    tables: dict[str, msgspec.Raw]


class Prices:
    """Looks models up. `folder` is that of the file; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / _FILE if folder is not None else None
        self._book: Book | None = None
        self._older: Book | None = None  # a download beside another package
        self._tables: dict[str, _Index | None] = {}
        self._lock: anyio.Lock | None = None

    async def prepare(self, now: str) -> None:
        """Have the list ready: read from its file, else made from the package, in a thread."""
        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:
            if self._read():
                return
            await anyio.to_thread.run_sync(self._make, now, abandon_on_cancel=True)

    @property
    def origin(self) -> Origin:
        """Where the list comes from; known once it is ready."""
        return self._book.origin if self._book is not None else Origin()

    async def replace(self, tables: dict[str, Table], source: str, date: str) -> bool:
        """Have `tables` in place of the list, downloaded on `date`; whether they could be kept."""
        from patina.providers.catalog.genai import installed

        def kept() -> Book | None:
            book = _book(tables, installed(), source, (date,), downloaded=True)
            return book if self._save(book) else None

        book = await anyio.to_thread.run_sync(kept)
        if book is not None:
            self._book, self._tables = book, {}
        return book is not None

    def find(self, table: str, model: str, now: str) -> Known | None:
        """Return what is known of a model of a provider, None where that is nothing.

        `now`, in UTC as ISO 8601 writes it, says which of several prices holds. The list has to
        be ready; until then nothing is known.
        """
        name = model.lower().removeprefix("models/")
        row = self._row(table, name)
        if row is None and _COMPACT_DATE.search(name):
            row = self._row(table, _COMPACT_DATE.sub(r"\1-\2-\3", name))
        if row is None:
            return None
        source, date = self.origin.source, self.origin.date(now)
        tariff = tariff_from(row.prices, row.services, now, source=source, date=date)
        return Known(row.title, row.context_window, tariff)

    def names(self, table: str) -> tuple[str, ...]:
        """Return the models of a provider as far as the list knows them."""
        index = self._index(table)
        return index.names if index is not None else ()

    def _row(self, table: str, name: str) -> Row | None:
        index = self._index(table)
        if index is None:
            return None
        for place in (index, *(self._index(other) for other in index.others)):
            row = place.find(name) if place is not None else None
            if row is not None and place is not index:
                return replace(row, services=())  # those are the maker's own
            if row is not None:
                return row
        return None

    def _index(self, table: str) -> "_Index | None":
        if self._book is None:
            return None
        if table not in self._tables:
            raw = self._book.tables.get(table)
            try:
                self._tables[table] = _Index(msgspec.json.decode(raw, type=Table)) if raw else None
            except ValueError:  # what is no UTF-8 is no MsgspecError
                self._tables[table] = None
        return self._tables[table]

    def _read(self) -> bool:
        if self._book is not None:
            return True
        from patina.providers.catalog.genai import installed

        if self._path is None:
            return False
        try:
            book = msgspec.json.decode(files.read(self._path), type=Book)
        except (ValueError, RecursionError):  # what is no UTF-8 is no MsgspecError
            return False
        if book.version != _VERSION:
            return False
        if book.stamp in {installed(), ""}:
            self._book = book
        elif book.origin.downloaded:
            self._older = book
        return self._book is not None

    def _make(self, now: str) -> None:
        """Take the list of the package, or a download where it knows of nothing newer."""
        from patina.providers.catalog.genai import installed, read_tables, version

        tables, stamp = read_tables(), installed()
        book = _book(tables, stamp, f"genai-prices {version()}".strip(), _days(tables))
        older = self._older
        if older is not None and older.origin.date(now) >= book.origin.date(now):
            book = replace(older, stamp=stamp)
        self._book = book
        if book.tables:
            self._save(book)

    def _save(self, book: Book) -> bool:
        return self._path is not None and files.write(self._path, msgspec.json.encode(book))


def _days(tables: dict[str, Table]) -> tuple[str, ...]:
    rows = (row for table in tables.values() for row in table.rows)
    days = {one.since for row in rows for one in (*row.prices, *(d for _, d in row.services))}
    return tuple(sorted(days - {""}))


def _book(
    tables: dict[str, Table],
    stamp: str,
    source: str,
    days: tuple[str, ...],
    *,
    downloaded: bool = False,
) -> Book:
    models = sum(len(table.rows) for table in tables.values())
    raw = {name: msgspec.Raw(msgspec.json.encode(table)) for name, table in tables.items()}
    return Book(_VERSION, stamp, Origin(source, days, downloaded, models), raw)


class _Index:
    """A table with its names sorted out: thousands may be looked up one after the other."""

    def __init__(self, table: Table) -> None:
        self.others = table.others
        self.names = tuple(row.name for row in table.rows if row.name)
        self._rows = table.rows
        self._equal: dict[str, int] = {}
        self._tested: list[tuple[int, tuple[str, ...]]] = []
        self._by_first: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
        for number, row in enumerate(table.rows):
            for tests in row.match:
                if len(tests) == 1 and tests[0][0] == "=":
                    self._equal.setdefault(tests[0][1:], number)
                else:
                    self._tested.append((number, tests))

    def find(self, name: str) -> Row | None:
        best = self._equal.get(name, len(self._rows))
        first = name[:1]
        if first not in self._by_first:
            fits = ("", first)
            self._by_first[first] = [one for one in self._tested if _first(one[1][0]) in fits]
        for number, tests in self._by_first[first]:
            if number >= best:
                break
            if all(_passes(test, name) for test in tests):
                best = number
                break
        return self._rows[best] if best < len(self._rows) else None


def _first(test: str) -> str:
    """Return the character that every name which passes begins with, "" where there is none."""
    match = _BEGINNING.match(test)
    return match[1] if match else ""


def _passes(test: str, name: str) -> bool:
    kind, text = test[0], test[1:]
    if kind == "=":
        return name == text
    if kind == "^":
        return name.startswith(text)
    if kind == "$":
        return name.endswith(text)
    if kind == "~":
        return text in name
    pattern = _pattern(text)
    return pattern is not None and pattern.search(name) is not None


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None
