"""`patina smoke`: a conversation with a tool, against stand-ins, checked afterwards (P-20)."""

import sys
import tempfile
from pathlib import Path

import anyio
import click

from patina.cli.context import context
from patina.cli.output import print_json
from patina.model.faults import EXIT_ERROR, EXIT_OK


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--keep", metavar="FOLDER", help="Leave the files of the run in this folder.")
@click.pass_context
def smoke(ctx: click.Context, as_json: bool, keep: str | None) -> int:
    r"""Try Patina against stand-ins, offline.

    Starts a stand-in for a provider and a small MCP server, runs a conversation with a tool call
    through the real engine in a folder of its own, and checks transcript and log. Exit code 0
    says that all is well.

    \b
    Examples:
      patina smoke
      patina smoke --json --keep smoke-files
    """
    from patina.assembly.smoke import Check, run_smoke

    run = context(ctx)

    def checked(folder: Path) -> list[Check]:
        return anyio.run(run_smoke, folder, run.environment.process)

    if keep is not None:
        checks = checked(Path(keep).absolute())
    else:
        with tempfile.TemporaryDirectory(prefix="patina-smoke-") as folder:
            checks = checked(Path(folder))
    if as_json:
        print_json(checks)
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.what}", file=sys.stdout)
            if not check.ok:
                click.echo(f"      {check.detail}", err=True)
    return EXIT_OK if all(check.ok for check in checks) else EXIT_ERROR
