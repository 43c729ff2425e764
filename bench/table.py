"""One row for each thing that is measured, and how rows are printed."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

Unit = Literal["s", "ms", "MB", ""]
_DIGITS: dict[Unit, int] = {"s": 3, "ms": 2, "MB": 1, "": 0}
_HEADINGS = ("", "figure", "floor", "ratio", "the floor is", "peers, and their floors", "goal", "")
_LEFT = {0, 4, 5, 6, 7}


class Peer(NamedTuple):
    """Another program's figure, and the floor's of the same hour, in the row's unit."""

    name: str
    figure: float
    floor: float


class Row(NamedTuple):
    """One figure. Less is better in every row.

    The goal is `limit`, in the row's unit, or `times` the floor; without either the row is there
    to be known. `wish` is what the goal is hoped to become.
    """

    name: str
    figure: float
    unit: Unit
    floor: float | None = None
    floor_is: str = ""
    peers: tuple[Peer, ...] = ()
    limit: float | None = None
    times: float | None = None
    wish: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many floors the figure is."""
        return self.figure / self.floor if self.floor else None

    @property
    def verdict(self) -> str:
        """ "met", "over", or "" where there is no goal."""
        if self.limit is not None:
            return "met" if self.figure <= self.limit else "over"
        if self.times is not None and self.ratio is not None:
            return "met" if self.ratio <= self.times else "over"
        return ""

    @property
    def goal(self) -> str:
        """The goal in words."""
        if self.limit is not None:
            wish = f" ({self.wish:g})" if self.wish is not None else ""
            return f"≤ {self.limit:g} {self.unit}".rstrip() + wish
        return f"≤ {self.times:g} x floor" if self.times is not None else ""

    def plain(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {
            "name": self.name,
            "figure": self.figure,
            "unit": self.unit,
            "floor": self.floor,
            "floor_is": self.floor_is,
            "ratio": self.ratio,
            "peers": [peer._asdict() for peer in self.peers],
            "goal": self.goal,
            "verdict": self.verdict,
        }


def table(rows: Sequence[Row]) -> str:
    """Return `rows` as text in columns."""
    cells = [_HEADINGS, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        _figure(row.figure, row.unit),
        "" if row.floor is None else _figure(row.floor, row.unit),
        _times(row.ratio),
        row.floor_is,
        "; ".join(_peer(peer, row.unit) for peer in row.peers),
        row.goal,
        row.verdict,
    )


def _peer(peer: Peer, unit: Unit) -> str:
    return f"{peer.name} {_figure(peer.figure, unit)}, {_times(peer.figure / peer.floor)}"


def _figure(value: float, unit: Unit) -> str:
    # What is far below its unit's digits keeps two that count.
    digits = _DIGITS[unit] if abs(value) >= 10 ** -_DIGITS[unit] or not value else 4
    return f"{value:.{digits}f} {unit}".rstrip()


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"
