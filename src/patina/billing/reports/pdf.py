"""A report as PDF. It comes with no file of this machine: fonts are the reader's own, or drawn."""

from collections.abc import Sequence
from decimal import Decimal

from patina.billing.reports import words
from patina.billing.reports.collect import PriceSource, Report
from patina.billing.reports.pdf_chart import draw_chart
from patina.billing.reports.pdf_sheet import Column, Sheet
from patina.billing.reports.shape import Figures, Row, Table
from patina.ports.ledger import GroupBy

_TITLES: dict[GroupBy, str] = {
    "model": "By model",
    "provider": "By provider",
    "purpose": "By purpose",
    "conversation": "By conversation",
    "server": "By the server that asked",
}
_ONLY = {"model": "model", "provider": "provider", "conversation": "conversation"}
_ID_SHOWN = 13


def render(report: Report, *, made: str, app: str, compress: bool = True) -> bytes:
    """Return the PDF. `made` says in local words when, `app` which program made it.

    Imports reportlab: a tenth of a second.
    """
    over = words.period_text(report.period)
    sheet = Sheet(title=f"Usage, {over}", footer=app)
    sheet.heading("Usage")
    sheet.line(over[:1].upper() + over[1:], size=11)
    for name, value in report.only.items():
        shown = words.label("conversation", value, report.titles) if name == "conversation" else ""
        text = f"{shown} ({value[:_ID_SHOWN]})" if shown and shown != value else value
        sheet.line(f"Only {_ONLY.get(name, name)}: {text}", size=11)
    sheet.line(f"Made {made}. Days are local; amounts are US dollars.", grey=True)
    _figures(sheet, report.figures)
    for remark in words.remarks(report.figures):
        sheet.paragraph(remark)
    if report.chart.series or any(report.chart.planned):
        draw_chart(sheet, report.chart)
    for table in report.tables:
        _table(sheet, table, report)
    if report.sources:
        _sources(sheet, report.sources)
    return sheet.finish(compress=compress)


def _figures(sheet: Sheet, figures: Figures) -> None:
    dearest = figures.dearest or "none"
    if figures.dearest_cost is not None:
        dearest += f"\n{words.dollars(figures.dearest_cost)}"
    cached = figures.usage.cache_read_tokens
    sheet.boxes(
        (
            ("Spent", words.dollars(figures.spent)),
            ("Requests", f"{figures.requests:,}"),
            ("Tokens", f"{words.short(figures.tokens)}\n{words.short(cached)} from caches"),
            ("Dearest model", dearest),
        )
    )


def _table(sheet: Sheet, table: Table, report: Report) -> None:
    places = words.places_for(table.total.cost)

    def cells(name: str, row: Row) -> list[str]:
        return [
            name,
            f"{row.requests:,}",
            words.short(row.usage.input_tokens),
            words.short(row.usage.output_tokens),
            words.short(row.usage.cache_read_tokens),
            words.dollars(row.cost, places),
            words.percent(row.share),
            f"{row.unknown:,}" if row.unknown else "",
            f"{row.estimated:,}" if row.estimated else "",
        ]

    rows = [cells(_name(table.by, row.key, report), row) for row in table.rows]
    if table.rest is not None:
        rows.append(cells(words.rest_label(table), table.rest))
    columns = (
        Column(table.by.capitalize(), 4.3),
        Column("Requests", 1.4, right=True),
        Column("In", 1.0, right=True),
        Column("Out", 1.0, right=True),
        Column("Cached", 1.1, right=True),
        Column("Cost", 1.5, right=True),
        Column("Share", 0.9, right=True),
        Column("No price", 1.2, right=True),
        Column("Estimated", 1.3, right=True),
    )
    sheet.table(_TITLES.get(table.by, table.by), columns, rows, cells("Total", table.total))


def _name(by: GroupBy, key: str, report: Report) -> str:
    name = words.label(by, key, report.titles)
    # Titles are not unique.
    return f"{name} · {key[:_ID_SHOWN]}" if by == "conversation" and key and name != key else name


def _sources(sheet: Sheet, sources: Sequence[PriceSource]) -> None:
    places = words.places_for(sum((each.cost for each in sources), Decimal(0)))
    columns = (
        Column("Source", 4.0),
        Column("Prices of", 4.0),
        Column("Requests", 1.3, right=True),
        Column("Cost", 1.5, right=True),
    )
    rows = [
        [
            each.source or words.UNKNOWN,
            _dates(each),
            f"{each.requests:,}",
            words.dollars(each.cost, places),
        ]
        for each in sources
    ]
    sheet.table("Where the prices come from", columns, rows, None)


def _dates(source: PriceSource) -> str:
    if source.first == source.last:
        return source.first
    return f"{source.first or 'no date'} to {source.last}"
