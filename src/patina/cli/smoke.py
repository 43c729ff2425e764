"""`patina smoke`: a conversation with a tool, against stand-ins, checked afterwards (P-20)."""

import tempfile
from pathlib import Path

import anyio
import click

from patina.cli.output import print_json
from patina.config.environment import process_environment
from patina.model.faults import EXIT_ERROR, EXIT_OK, UsageFault
from patina.views.terminal_text import safe_text


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--keep", metavar="FOLDER", help="Leave the files of the run in this new folder.")
def smoke(as_json: bool, keep: str | None) -> int:
    r"""Try Patina against stand-ins, offline.

    Starts a stand-in for a provider and a small MCP server, runs a conversation with a tool call
    through the real engine in a folder of its own, and checks transcript and log. Your own
    configuration and files are neither read nor changed. Exit code 0 says that all is well.

    \b
    Examples:
      patina smoke
      patina smoke --json --keep smoke-files
    """
    from patina.assembly.smoke import Check, run_smoke

    def checked(folder: Path) -> list[Check]:
        return anyio.run(run_smoke, folder, process_environment())

    if keep is not None:
        checks = checked(_new_folder(keep))
    else:
        with tempfile.TemporaryDirectory(prefix="patina-smoke-") as folder:
            checks = checked(Path(folder))
    if as_json:
        print_json(checks)
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.what}")
            if not check.ok:
                click.echo(safe_text(f"      {check.detail}"), err=True)
    return EXIT_OK if all(check.ok for check in checks) else EXIT_ERROR


def _new_folder(text: str) -> Path:
    """Return the folder to keep the files in. Raises `UsageFault` where it holds anything."""
    folder = Path(text).absolute()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageFault(
                f"{folder} is not an empty folder.", hint="Name one that does not exist yet."
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageFault(
            f"{folder} cannot be used: {error.strerror}.", hint="Name another folder."
        ) from None
    return folder
