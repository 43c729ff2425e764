"""Stacked bars on a page."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Final

# reportlab has no types of its own, and nobody publishes complete ones.
from reportlab.pdfgen.canvas import Canvas

from patina.billing.reports import words
from patina.billing.reports.pdf_fonts import PLAIN, cut, width
from patina.billing.reports.pdf_sheet import GREY, INNER, MARGIN, Sheet
from patina.billing.reports.shape import OTHERS, Chart

# Okabe and Ito's colours, which are told apart by those who see colours otherwise, too.
_COLORS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
_REST: Final = "#999999"
_HEIGHT: Final = 150.0
_AXIS: Final = 42.0
_WIDEST_BAR: Final = 40.0
_LABELS: Final = 12
_MARK: Final = "?"
# A frame around a thinner bar would be all frame.
_THIN: Final = 5.0
_LABEL_SIZE: Final = 7.5
_STEPS: Final = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))


def draw_chart(sheet: Sheet, chart: Chart) -> None:
    """Draw a chart across the page, its axes and its legend."""
    sheet.space(14)
    sheet.need(_HEIGHT + 70)
    by = "day" if len(chart.points[0]) > len("2026-11") else "month"
    sheet.line(f"Cost per {by} in US dollars", grey=True)
    base = sheet.y - _HEIGHT - 6
    step = _step(chart.highest)
    top = step
    while top < chart.highest:
        top += step
    fraction = -int(step.as_tuple().exponent)
    places = max(fraction, 2) if fraction > 0 else 0
    level = Decimal(0)
    while level <= top:
        y = base + float(level / top) * _HEIGHT
        sheet.rule(MARGIN + _AXIS, y, MARGIN + INNER)
        text = words.dollars(level, places)
        sheet.text(MARGIN + _AXIS - 5, y - 2.5, text, size=_LABEL_SIZE, color=GREY, align="right")
        level += step
    colors = [
        _REST if series.name == OTHERS else _COLORS[number % len(_COLORS)]
        for number, series in enumerate(chart.series)
    ]
    sheet.draw(lambda canvas: _bars(canvas, chart, colors, base, _HEIGHT / float(top)))
    slot = (INNER - _AXIS) / len(chart.points)
    marked = slot >= _THIN and any(chart.unknown)
    if marked:
        _mark(sheet, chart, base, _HEIGHT / float(top))
    for index in _labelled(len(chart.points)):
        x = MARGIN + _AXIS + (index + 0.5) * slot
        text = words.point_text(chart.points[index])
        sheet.text(x, base - 10, text, size=_LABEL_SIZE, color=GREY, align="middle")
    sheet.y = base - 14
    _legend(sheet, chart, colors, marked=marked)


def _bars(canvas: Canvas, chart: Chart, colors: Sequence[str], base: float, scale: float) -> None:
    slot = (INNER - _AXIS) / len(chart.points)
    thick = min(slot * (0.8 if slot > 3 else 1.0), _WIDEST_BAR)
    heights = [base] * len(chart.points)
    left = [MARGIN + _AXIS + (index + 0.5) * slot - thick / 2 for index in range(len(chart.points))]
    for series, color in zip(chart.series, colors, strict=True):
        canvas.setFillColor(color)
        for index, value in enumerate(series.values):
            if value > 0:
                height = float(value) * scale
                canvas.rect(left[index], heights[index], thick, height, stroke=0, fill=1)
                heights[index] += height
    canvas.saveState()
    canvas.setStrokeColor(GREY)
    canvas.setLineWidth(0.6)
    canvas.setDash(2, 1.5)
    for index, value in enumerate(chart.planned):
        if value > 0:
            end = heights[index] + float(value) * scale
            if slot < _THIN:
                canvas.line(left[index], end, left[index] + thick, end)
            else:
                canvas.rect(left[index], heights[index], thick, end - heights[index], fill=0)
    canvas.restoreState()


def _mark(sheet: Sheet, chart: Chart, base: float, scale: float) -> None:
    """Say above a bar that there was more, nobody knows how much."""
    slot = (INNER - _AXIS) / len(chart.points)
    for index, unknown in enumerate(chart.unknown):
        if unknown:
            height = sum(series.values[index] for series in chart.series) + chart.planned[index]
            x, y = MARGIN + _AXIS + (index + 0.5) * slot, base + float(height) * scale + 2
            sheet.text(x, y, _MARK, size=_LABEL_SIZE, color=GREY, align="middle")


def _legend(sheet: Sheet, chart: Chart, colors: Sequence[str], *, marked: bool) -> None:
    names = [(series.name, color) for series, color in zip(chart.series, colors, strict=True)]
    if any(chart.planned):
        names.append(("forecast", ""))
    if marked:
        names.append(("with requests of unknown cost", _MARK))
    x = MARGIN + _AXIS
    sheet.space(12)
    for name, color in names:
        pieces = cut(name, PLAIN, _LABEL_SIZE, 150)
        taken = width(pieces, _LABEL_SIZE) + 24
        if x + taken > MARGIN + INNER and x > MARGIN + _AXIS:
            x = MARGIN + _AXIS
            sheet.space(12)
        if color == _MARK:
            sheet.text(x + 2, sheet.y, _MARK, size=_LABEL_SIZE, color=GREY)
        else:
            sheet.draw(partial(_sample, x=x, y=sheet.y, color=color))
        sheet.text(x + 10, sheet.y, name, size=_LABEL_SIZE, room=150)
        x += taken


def _sample(canvas: Canvas, *, x: float, y: float, color: str) -> None:
    canvas.saveState()
    if color:
        canvas.setFillColor(color)
    else:
        canvas.setStrokeColor(GREY)
        canvas.setLineWidth(0.6)
        canvas.setDash(2, 1.5)
    canvas.rect(x, y - 0.5, 6, 6, stroke=int(not color), fill=int(bool(color)))
    canvas.restoreState()


def _step(highest: Decimal) -> Decimal:
    """Return the distance of about four lines, a round number."""
    wanted = highest / 4
    size = Decimal(1).scaleb(wanted.adjusted()) if wanted else Decimal(1)
    return next(size * step for step in _STEPS if size * step >= wanted)


def _labelled(points: int) -> Iterator[int]:
    return iter(range(0, points, -(-points // _LABELS)))
