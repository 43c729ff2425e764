"""`patina usage`: what was spent, on what, when."""

import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, get_args

import anyio
import click
from msgspec import Struct
from msgspec.structs import replace

from patina.billing.reports import shape, words
from patina.billing.reports.collect import collect, foresee
from patina.billing.reports.periods import Period, period
from patina.billing.reports.shape import Row
from patina.cli.context import Context, context
from patina.cli.output import print_json, use_color
from patina.cli.signs import only_ascii
from patina.cli.usage_files import STDOUT, opened, write_csv
from patina.cli.usage_table import Bars, cells, lines
from patina.cli.usage_titles import titles_of
from patina.config.environment import process_environment
from patina.model.faults import UsageFault
from patina.ports.ledger import GroupBy, Ledger
from patina.views.terminal_text import safe_line

_KEYS: Final[dict[GroupBy, str]] = {"conversation": "session_id"}
# Where the names are that there are requests of.
_ALL: Final = {
    "model": "See `patina usage --by model --since all`.",
    "conversation": "See `patina usage --by conversation --since all`.",
}
# What a person reads of names, which may be thousands; programs get all of them.
_SHOWN: Final = 20

# Days that time zones are apart at most.
_AHEAD: Final = 2

_Answer = TypeVar("_Answer")


@click.command()
@click.option(
    "--by",
    type=click.Choice(get_args(GroupBy)),
    default="day",
    show_default=True,
    help="What the rows are.",
)
@click.option("--since", metavar="DAY", help="From this day on (default: of this month).")
@click.option("--until", metavar="DAY", help="Until this day (default: today).")
@click.option("--model", metavar="PROVIDER/MODEL", help="Only requests to this model.")
@click.option("--provider", metavar="NAME", help="Only requests to this provider.")
@click.option("--conversation", metavar="ID", help="Only requests of this conversation.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N rows.")
@click.option("--chart/--no-chart", default=None, help="With bars, or without.")
@click.option("--plain", is_flag=True, help="Bars in ASCII.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", metavar="FILE", help='Write a line for each request; "-": print it.')
@click.option("--pdf", metavar="FILE", help='Write a report with charts; "-": to a pipe.')
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.pass_context
def usage(
    ctx: click.Context,
    by: GroupBy,
    since: str | None,
    until: str | None,
    model: str | None,
    provider: str | None,
    conversation: str | None,
    limit: int | None,
    chart: bool | None,
    plain: bool,
    as_json: bool,
    csv: str | None,
    pdf: str | None,
    force: bool,
) -> None:
    r"""Show what was spent, with the tokens of all requests.

    A DAY is 2026-11-21, a month (2026-11), a year, today, yesterday, 30d (days ago) or all.
    Without --since it is this month, and with --by month the last twelve. What a request cost
    whose price nobody knows is never counted as nothing: it is said how many there are. The
    money of a deleted conversation stays.

    \b
    Examples:
      patina usage
      patina usage --by model --since 30d
      patina usage --since 2026-11 --until 2026-11 --csv november.csv
      patina usage --by month --since all --pdf usage.pdf
    """
    run = context(ctx)
    now = datetime.now(tz=UTC).astimezone()
    wanted = _Asked(
        by=by,
        period=_period(by, since, until, now),
        now=now,
        limit=limit,
        bars=_bars(chart, plain=plain),
        people=sys.stdout.isatty() or chart is True,
        as_json=as_json,
        csv=csv or "",
        pdf=pdf or "",
        force=force,
    )
    wanted.check()
    given = {"model": model, "provider": provider, "conversation": conversation}

    async def body(ledger: Ledger) -> None:
        asked = wanted if until else await _with_days_ahead(ledger, wanted)
        only = await _narrowing(ledger, given)
        if asked.csv:
            count = await write_csv(ledger, asked.period, only, asked.csv, force=asked.force)
            _written(asked.csv, words.count(count, "request"))
        elif asked.pdf:
            await _write_pdf(run, ledger, asked, only)
        else:
            await _show(run, ledger, asked, only)

    _with_ledger(run, body)


class _Asked(Struct, frozen=True, kw_only=True):
    """What is to be shown, and how. `people`: a table that people read."""

    by: GroupBy
    period: Period
    now: datetime
    limit: int | None
    bars: Bars
    people: bool
    as_json: bool
    csv: str
    pdf: str
    force: bool

    @property
    def today(self) -> str:
        """The local day."""
        return self.now.date().isoformat()

    def check(self) -> None:
        """Raise `UsageFault` where options contradict each other."""
        if sum(map(bool, (self.csv, self.pdf, self.as_json))) > 1:
            raise UsageFault("Only one of --csv, --pdf and --json.", hint="Run it once for each.")
        if self.csv and self.limit:
            raise UsageFault("--csv has all requests.", hint="Leave --limit out.")
        if self.pdf == STDOUT and sys.stdout.isatty():
            raise UsageFault("A terminal cannot show a PDF.", hint="Name a file.")


def _period(by: GroupBy, since: str | None, until: str | None, now: datetime) -> Period:
    try:
        return period(by, since, until, now.date().isoformat())
    except ValueError as error:
        raise UsageFault(
            str(error), hint="A day is 2026-11-21, 2026-11, 2026, today, yesterday, 30d or all."
        ) from error


def _bars(chart: bool | None, *, plain: bool) -> Bars:
    if not (sys.stdout.isatty() if chart is None else chart):
        return "none"
    return "ascii" if plain or only_ascii() else "blocks"


def _with_ledger(run: Context, body: Callable[[Ledger], Awaitable[_Answer]]) -> _Answer:
    async def opened_ledger() -> _Answer:
        from patina.store.money.ledger import FileLedger

        async with FileLedger(run.paths.data, run.paths.state) as ledger:
            return await body(ledger)

    run.start_log()
    return anyio.run(opened_ledger)


async def _with_days_ahead(ledger: Ledger, asked: _Asked) -> _Asked:
    """Go on to days that are still to come here, where there were requests on them: their days
    are those of a time zone further east, or of a clock that was wrong.
    """
    over = asked.period
    most = (asked.now.date() + timedelta(_AHEAD)).isoformat() if over.since else ""
    ahead = await ledger.sums("day", asked.today, most)
    last = ahead[-1].key if ahead else asked.today
    return replace(asked, period=Period(over.since, max(over.until, last)))


async def _narrowing(ledger: Ledger, given: Mapping[str, str | None]) -> dict[str, str]:
    """Return what requests are narrowed to. Names may be shortened where there is one only."""
    only: dict[str, str] = {}
    if provider := given["provider"]:
        only["provider"] = provider
    if model := given["model"]:
        keys = [each.key for each in await ledger.sums("model")]
        fitting = [key for key in keys if key.partition("/")[2] == model]
        only["model"] = model if model in keys else _single(fitting, model, "model")
    if conversation := given["conversation"]:
        if not await ledger.sums("conversation", conversation=conversation):
            keys = [each.key for each in await ledger.sums("conversation")]
            fitting = [key for key in keys if key.startswith(conversation)]
            conversation = _single(fitting, conversation, "conversation")
        only["conversation"] = conversation
    return only


def _single(fitting: Sequence[str], name: str, what: str) -> str:
    if len(fitting) == 1:
        return fitting[0]
    shown = safe_line(name[:60])
    if fitting:
        raise UsageFault(
            f"{shown!r} may be {len(fitting)} {what}s.",
            hint=f"One of them: {', '.join(map(safe_line, fitting[:5]))}",
        )
    raise UsageFault(f"There was no request of the {what} {shown!r}.", hint=_ALL[what])


async def _show(run: Context, ledger: Ledger, asked: _Asked, only: Mapping[str, str]) -> None:
    over = asked.period
    people = asked.people and not asked.as_json
    limit = asked.limit or (_SHOWN if people else None)
    if limit is None or asked.by in shape.TIMES:
        sums = await ledger.sums(asked.by, over.since, over.until, **only)
        table = shape.table(asked.by, sums, asked.limit)
    else:
        found = await ledger.top(asked.by, limit, over.since, over.until, **only)
        table = shape.top_table(asked.by, found)
    titles = await titles_of(run, table)
    if asked.as_json:
        print_json([_object(asked.by, row, titles) for row in table.rows])
    elif not table.rows:
        print(f"No requests: {words.period_text(over)}.", file=sys.stderr)
    elif not people:
        for row in table.rows:
            print("\t".join(cells(row, words.label(asked.by, row.key, titles))))
    else:
        models = await ledger.sums("model", over.since, over.until, **only)
        foreseen = await foresee(ledger, over, asked.today, only)
        # The models are few, and their requests the same.
        figures = shape.figures(models, models, foreseen)
        # COLUMNS, else the window.
        width = shutil.get_terminal_size((80, 24)).columns
        _print_table(asked, lines(table, titles, width=width, bars=asked.bars))
        print()
        for sentence in (words.summary(figures), *words.remarks(figures)):
            print(safe_line(sentence))


def _print_table(asked: _Asked, drawn: Sequence[str]) -> None:
    print(f"Usage, {words.period_text(asked.period)}\n")
    bold = use_color(process_environment(), sys.stdout)
    print(f"\x1b[1m{drawn[0]}\x1b[0m" if bold else drawn[0])
    for line in drawn[1:]:
        print(line)


async def _write_pdf(run: Context, ledger: Ledger, asked: _Asked, only: Mapping[str, str]) -> None:
    from patina import __version__

    limit = asked.limit or _SHOWN
    report = await collect(ledger, asked.period, asked.today, only, limit)
    report = replace(report, titles=await titles_of(run, *report.tables, also=only))
    made = f"{words.day_text(asked.today)}, {asked.now:%H:%M}"
    with opened(asked.pdf, force=asked.force) as out:
        from patina.billing.reports.pdf import render

        out.write(render(report, made=made, app=f"Patina {__version__}"))
    _written(asked.pdf, "The report")


def _written(file: str, what: str) -> None:
    if file != STDOUT:
        print(f"{what} written to {safe_line(file)}.", file=sys.stderr)


def _object(by: GroupBy, row: Row, titles: Mapping[str, str] | None) -> dict[str, Any]:
    named: dict[str, Any] = {_KEYS.get(by, by): row.key or None}
    if by == "conversation":
        there = titles is None or not row.key or row.key in titles
        named |= {"title": (titles or {}).get(row.key), "deleted": not there}
    return {
        **named,
        "requests": row.requests,
        **{name: getattr(row.usage, name) for name in row.usage.__struct_fields__},
        "cost": None if row.cost is None else {"amount": f"{row.cost:f}", "currency": "USD"},
        "share": None if row.share is None else round(float(row.share), 6),
        "unknown": row.unknown,
        "estimated": row.estimated,
        "duration_ms": row.duration_ms,
    }
