"""`patina verify`."""

import click

from patina.cli.context import Context, context
from patina.cli.output import print_json
from patina.cli.progress import ProgressLine
from patina.model.faults import EXIT_ERROR, EXIT_OK
from patina.store.verify import Verified
from patina.store.verify import verify as check
from patina.views.terminal_text import safe_line

_MOST_SHOWN = 1000


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(ctx: click.Context, as_json: bool) -> int:
    r"""Check each line of all transcripts and of the ledger, and all attachments.

    Exit code 1 says that something is damaged: what, and where, is printed.

    \b
    Examples:
      patina verify
      patina verify --json
    """
    found = _verified(context(ctx))
    if as_json:
        print_json(
            {
                "conversations": found.conversations,
                "files": found.files,
                "lines": found.lines,
                "blobs": found.blobs,
                "unreferenced": found.unreferenced,
                "usage_files": found.usage_files,
                "usage_lines": found.usage_lines,
                "bytes": found.bytes,
                "damaged_lines": found.damaged_lines,
                "damaged": found.damaged,
            }
        )
    else:
        _show(found)
    return EXIT_ERROR if found.damaged else EXIT_OK


def _verified(run: Context) -> Verified:
    run.start_log()
    with ProgressLine("Checking") as line:
        return check(run.paths.data, line)


def _show(found: Verified) -> None:
    for damage in found.damaged[:_MOST_SHOWN]:
        place = f"{damage.file}:{damage.line}" if damage.line else damage.file
        click.echo(safe_line(f"{place}: {damage.reason}"))
    if len(found.damaged) > _MOST_SHOWN:
        click.echo(f"… and {len(found.damaged) - _MOST_SHOWN:,} more; --json has all.")
    click.echo(counts(found))
    if not found.damaged:
        click.echo("Everything is as it was written.")
    else:
        files = len({damage.file for damage in found.damaged})
        click.echo(
            f"{number(found.damaged_lines, 'damaged line')}, "
            f"{number(len(found.damaged) - found.damaged_lines, 'damaged file')}, "
            f"in {number(files, 'file')} altogether. "
            "Damaged lines are skipped when a conversation is opened; all others are read."
        )


def counts(found: Verified) -> str:
    """Return what was looked at, as a sentence."""
    loose = f" ({found.unreferenced:,} of them named by nothing)" if found.unreferenced else ""
    money = f", {number(found.usage_lines, 'line')} of the ledger" if found.usage_files else ""
    return (
        f"{number(found.conversations, 'conversation')}, {number(found.files, 'transcript')}, "
        f"{number(found.lines, 'sound line')}, {number(found.blobs, 'attachment')}{loose}{money}."
    )


def number(count: int, what: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
