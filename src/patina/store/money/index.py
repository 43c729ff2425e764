"""The index over the ledger's lines, in holds.db or in memory. Blocking.

It is asked only after it has followed the files to their ends, so it may be old, or empty.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, cast

import apsw

from patina.model.codec import MAX_LINE
from patina.model.money import Entry, Limit, Standing
from patina.store.files import read_fault
from patina.store.money import record as records
from patina.store.money.lines import HoldLine, SettleLine, ToldLine, decode
from patina.store.money.log import usage_files, usage_folder
from patina.store.money.record import Record
from patina.store.money.rows import COLUMNS, JOINED, find, find_all, pack, put, to_record
from patina.store.money.schema import clear
from patina.store.money.units import HIGH, LOW, whole

# How much is read in one transaction. Bytes.
STEP: Final = 8 << 20
_TAIL: Final = 64
_ENDED: Final = "outcome NOT IN ('held', 'void')"
_MONTH: Final = "day BETWEEN :month || '-00' AND :month || '-99'"
_SPENT: Final = {
    "day": "FROM total WHERE day = :day",
    "month": f"FROM total WHERE {_MONTH}",
    "provider": f"FROM total JOIN label ON id = label WHERE {_MONTH} AND provider = :name",
    "model": f"FROM total JOIN label ON id = label WHERE {_MONTH}"
    " AND :name IN (model, provider || '/' || model)",
    "conversation": "FROM talk WHERE conversation = :id AND :name <> ''",
    "turn": f"FROM entry WHERE turn = :id AND turn <> '' AND {_ENDED}",
    "budget": f"FROM entry WHERE run = :id AND run <> '' AND {_ENDED}",
}


class Index:
    """One connection's view of the ledger. All its methods are called within a transaction, and
    raise what a database and `OSError` raise.
    """

    def __init__(self, db: apsw.Connection, data: Path) -> None:
        self.db = db
        self._data = data

    def follow(self, now: str, step: int = STEP) -> bool:
        """Read what files have gained, about `step` bytes at most, and end holds of the past.

        Returns whether there is more. Raises `StoreFault` for a file that cannot be read.
        """
        known = {
            cast("str", name): (inode, cast("int", offset), cast("bytes", tail))
            for name, inode, offset, tail in self.db.execute(
                "SELECT name, inode, offset, tail FROM file"
            )
        }
        grown = self._grown(known)
        if grown is None:
            clear(self.db)
            grown = self._grown({}) or []
        left = step
        for path, offset, size in grown:
            end = min(size, offset + left)
            self._read(path, offset, end)
            left -= end - offset
            if end < size:
                return True
        self._lose(now)
        return False

    def find(self, identifier: str) -> Record | None:
        """Return what is known of a request."""
        return find(self.db, identifier)

    def is_told(self, line: ToldLine) -> bool:
        """Whether the user was told what `line` says."""
        found = self.db.execute("SELECT 1 FROM told WHERE mark = ?", (_mark(line),)).fetchone()
        return found is not None

    def standing(
        self, limits: Sequence[Limit], day: str, own: Record | None = None
    ) -> tuple[Standing, ...]:
        """Return how far limits are used on a day; one of one request, by the request `own`."""
        if not limits:
            return ()
        rows = self.db.execute(
            f"SELECT {COLUMNS} FROM {JOINED} WHERE e.outcome = 'held'"  # noqa: S608 - our own names
        )
        held = [to_record(row) for row in rows]
        return tuple(self._standing(limit, day, held, own) for limit in limits)

    def page(
        self, since: str, until: str, after: tuple[str, str, int], count: int
    ) -> tuple[list[Entry], tuple[str, str, int]]:
        """Return the next entries of some days in their order, and what the page after follows."""
        rows = self.db.execute(
            f"SELECT {COLUMNS}, e.n FROM {JOINED} WHERE (e.day, e.at, e.n) > (?, ?, ?)"  # noqa: S608
            " AND e.day BETWEEN ? AND ? ORDER BY e.day, e.at, e.n LIMIT ?",
            (*after, since, until or "~", count),
        ).fetchall()
        found = [to_record(row) for row in rows]
        if found:
            after = (found[-1].day, found[-1].at, cast("int", rows[-1][-1]))
        return [record.entry() for record in found], after

    def _standing(
        self, limit: Limit, day: str, held: Iterable[Record], own: Record | None
    ) -> Standing:
        if limit.kind == "request":
            return Standing(limit=limit) if own is None else records.used_by(limit, own)
        # A sum in `total` and `talk` has the number of unknown ones as a column.
        summed = limit.kind not in ("turn", "budget")
        unknown = "sum(unknown)" if summed else "sum(cost IS NULL)"
        values = {"day": day, "month": day[:7], "name": limit.name, "id": pack(limit.name)}
        query = f"SELECT {HIGH}, {LOW}, {unknown} {_SPENT[limit.kind]}"
        row = self.db.execute(query, {k: v for k, v in values.items() if f":{k}" in query})
        high, low, missing = cast("tuple[int | None, int | None, int | None]", row.fetchone())
        covered = [record for record in held if records.covers(limit, day, record)]
        return records.used(limit, whole(high or 0, low or 0), missing or 0, covered)

    def _grown(
        self, known: dict[str, tuple[object, int, bytes]]
    ) -> list[tuple[Path, int, int]] | None:
        """Return files with from where to where they are new; None where one is not what it was."""
        grown: list[tuple[Path, int, int]] = []
        left = set(known)
        for entry in usage_files(self._data):
            path = usage_folder(self._data) / entry.name
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            inode, offset, tail = known.get(entry.name, ("", 0, b""))
            left.discard(entry.name)
            if inode == str(status.st_ino) and status.st_size == offset:
                continue
            if status.st_size < offset or not _ends_so(path, offset, tail):
                return None
            grown.append((path, offset, status.st_size))
        return None if left else grown

    def _read(self, path: Path, offset: int, end: int) -> None:
        """Take in the lines that begin in a part of a file."""
        try:
            with path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                file.seek(offset)
                data = file.read(end - offset)
                # The rest of a line that the part ends in, unless it is endless.
                data += file.readline(MAX_LINE + 1) if data[-1:] != b"\n" else b""
                whole = data.rfind(b"\n") + 1
                if len(data) - whole > MAX_LINE:
                    whole = len(data)
                file.seek(max(offset + whole - _TAIL, 0))
                tail = file.read(min(_TAIL, offset + whole))
        except OSError as error:
            raise read_fault(error, path) from error
        # A last line without its end may be sound; it is looked at again until it has one.
        self._take(data.split(b"\n"))
        self.db.execute(
            "INSERT INTO file VALUES(?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " inode = excluded.inode, offset = excluded.offset, tail = excluded.tail",
            (path.name, str(inode), offset + whole, tail),
        )

    def _take(self, lines: Iterable[bytes]) -> None:
        found: list[Record] = []
        for text in lines:
            line = decode(text) if text else None
            if isinstance(line, ToldLine):
                self.db.execute("INSERT OR IGNORE INTO told VALUES(?)", (_mark(line),))
            elif line is not None and (record := _record(line)) is not None:
                found.append(record)
        before = find_all(self.db, {record.id for record in found})
        after = dict(before)
        for record in found:
            known = after.get(record.id)
            after[record.id] = record if known is None else records.merge(known, record)
        put(self.db, {request: (before.get(request), record) for request, record in after.items()})

    def _lose(self, now: str) -> None:
        bounds = records.bounds_of_open(now)
        rows = self.db.execute(
            f"SELECT {COLUMNS} FROM {JOINED} WHERE e.outcome = 'held'"  # noqa: S608 - our own names
            " AND NOT e.expires BETWEEN ? AND ?",
            bounds,
        )
        over = [to_record(row) for row in rows]
        put(self.db, {record.id: (record, records.lost(record)) for record in over})


def _record(line: HoldLine | SettleLine) -> Record | None:
    try:
        return records.of_hold(line) if isinstance(line, HoldLine) else records.of_settle(line)
    except ValueError:
        return None  # sealed, but no amount or time: as good as damaged


def _mark(line: ToldLine) -> str:
    amounts = (format(number.normalize(), "f") for number in (line.amount, line.share))
    return "\n".join((line.kind, line.period, *amounts, line.name))


def _ends_so(path: Path, offset: int, tail: bytes) -> bool:
    """Whether the file has, before `offset`, what it had when it was read to there."""
    try:
        with path.open("rb") as file:
            file.seek(offset - len(tail))
            return file.read(len(tail)) == tail
    except OSError as error:
        raise read_fault(error, path) from error
