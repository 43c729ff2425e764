"""Between requests and rows of holds.db."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

import apsw

from patina.model.ids import is_id
from patina.model.usage import Usage
from patina.store.money.record import Record
from patina.store.money.schema import LABELS, SUMS
from patina.store.money.units import MOST_SUM

Value = int | str | bytes | None
_AT_ONCE: Final = 500
# What was known of a request before some lines, and after.
Changes = Mapping[str, tuple[Record | None, Record]]
_Key = tuple[Value, Value]

COLUMNS: Final = (
    "e.id, e.at, e.day, e.expires, l.provider, l.model, l.purpose, l.server, e.outcome, e.input,"
    " e.output, e.cache_read, e.cache_write, e.reasoning, e.cost, e.estimated, e.held,"
    " e.conversation, e.turn, e.run, l.source, l.price_date, e.tier, e.first_token_ms,"
    " e.duration_ms, e.rev, e.line"
)
JOINED: Final = "entry e JOIN label l ON l.id = e.label"
_FIELDS: Final = (
    "id, at, day, expires, outcome, input, output, cache_read, cache_write, reasoning, cost,"
    " estimated, held, conversation, turn, run, tier, first_token_ms,"
    " duration_ms, rev, line, label"
)
_PUT: Final = (
    f"INSERT INTO entry({_FIELDS}) VALUES({', '.join('?' * 22)}) ON CONFLICT(id) DO UPDATE SET"
    f" ({_FIELDS}) = ({', '.join(f'excluded.{name}' for name in _FIELDS.split(', '))})"
)
_ADD: Final = " ON CONFLICT DO UPDATE SET " + ", ".join(
    f"{name} = min({name} + excluded.{name}, {MOST_SUM})" for name in SUMS
)


def pack(text: str) -> str | bytes:
    """Return an id in half its size."""
    return bytes.fromhex(text.replace("-", "")) if is_id(text) else text


def unpack(value: Value) -> str:
    """Return the text of a packed id."""
    if not isinstance(value, bytes):
        return str(value)
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def find(db: apsw.Connection, identifier: str) -> Record | None:
    """Return what is known of a request."""
    row = db.execute(
        f"SELECT {COLUMNS} FROM {JOINED} WHERE e.id = ?",  # noqa: S608 - names of our own
        (pack(identifier),),
    ).fetchone()
    return None if row is None else to_record(row)


def find_all(db: apsw.Connection, identifiers: Iterable[str]) -> dict[str, Record]:
    """Return what is known of requests, by id. New ones, as most are, cost little."""
    found: dict[str, Record] = {}
    left = list(map(pack, identifiers))
    while left:
        some, left = left[:_AT_ONCE], left[_AT_ONCE:]
        marks = ", ".join("?" * len(some))
        query = f"SELECT {COLUMNS} FROM {JOINED} WHERE e.id IN ({marks})"  # noqa: S608
        for row in db.execute(query, some):
            record = to_record(row)
            found[record.id] = record
    return found


def to_record(row: Sequence[object]) -> Record:
    """Return the request of a row that begins with the `COLUMNS`."""
    texts = cast("Sequence[Value]", row)
    numbers = cast("Sequence[int]", row)
    words = cast("Sequence[str]", row)
    return Record(
        id=unpack(texts[0]),
        at=words[1],
        day=words[2],
        expires=numbers[3],
        provider=words[4],
        model=words[5],
        purpose=words[6],
        server=words[7],
        outcome=words[8],
        usage=Usage(*numbers[9:14]),
        cost=cast("int | None", texts[14]),
        estimated=bool(texts[15]),
        held=cast("int | None", texts[16]),
        conversation=unpack(texts[17]),
        turn=unpack(texts[18]),
        run=unpack(texts[19]),
        source=words[20],
        price_date=words[21],
        tier=words[22],
        first_token_ms=cast("int | None", texts[23]),
        duration_ms=numbers[24],
        rev=numbers[25],
        line=unpack(texts[26]),
    )


class Labels:
    """The numbers of all that many requests share, within one transaction."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._known: dict[tuple[str, ...], int] = {}

    def of(self, record: Record) -> int:
        """Return the label of a request."""
        names = tuple(cast("str", getattr(record, name)) for name in LABELS)
        if names not in self._known:
            where = " AND ".join(f"{name} = ?" for name in LABELS)
            found = self._db.execute(f"SELECT id FROM label WHERE {where}", names).fetchone()  # noqa: S608
            if found is None:
                marks = ", ".join("?" * len(LABELS))
                insert = f"INSERT INTO label({', '.join(LABELS)}) VALUES({marks})"
                self._db.execute(insert, names)
                self._known[names] = self._db.last_insert_rowid()
            else:
                self._known[names] = cast("int", found[0])
        return self._known[names]


def put(db: apsw.Connection, changes: Changes) -> None:
    """Write what became of requests, and what that changes in the sums."""
    labels = Labels(db)
    totals: dict[_Key, list[int]] = {}
    talks: dict[_Key, list[int]] = {}
    rows: list[tuple[Value, ...]] = []
    for old, new in changes.values():
        if old == new:
            continue
        rows.append(_row(new, labels.of(new)))
        for record, sign in ((old, -1), (new, 1)):
            if record is not None and record.counted:
                sums = _sums(record, sign)
                _add(totals, (record.day, labels.of(record)), sums)
                _add(talks, (pack(record.conversation), record.day), sums)
    db.executemany(_PUT, rows)
    marks = ", ".join("?" * (2 + len(SUMS)))
    for table, sums_of in (("total", totals), ("talk", talks)):
        db.executemany(
            f"INSERT INTO {table} VALUES({marks}){_ADD}",
            ((*key, *sums) for key, sums in sums_of.items()),
        )


def _row(record: Record, label: int) -> tuple[Value, ...]:
    usage = record.usage
    return (
        pack(record.id),
        record.at,
        record.day,
        record.expires,
        record.outcome,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        record.cost,
        int(record.estimated),
        record.held,
        pack(record.conversation),
        pack(record.turn),
        pack(record.run),
        record.tier,
        record.first_token_ms,
        record.duration_ms,
        record.rev,
        pack(record.line),
        label,
    )


def _sums(record: Record, sign: int) -> tuple[int, ...]:
    usage = record.usage
    values = (
        1,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        record.cost or 0,
        int(record.cost is None),
        int(record.estimated),
        record.duration_ms,
    )
    return values if sign > 0 else tuple(-value for value in values)


def _add(totals: dict[_Key, list[int]], key: _Key, sums: tuple[int, ...]) -> None:
    known = totals.get(key)
    if known is None:
        totals[key] = list(sums)
    else:
        totals[key] = [min(a + b, MOST_SUM) for a, b in zip(known, sums, strict=True)]
