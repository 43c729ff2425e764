"""`patina mcp import`: servers from a file of another configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from patina.cli.context import Context, context
from patina.cli.output import print_json
from patina.model.faults import EXIT_ERROR, EXIT_OK, Fault, UsageFault
from patina.model.settings import ServerSettings
from patina.views.terminal_text import safe_text

if TYPE_CHECKING:
    from patina.mcp.legacy_config import McpConfig

_LARGEST: Final = 16 * 1024 * 1024


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def import_(ctx: click.Context, path: Path, as_json: bool) -> int:
    r"""Take over the servers of the JSON file PATH.

    What is understood: `"version": "1.0"` with `"profiles"` and `"mcps"`. A server whose name is
    taken is skipped. Imported servers need `patina mcp trust` before they are started.

    \b
    Example:
      patina mcp import config.json
    """
    from patina.mcp.legacy_config import decode

    run = context(ctx)
    imported: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    failed = False
    for config in decode(_read(path)).mcps:
        try:
            reason = _import(run, config, imported)
        except Fault as fault:
            reason, failed = fault.failure.message, True
        if reason:
            skipped.append({"name": config.name, "reason": reason})
    if as_json:
        print_json({"imported": imported, "skipped": skipped})
    else:
        for row in imported:
            click.echo(safe_text(f"Imported {row['server']}: {row['address']}"))
            for line in row["to_do"]:
                click.echo(safe_text(f"  {line}"))
        for row in skipped:
            click.echo(safe_text(f"Skipped {row['name']}: {row['reason']}"), err=True)
        if not imported and not skipped:
            click.echo("It holds no servers.", err=True)
    return EXIT_ERROR if failed else EXIT_OK


def _import(run: Context, config: "McpConfig", imported: list[dict[str, Any]]) -> str:
    """Import one server, or return why it is skipped. Raises `Fault` where it cannot be."""
    from patina.cli.mcp_change import address
    from patina.cli.mcp_keep import save, trust_of
    from patina.mcp.legacy_config import to_settings

    name, settings = to_settings(config)
    taken = {*run.load().settings.mcp_servers, *(row["server"] for row in imported)}
    if name in taken:
        return f"There is an MCP server named {name} already."
    save(run, name, settings, consent=False)
    # What was once allowed under this name was another server's.
    trust_of(run, name, settings).forget(name)
    to_do = _to_do(run, name, settings)
    imported.append({"server": name, "address": address(settings), "to_do": to_do})
    return ""


def _to_do(run: Context, name: str, settings: ServerSettings) -> list[str]:
    """Return the commands that are still needed before the server can be used."""
    kept = set(run.keys.names())
    values = [*settings.env.values(), *settings.headers.values()]
    secrets = [value.partition("secret:")[2] for value in values]
    commands = [f"patina keys set {one}" for one in secrets if one and one not in kept]
    return [*commands, f"patina mcp trust {name}"] if settings.transport == "stdio" else commands


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {(error.strerror or '').lower()}.") from None
    if len(content) > _LARGEST:
        raise UsageFault(f"{path} is too large to be a configuration.")
    return content
