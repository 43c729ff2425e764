"""The table of `patina usage` as text: as wide as the window, with bars where there is room."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct

from patina.billing.reports import words
from patina.billing.reports.bars import bar
from patina.billing.reports.shape import Row, Table
from patina.cli.output import fit, text_width
from patina.views.terminal_text import safe_line

Bars = Literal["blocks", "ascii", "none"]

_GAP: Final = "  "
_SHORTEST_BAR: Final = 6
_LONGEST_BAR: Final = 40
_LEAST_KEY: Final = 12
# Enough of an id to be the only one, and to be typed.
_ID_SHOWN: Final = 13
# No window shows more of a name, and measuring what is endless takes as long.
_MOST_KEY: Final = 1_000
# From a wide window to a narrow one: the shortest bar, how tokens are written, what is left out.
_WAYS: Final[tuple[tuple[int, Callable[[int], str], tuple[str, ...]], ...]] = (
    (_SHORTEST_BAR, lambda count: f"{count:,}", ()),
    (_SHORTEST_BAR, words.short, ()),
    (_SHORTEST_BAR, words.short, ("CACHED",)),
    (_SHORTEST_BAR, words.short, ("CACHED", "SHARE")),
    (0, words.short, ()),
    (0, words.short, ("CACHED",)),
    (0, words.short, ("CACHED", "SHARE")),
    (0, words.short, ("CACHED", "SHARE", "IN", "OUT")),
)
# Then names are cut; and if that does not help, what the sentences below say of all is left out.
_NARROW: Final[tuple[tuple[str, ...], ...]] = (
    ("CACHED", "SHARE", "IN", "OUT"),
    ("CACHED", "SHARE", "IN", "OUT", "ESTIMATED"),
    ("CACHED", "SHARE", "IN", "OUT", "ESTIMATED", "NO PRICE"),
    ("CACHED", "SHARE", "IN", "OUT", "ESTIMATED", "NO PRICE", "REQUESTS"),
)
# After an amount: there are requests whose price is unknown.
_MORE: Final = "+?"


class _Column(Struct, frozen=True):
    heading: str
    cells: tuple[str, ...]
    right: bool = True

    @property
    def width(self) -> int:
        return max(map(text_width, (self.heading, *self.cells)))


def lines(
    table: Table, titles: Mapping[str, str] | None, *, width: int, bars: Bars
) -> tuple[str, ...]:
    """Return the table for people: headings, rows, and the total last. Text is sanitised.

    The tokens are written out or in short, and columns left out, so that it fits in `width`
    columns; names are cut where that does not help.
    """
    room = _LONGEST_BAR if bars != "none" and any(map(_height, table.rows)) else 0
    columns: list[_Column] = []
    for shortest, number, without in _WAYS:
        columns = _columns(table, titles, number, without)
        left = width - _width(columns)
        if left >= (shortest + len(_GAP) if room else 0):
            return _draw(
                columns, _bars(table, min(left - len(_GAP), room) if shortest else 0, bars)
            )
    for without in _NARROW:
        columns = _columns(table, titles, words.short, without)
        spare = width - _width(columns[1:]) - len(_GAP)
        if spare >= _LEAST_KEY:
            break
    spare = max(spare, _LEAST_KEY)
    key = columns[0]
    columns[0] = _Column(key.heading, tuple(fit(cell, spare) for cell in key.cells), right=False)
    return _draw(columns, ())


def cells(row: Row, name: str) -> tuple[str, ...]:
    """Return a row for programs: plain numbers, "unknown" for a cost that is."""
    usage = row.usage
    return (
        safe_line(row.key),
        str(row.requests),
        str(usage.input_tokens),
        str(usage.output_tokens),
        str(usage.cache_read_tokens),
        words.UNKNOWN if row.cost is None else f"{row.cost:f}",
        words.percent(row.share),
        words.note(row),
        *([safe_line(name)] if name != row.key else []),
    )


def name_of(table: Table, key: str, titles: Mapping[str, str] | None) -> str:
    """Return what a row is called, with the beginning of a conversation's id."""
    name = safe_line(words.label(table.by, key, titles)[:_MOST_KEY])
    if table.by == "conversation" and key and name != key:
        return f"{safe_line(key[:_ID_SHOWN])}{_GAP}{name}"
    return name


def _columns(
    table: Table,
    titles: Mapping[str, str] | None,
    number: Callable[[int], str],
    without: tuple[str, ...],
) -> list[_Column]:
    rows = list(table.rows)
    names = [name_of(table, row.key, titles) for row in rows]
    if table.rest is not None:
        rows.append(table.rest)
        names.append(words.rest_label(table))
    if len(rows) > 1:
        rows.append(table.total)
        names.append("total")
    places = words.places_for(table.total.cost)

    def column(heading: str, cell: Callable[[Row], str]) -> _Column:
        return _Column(heading, tuple(map(cell, rows)))

    def cost(row: Row) -> str:
        text = words.dollars(row.cost, places)
        missing = row.unknown and row.cost is not None and "NO PRICE" in without
        return f"{text}{_MORE}" if missing else text

    found = [
        _Column(table.by.upper(), tuple(names), right=False),
        column("REQUESTS", lambda row: f"{row.requests:,}"),
        column("IN", lambda row: number(row.usage.input_tokens)),
        column("OUT", lambda row: number(row.usage.output_tokens)),
        column("CACHED", lambda row: number(row.usage.cache_read_tokens)),
        column("COST", cost),
        column("SHARE", lambda row: words.percent(row.share)),
    ]
    if table.total.unknown:
        found.append(column("NO PRICE", lambda row: f"{row.unknown:,}" if row.unknown else ""))
    if table.total.estimated:
        found.append(column("ESTIMATED", lambda row: f"{row.estimated:,}" if row.estimated else ""))
    return [each for each in found if each.heading not in without]


def _bars(table: Table, room: int, bars: Bars) -> tuple[str, ...]:
    heights = [_height(row) for row in table.rows]
    whole = max(heights, default=Decimal(0))
    return tuple(bar(height, whole, room, ascii_only=bars == "ascii") for height in heights)


def _height(row: Row) -> Decimal:
    return row.cost or Decimal(0)


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)


def _draw(columns: Sequence[_Column], bars: Sequence[str]) -> tuple[str, ...]:
    widths = [column.width for column in columns]
    rows = [tuple(column.heading for column in columns)]
    rows += zip(*(column.cells for column in columns), strict=True)
    drawn = []
    for row, end in zip(rows, ("", *bars, *[""] * (len(rows) - 1 - len(bars))), strict=True):
        parts = [
            _padded(cell, wide, right=column.right)
            for cell, column, wide in zip(row, columns, widths, strict=True)
        ]
        drawn.append(_GAP.join([*parts, end]).rstrip())
    return tuple(drawn)


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - text_width(cell))
    return space + cell if right else cell + space
