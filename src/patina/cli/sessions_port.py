"""`patina sessions export` and `import`: conversations as files, out and in."""

import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import click

from patina import __version__
from patina.cli.context import Context, context
from patina.cli.exporting import (
    EXPORT_FORMATS,
    ExportFormat,
    Rendered,
    number_of,
    render,
    write,
)
from patina.cli.secret_values import mask_of
from patina.model.faults import EXIT_ERROR, EXIT_OK, Fault, UsageFault
from patina.store.importing.formats import FORMATS, Format
from patina.store.importing.report import Report
from patina.store.journal import FileJournal
from patina.store.layout import Layout
from patina.views.terminal_text import safe_line, safe_text

T = TypeVar("T")


@click.command()
@click.argument("ids", metavar="ID…", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every conversation that is not deleted.")
@click.option(
    "--format",
    "chosen",
    type=click.Choice(EXPORT_FORMATS),
    help="What to write; without it, what the name of -o says, else md.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A file, or a folder for several.",
)
@click.option("--no-thinking", is_flag=True, help="Leave the models' reasoning out.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.pass_context
def export(
    ctx: click.Context,
    ids: tuple[str, ...],
    everything: bool,
    chosen: ExportFormat | None,
    output: Path | None,
    no_thinking: bool,
    force: bool,
) -> int:
    r"""Write conversations as JSONL, Markdown, HTML or JSON.

    One goes to the standard output without -o; several need a folder. JSONL has everything and
    can be imported again; the others have what `sessions show` shows.

    \b
    Examples:
      patina sessions export 01a1ffe8 -o talk.html
      patina sessions export --all --format jsonl -o backup
    """
    if bool(ids) == everything:
        raise UsageFault(
            "Name conversations, or --all of them.", hint="`patina sessions list` shows the ids."
        )
    kind = chosen or _by_suffix(output)
    if kind == "jsonl" and no_thinking:
        raise UsageFault(
            "JSONL is the whole conversation, thinking included.", hint="Choose md, html or json."
        )
    run = context(ctx)

    async def body(journal: FileJournal) -> int:
        found = await _chosen(journal, ids)
        layout = Layout(run.paths.data, run.paths.state)
        mask = await anyio.to_thread.run_sync(mask_of, run)
        rendering = partial(render, journal, layout, kind, thinking=not no_thinking, mask=mask)
        if output is None and (everything or len(found) > 1):
            raise UsageFault("Several conversations need a folder.", hint="Give one with -o.")
        if output is None:
            rendered = await rendering(found[0])
            _print(rendered)
            return EXIT_OK
        folder = everything or len(found) > 1 or output.is_dir()  # noqa: ASYNC240 - one look
        if not folder:
            rendered = await rendering(found[0])
            await anyio.to_thread.run_sync(write, output, rendered, force)
            _remark(rendered)
            return EXIT_OK
        return await _write_all(found, rendering, output, kind, force)

    return _with_journal(run, body)


@click.command("import")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--from",
    "wanted",
    type=click.Choice(FORMATS),
    default="auto",
    show_default=True,
    help="Which program wrote it.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be imported.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def import_(
    ctx: click.Context, paths: tuple[Path, ...], wanted: Format, dry_run: bool, as_json: bool
) -> int:
    r"""Import conversations of Patina, ChatGPT, Claude, llm, Open WebUI or LibreChat.

    A PATH is a file, a folder or a zip archive as the program gave it. Importing the same again
    adds only what is new. At the end stands what was found, imported and lost.

    \b
    Examples:
      patina sessions import chatgpt-export.zip
      patina sessions import conversations.json --from claude --dry-run
    """
    run = context(ctx)

    async def body(journal: FileJournal) -> Report:
        from patina.engine.large import put_away
        from patina.store.importing.run import Import
        from patina.store.memory import MemoryJournal

        mask = await anyio.to_thread.run_sync(mask_of, run)

        async def shrink(parts: tuple[Any, ...], most: int) -> tuple[Any, ...]:
            kept = MemoryJournal() if dry_run else journal
            return await put_away(parts, kept, most, mask)

        with _progress("Importing", "B") as told:
            importing = Import(
                journal,
                app=f"patina {__version__}",
                shrink=shrink,
                dry_run=dry_run,
                told=lambda progress: told(progress.done, progress.total),
                mask=mask,
            )
            for path in paths:
                await importing.add(path, wanted)
            return importing.report

    report = _with_journal(run, body)
    rows = report.rows()
    if as_json:
        from patina.cli.output import print_json

        print_json(_object(report, dry_run))
    else:
        _print_report(report, dry_run)
    if not any(row.type == "conversations" for row in rows):
        if as_json:
            return EXIT_ERROR
        raise UsageFault(
            "There are no conversations in it that Patina knows how to read.",
            hint="`patina sessions import --help` names the programs; give the file as it came.",
        )
    kept = any(row.imported or row.already for row in rows if row.type == "conversations")
    return EXIT_OK if kept else EXIT_ERROR


# -- export


def _by_suffix(output: Path | None) -> ExportFormat:
    suffix = output.suffix[1:].casefold() if output else ""
    return next((each for each in EXPORT_FORMATS if each == suffix), "md")


async def _chosen(journal: FileJournal, ids: Sequence[str]) -> list[str]:
    if ids:
        return list(dict.fromkeys([await journal.find(each) for each in ids]))
    listed = await journal.list()
    found = [each.conversation for each in listed if not (each.meta and each.meta.deleted)]
    if not found:
        raise UsageFault("There are no conversations to export.", hint="Begin one first.")
    return found


def _print(rendered: Rendered) -> None:
    if sys.stdout.isatty():
        print(safe_text(rendered.data.decode("utf-8", "replace")), end="")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(rendered.data)
        sys.stdout.buffer.flush()
    _remark(rendered)
    if rendered.beside:
        number = number_of(len(rendered.beside), "attachment")
        print(f"{number} not in the output; with -o they are written beside it.", file=sys.stderr)


def _remark(rendered: Rendered) -> None:
    for remark in rendered.remarks:
        print(remark, file=sys.stderr)


async def _write_all(
    found: Sequence[str],
    rendering: Callable[[str], Awaitable[Rendered]],
    folder: Path,
    kind: ExportFormat,
    force: bool,
) -> int:
    """Write each conversation into `folder`, and return the exit code."""
    from patina.store.exporting.names import Names

    names = Names()
    failed: list[str] = []
    with _progress("Exporting", " conversations") as told:
        for number, conversation in enumerate(found):
            try:
                rendered = await rendering(conversation)
                name = names.name(conversation, rendered.created, rendered.title, f".{kind}")
                await anyio.to_thread.run_sync(write, folder / name, rendered, force)
            except Fault as fault:
                failed.append(f"{conversation}: {fault.failure.message} {fault.failure.hint}")
            told(number + 1, len(found))
    done = len(found) - len(failed)
    print(safe_line(f"{_count(done, 'conversation')} written to {folder}."), file=sys.stderr)
    for each in failed:
        print(f"Not written: {safe_line(each)}", file=sys.stderr)
    return EXIT_ERROR if failed else EXIT_OK


# -- import


def _object(report: Report, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "products": dict(report.products),
        "counts": report.rows(),
        "lost": report.losses(),
        "changed": [{"count": number, "what": what} for what, number in report.changed.items()],
        "not_read": [{"name": name, "reason": why} for name, why in report.not_read],
        "session_ids": report.conversations,
    }


def _print_report(report: Report, dry_run: bool) -> None:
    from patina.cli.output import print_listing

    rows = report.rows()
    if rows:
        names = ", ".join(report.products) or "unknown"
        print(f"From {names}{', nothing written (dry run)' if dry_run else ''}:")
        keys = ("type", "found", "imported", "already", "lost")
        table = [{key: getattr(row, key) for key in keys} for row in rows]
        print_listing(table, {key: key.upper() for key in keys}, as_json=False)
    for loss in report.losses():
        print(safe_line(f"Lost: {loss.type}: {loss.count:,}, {loss.reason}."))
    for what, number in report.changed.items():
        print(safe_line(f"Changed: {number:,} {what}."))
    for name, why in report.not_read[:20]:
        print(safe_line(f"Not read: {name}: {why}."))
    if len(report.not_read) > 20:
        print(f"Not read: {len(report.not_read) - 20} more files.")


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


# -- both


@contextmanager
def _progress(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; elsewhere nothing. What it is told is (done, total)."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from tqdm import tqdm

    with tqdm(desc=what, unit=unit, unit_scale=True, file=sys.stderr, leave=False) as bar:

        def told(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield told


def _with_journal(run: Context, body: Callable[[FileJournal], Awaitable[T]]) -> T:
    async def main() -> T:
        async with FileJournal(run.paths.data, run.paths.state) as journal:
            return await body(journal)

    run.start_log()
    return anyio.run(main)
