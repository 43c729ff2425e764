"""`patina mcp test` and `patina mcp doctor`: does a server work, and if not, why not."""

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from patina.cli.context import Context, context
from patina.cli.mcp_change import configured_server
from patina.cli.output import print_json
from patina.model.codec import encode_json
from patina.model.faults import EXIT_ERROR, EXIT_OK, EXIT_PERMISSION, McpFault
from patina.views.terminal_text import safe_text

if TYPE_CHECKING:
    from patina.assembly.app import App

_AT_ONCE = 3


@click.command()
@click.argument("server")
@click.option("--approve", default="ask", metavar="LIST", help="start:SERVER starts it this once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def test(ctx: click.Context, server: str, approve: str, as_json: bool) -> int:
    r"""Connect SERVER now and say in short how it went.

    Exit code 1 and what is wrong, if it does not work; 4 if somebody has to sign in first.

    \b
    Examples:
      patina mcp test everything
      patina mcp test everything --json
    """
    from patina.cli.consent import need_start
    from patina.cli.mcp_report import brief, inspect, plain
    from patina.cli.running import run_app, setup_of

    run = context(ctx)
    configured_server(run, server)

    async def body(app: "App") -> int:
        app.supervisor.settings(server)
        with suppress(McpFault):  # the diagnosis says it
            await need_start(app, server)
        found = await inspect(app, server, deep=False)
        if as_json:
            print_json(_masked(run, plain(found, session=run.debug_mcp, deep=False)))
        else:
            for line in brief(found):
                click.echo(safe_text(run.redactor(line)))
        if found.sign_in_missing:
            return EXIT_PERMISSION
        return EXIT_OK if found.works else EXIT_ERROR

    return run_app(setup_of(run, approve, save=False), body, discover=False)


@click.command()
@click.argument("server", required=False)
@click.option("--approve", default="ask", metavar="LIST", help="start:SERVER starts it this once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, server: str | None, approve: str, as_json: bool) -> int:
    r"""Say everything about SERVER: how it is reached, how its start goes, what models are sent.

    Without SERVER all enabled ones are connected, and told of in brief. One that was never
    allowed to start is not started: exit code 4 if it is SERVER, or if that wants you to sign in.
    Exit code 1 says that something does not work.

    \b
    Examples:
      patina mcp doctor everything
      patina mcp doctor --json
    """
    import anyio

    from patina.cli.mcp_report import Inspection, brief, full, inspect, plain
    from patina.cli.running import run_app, setup_of

    run = context(ctx)
    if server is not None:
        configured_server(run, server)

    async def body(app: "App") -> int:
        configured = app.supervisor.servers
        names = [server] if server else [name for name, one in configured.items() if one.enabled]
        found: dict[str, Inspection] = {}
        turns = anyio.Semaphore(_AT_ONCE)

        async def one(name: str) -> None:
            async with turns:
                found[name] = await inspect(app, name, deep=server is not None)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(one, name)
        deep = server is not None
        if as_json:
            objects = [plain(found[name], session=run.debug_mcp, deep=deep) for name in names]
            print_json(_masked(run, objects[0] if deep else objects))
        else:
            show = full if deep else brief
            for name in names:
                for line in show(found[name], session=run.debug_mcp):
                    click.echo(safe_text(run.redactor(line)))
            if not names:
                click.echo("No MCP servers are enabled.", err=True)
        if deep and (found[names[0]].consent_missing or found[names[0]].sign_in_missing):
            return EXIT_PERMISSION
        return EXIT_OK if all(one.works or one.skipped for one in found.values()) else EXIT_ERROR

    return run_app(setup_of(run, approve, save=False), body, discover=False)


def _masked(run: Context, value: object) -> object:
    """Return `value` as plain JSON data, secrets masked: arguments and words of servers are free.

    The redactor knows how secrets are written in JSON, and breaks none.
    """
    import msgspec

    return msgspec.json.decode(run.redactor(encode_json(value).decode()))
