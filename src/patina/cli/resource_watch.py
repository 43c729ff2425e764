"""Changes of a resource, as they are told."""

import click

from patina.assembly.app import App
from patina.cli.consent import need_start
from patina.cli.output import print_json
from patina.model.events import ResourceChanged, ServerNotice
from patina.model.faults import McpFault
from patina.views.terminal_text import safe_line


async def watch_resource(app: App, server: str, uri: str, *, as_json: bool) -> None:
    """Print a line for each change of the resource, until cancelled.

    Raises `Fault`s, and `McpFault` where the server ends for good.
    """
    await need_start(app, server)
    with app.engine.subscribe("") as subscription:
        await app.features.subscribe(server, uri)
        click.echo(f"Waiting for changes of {safe_line(uri)}. Ctrl+C ends it.", err=True)
        async for event in subscription:
            if isinstance(event, ServerNotice) and event.server == server:
                if event.level == "error":
                    raise McpFault(event.text)
                if event.level == "warning":
                    click.echo(safe_line(event.text), err=True)
            elif isinstance(event, ResourceChanged) and event.server == server:
                if as_json:
                    row = {"ts": event.ts, "server": event.server, "uri": event.uri}
                    print_json(row, indent=False)
                else:
                    print(f"{event.ts}  {safe_line(event.uri)}", flush=True)
