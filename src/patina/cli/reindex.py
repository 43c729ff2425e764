"""`patina reindex`."""

import time
from typing import Any

import anyio
import click

from patina.assembly.library import open_library
from patina.cli.context import Context, context
from patina.cli.output import print_json
from patina.cli.progress import ProgressLine


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def reindex(ctx: click.Context, as_json: bool) -> None:
    r"""Build the index of all conversations, and that of what they cost, anew from their files.

    Nothing needs this in daily use: the index follows by itself what is written, and mends itself.

    \b
    Example:
      patina reindex
    """
    result = anyio.run(_rebuilt, context(ctx))
    if as_json:
        print_json(result)
    else:
        size, seconds = result["bytes"] / 1_000_000, result["duration_ms"] / 1000
        click.echo(f"The index is new: {size:,.1f} MB of transcripts in {seconds:.1f} s.")


async def _rebuilt(run: Context) -> dict[str, Any]:
    from patina.ports.library import Progress

    servers = run.load().settings.mcp_servers
    since = time.monotonic()
    last = Progress(0, 0)

    def report(progress: Progress) -> None:
        nonlocal last
        last = progress
        line(progress)

    with ProgressLine("Reading transcripts") as line:
        async with open_library(run.paths, servers) as library:
            await library.rebuild(report)
        await _rebuild_ledger(run)
    return {"bytes": last.done, "duration_ms": int((time.monotonic() - since) * 1000)}


async def _rebuild_ledger(run: Context) -> None:
    from patina.store.money.ledger import FileLedger

    async with FileLedger(run.paths.data, run.paths.state) as ledger:
        await ledger.rebuild()
