"""`patina mcp import`: servers from a file of another configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from patina.cli.context import Context, context
from patina.cli.output import print_json
from patina.model.faults import EXIT_ERROR, EXIT_OK, Fault, UsageFault
from patina.model.settings import ServerSettings
from patina.views.terminal_text import safe_text

if TYPE_CHECKING:
    from patina.mcp.legacy_config import McpConfig
    from patina.mcp.legacy_secrets import LegacySecrets

_LARGEST: Final = 16 * 1024 * 1024


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def import_(ctx: click.Context, path: Path, as_json: bool) -> int:
    r"""Take over the servers of the JSON file PATH.

    What is understood: `"version": "1.0"` with `"profiles"` and `"mcps"`. A server whose name is
    taken is skipped. Imported servers need `patina mcp trust` before they are started. Their keys
    and sign-ins are taken from the folder `secrets` beside PATH, whose files stay as they are.

    \b
    Example:
      patina mcp import config.json
    """
    from patina.mcp.legacy_config import decode

    run = context(ctx)
    imported: list[dict[str, Any]] = []
    done: list[Path] = []
    skipped: list[dict[str, str]] = []
    failed = False
    for config in decode(_read(path)).mcps:
        try:
            reason = _import(run, path, config, imported, done)
        except Fault as fault:
            reason, failed = fault.failure.message, True
        if reason:
            skipped.append({"name": config.name, "reason": reason})
    if as_json:
        files = [str(file) for file in done]
        print_json({"imported": imported, "skipped": skipped, "delete": files})
    else:
        for row in imported:
            click.echo(safe_text(f"Imported {row['server']}: {row['address']}"))
            for secret in row["secrets"]:
                click.echo(safe_text(f"  its key is kept as secret:{secret}"))
            if row["signed_in"]:
                click.echo("  its sign-in is kept")
            for line in row["to_do"]:
                click.echo(safe_text(f"  {line}"))
        for row in skipped:
            click.echo(safe_text(f"Skipped {row['name']}: {row['reason']}"), err=True)
        if done:
            click.echo("These files are not needed any more, and hold secrets. Delete them:")
            for file in done:
                click.echo(safe_text(f"  {file}"))
        if not imported and not skipped:
            click.echo("It holds no servers.", err=True)
    return EXIT_ERROR if failed else EXIT_OK


def _import(
    run: Context,
    path: Path,
    config: "McpConfig",
    imported: list[dict[str, Any]],
    done: list[Path],
) -> str:
    """Import one server, or return why it is skipped. Raises `Fault` where it cannot be.

    The files that its secrets were taken from are added to `done`.
    """
    from patina.cli.mcp_change import address
    from patina.cli.mcp_keep import save, trust_of
    from patina.mcp.legacy_config import to_settings
    from patina.mcp.legacy_secrets import find_secrets

    name, settings = to_settings(config)
    taken = {*run.load().settings.mcp_servers, *(row["server"] for row in imported)}
    if name in taken:
        return f"There is an MCP server named {name} already."
    found = find_secrets(path, config)
    for sentence in found.wrong:
        click.echo(safe_text(sentence), err=True)
    _keep(run, name, settings, found)
    done += found.files
    save(run, name, settings, consent=False)
    # What was once allowed under this name was another server's.
    trust_of(run, name, settings).forget(name)
    to_do = _to_do(run, name, settings)
    kept = sorted(f"{name}/{variable}" for variable in found.keys)
    imported.append(
        {
            "server": name,
            "address": address(settings),
            "secrets": kept,
            "signed_in": found.tokens is not None,
            "to_do": to_do,
        }
    )
    return ""


def _keep(run: Context, name: str, settings: ServerSettings, found: "LegacySecrets") -> None:
    """Keep the keys of a server under the names of their variables, and its sign-in."""
    for variable, value in found.keys.items():
        run.keys.set(f"{name}/{variable}", value)
    if found.tokens is not None:
        from patina.mcp.legacy_secrets import grant_of

        secrets = tuple(filter(None, (found.tokens.access, found.tokens.refresh)))
        run.grants.write(name, msgspec.json.encode(grant_of(settings, found.tokens)), secrets)


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
