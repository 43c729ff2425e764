"""Pages to write on from top to bottom. Text is drawn as it is: no markup means anything."""

from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Final

from msgspec import Struct

# reportlab has no types of its own, and nobody publishes complete ones.
from reportlab.pdfgen.canvas import Canvas

from patina.billing.reports.pdf_fonts import BOLD, PLAIN, cut, runs, width

# A4, in points of 1/72 inch.
WIDTH: Final = 595.3
HEIGHT: Final = 841.9
MARGIN: Final = 48.0
INNER: Final = WIDTH - 2 * MARGIN
_BOTTOM: Final = MARGIN + 12
_TOP: Final = HEIGHT - MARGIN
_FOOT: Final = MARGIN - 14
_SIZE: Final = 8.5
_ROW: Final = 13.0
_GAP: Final = 8.0
_BOX: Final = 52.0
INK: Final = "#1a1a1a"
GREY: Final = "#666666"
LINE: Final = "#c8c8c8"
_PANEL: Final = "#f3f4f6"


class Column(Struct, frozen=True):
    """A column of a table: its heading, and its width beside that of the others."""

    heading: str
    weight: float
    right: bool = False


class Sheet:
    """Pages that fill from top to bottom; nothing is drawn before `finish`."""

    def __init__(self, *, title: str, footer: str) -> None:
        self._title = title
        self._footer = footer
        self._page: list[Callable[[Canvas], None]] = []
        self._pages = [self._page]
        self.y = _TOP

    def need(self, height: float) -> None:
        """Begin a new page unless so many points are left on this one."""
        if self.y - height < _BOTTOM:
            self._page = []
            self._pages.append(self._page)
            self.y = _TOP

    def space(self, height: float) -> None:
        """Leave some room."""
        self.y -= height

    def draw(self, work: Callable[[Canvas], None]) -> None:
        """Have `work` draw on this page."""
        self._page.append(work)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = _SIZE,
        room: float = INNER,
        font: str = PLAIN,
        color: str = INK,
        align: str = "left",
    ) -> None:
        """Write one line at a place, cut to `room` points. `align`: of `x`, "left" or "right" or
        "middle".
        """
        pieces = cut(text, font, size, room)
        taken = width(pieces, size)
        left = x - {"left": 0.0, "middle": taken / 2, "right": taken}[align]

        def work(canvas: Canvas) -> None:
            out = canvas.beginText(left, y)
            out.setFillColor(color)
            for name, piece in pieces:
                out.setFont(name, size)
                out.textOut(piece)
            canvas.drawText(out)

        self.draw(work)

    def rule(self, x: float, y: float, end: float, *, color: str = LINE) -> None:
        """Draw a thin line to the right."""

        def work(canvas: Canvas) -> None:
            canvas.setStrokeColor(color)
            canvas.setLineWidth(0.5)
            canvas.line(x, y, end, y)

        self.draw(work)

    def heading(self, text: str, *, size: float = 20) -> None:
        """Write a heading."""
        self.need(size * 4)
        self.y -= size
        self.text(MARGIN, self.y, text, size=size, font=BOLD)
        self.y -= size * 0.4

    def line(self, text: str, *, size: float = _SIZE, grey: bool = False) -> None:
        """Write one line."""
        self.need(size * 1.5)
        self.y -= size * 1.35
        self.text(MARGIN, self.y, text, size=size, color=GREY if grey else INK)

    def paragraph(self, text: str) -> None:
        """Write text on as many lines as it takes."""
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and width(runs(longer), _SIZE) > INNER:
                self.line(line)
                longer = word
            line = longer
        self.line(line)

    def boxes(self, figures: Sequence[tuple[str, str]]) -> None:
        """Write figures side by side: what each is, and its value; a second line is smaller."""
        self.need(_BOX + 2 * _GAP)
        self.y -= _GAP + _BOX
        wide = (INNER - _GAP * (len(figures) - 1)) / len(figures)
        for number, (name, value) in enumerate(figures):
            x, y = MARGIN + number * (wide + _GAP), self.y
            self.draw(partial(_panel, x=x, y=y, wide=wide))
            first, _, second = value.partition("\n")
            room = wide - 2 * _GAP
            self.text(x + _GAP, y + _BOX - 14, name, size=8, color=GREY, room=room)
            size = _fitting(first, room)
            self.text(x + _GAP, y + _BOX - 31, first, size=size, font=BOLD, room=room)
            if second:
                self.text(x + _GAP, y + 9, second, size=8, color=GREY, room=room)
        self.y -= _GAP / 2

    def table(
        self,
        title: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[str]],
        total: Sequence[str] | None,
    ) -> None:
        """Write a table; its headings stand on each page that it is on."""
        self.space(_GAP * 2)
        self.need(_ROW * 5)
        self.y -= 11
        self.text(MARGIN, self.y, title, size=11, font=BOLD)
        self.space(3)
        self._headings(columns)
        for row in rows:
            if self.y - _ROW < _BOTTOM:
                self.need(_ROW * 2)
                self._headings(columns)
            self._row(columns, row)
        if total is not None:
            self.need(_ROW + 2)
            self.rule(MARGIN, self.y - 4, MARGIN + INNER, color=GREY)
            self.space(2)
            self._row(columns, total, font=BOLD)

    def finish(self, *, compress: bool) -> bytes:
        """Return the PDF."""
        out = BytesIO()
        canvas = Canvas(out, pagesize=(WIDTH, HEIGHT), pageCompression=int(compress))
        canvas.setTitle(self._title)
        canvas.setCreator(self._footer)
        canvas.setAuthor("")
        canvas.setSubject("")
        for number, page in enumerate(self._pages, 1):
            self._page = page
            text = f"Page {number} of {len(self._pages)}"
            self.text(MARGIN, _FOOT, self._footer, size=8, color=GREY)
            self.text(MARGIN + INNER, _FOOT, text, size=8, color=GREY, align="right")
            for work in page:
                work(canvas)
            canvas.showPage()
        canvas.save()
        return out.getvalue()

    def _headings(self, columns: Sequence[Column]) -> None:
        self._row(columns, [column.heading for column in columns], color=GREY)
        self.rule(MARGIN, self.y - 3, MARGIN + INNER)
        self.space(1)

    def _row(
        self,
        columns: Sequence[Column],
        cells: Sequence[str],
        *,
        font: str = PLAIN,
        color: str = INK,
    ) -> None:
        self.y -= _ROW
        unit = (INNER - _GAP * (len(columns) - 1)) / sum(column.weight for column in columns)
        x = MARGIN
        for column, cell in zip(columns, cells, strict=True):
            room = column.weight * unit
            at, align = (x + room, "right") if column.right else (x, "left")
            if cell:
                self.text(at, self.y, cell, room=room, font=font, color=color, align=align)
            x += room + _GAP


def _panel(canvas: Canvas, *, x: float, y: float, wide: float) -> None:
    canvas.setFillColor(_PANEL)
    canvas.roundRect(x, y, wide, _BOX, 4, stroke=0, fill=1)


def _fitting(text: str, room: float) -> float:
    """Return the size, of 15 points at most and 8 at least, in which `text` fits."""
    taken = width(runs(text, BOLD), 15)
    return max(min(15.0, 15.0 * room / taken), 8.0) if taken else 15.0
