"""`patina mcp`: add, inspect and call MCP servers."""

from typing import TYPE_CHECKING, Any

import click

from patina.cli import mcp_features, mcp_login, mcp_review, mcp_test, mcp_token
from patina.cli.context import context
from patina.cli.mcp_change import add, address, configured_server, disable, edit, enable, remove
from patina.cli.mcp_import import import_
from patina.cli.output import print_listing
from patina.cli.signed_in import signed_in
from patina.model.faults import EXIT_ERROR, EXIT_OK, McpFault, PermissionFault, UsageFault
from patina.views.terminal_text import safe_text

if TYPE_CHECKING:
    from patina.assembly.app import App
    from patina.mcp.supervisor import ServerStatus


@click.group()
def mcp() -> None:
    r"""Add, inspect and call MCP servers.

    \b
    Examples:
      patina mcp add everything -- npx -y @modelcontextprotocol/server-everything
      patina mcp tools everything
      patina mcp call everything echo message=hello
    """


for _command in (
    *(add, edit, remove, enable, disable, import_),
    *(mcp_login.login, mcp_login.logout, mcp_token.token),
):
    mcp.add_command(_command)


@mcp.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    r"""List the configured servers. Starts none of them.

    \b
    Example:
      patina mcp list --json
    """
    from patina.cli.running import run_app, setup_of
    from patina.mcp.environment import look_up

    run = context(ctx)

    async def body(app: "App") -> list[dict[str, Any]]:
        await look_up(app.supervisor.servers.values(), run.environment.process)
        return [await _row(app, status) for status in app.supervisor.status()]

    rows = run_app(setup_of(run, save=False), body, discover=False)
    columns = {"server": "SERVER", "state": "STATE", "tools": "TOOLS", "address": "RUNS"}
    columns["text"] = ""
    empty = "No MCP servers. Add one with `patina mcp add`."
    print_listing(rows, columns, as_json=as_json, empty=empty)


async def _row(app: "App", status: "ServerStatus") -> dict[str, Any]:
    settings = app.supervisor.servers[status.server]
    state, text = status.state, status.text
    if settings.enabled:
        try:
            app.supervisor.startable(status.server)
        except McpFault as fault:
            state, text = "error", fault.failure.message
        except PermissionFault:
            pass  # the status says what to do
    sign_in, words = await signed_in(app, status.server)
    return {
        "server": status.server,
        "display_name": status.display_name,
        "transport": settings.transport,
        "enabled": settings.enabled,
        "trusted": app.supervisor.trust.is_trusted(status.server),
        "state": state,
        "tools": status.tools if status.tools >= 0 else None,
        "address": address(settings),
        "sign_in": sign_in.state,
        "account": sign_in.account,
        "text": "; ".join(one for one in (words, text) if one),
    }


@mcp.command()
@click.argument("server")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def trust(ctx: click.Context, server: str, yes: bool) -> int:
    r"""Allow SERVER to be started, after showing what would run.

    The consent is bound to the command, its folder, the names of its variables and the program
    it resolves to; a change of any asks again.

    \b
    Example:
      patina mcp trust files
    """
    from patina.cli import mcp_edit, mcp_keep
    from patina.cli.consent import start_text
    from patina.mcp.package import with_command

    run = context(ctx)
    settings = with_command(configured_server(run, server))
    if settings.transport != "stdio":
        click.echo(f"{server} is remote: nothing is started for it, so it needs no consent.")
        return EXIT_OK
    known = mcp_keep.trust_of(run, server, settings)
    plan = known.describe(server)
    if not plan.binary:
        raise McpFault(
            f"Server {server} cannot be started: there is no program {settings.command}.",
            hint="Install it first: the consent is to exactly the program that is found.",
        )
    click.echo(safe_text(start_text(plan)), err=True)
    if plan.trusted:
        return EXIT_OK
    if not yes and not mcp_edit.confirm("Allow it to start?", f"patina mcp trust {server} --yes"):
        return EXIT_ERROR
    known.trust(server)
    return EXIT_OK


@mcp.command()
@click.argument("server")
@click.option("--refresh", is_flag=True, help="Ask the server anew.")
@click.option("--approve", default="ask", metavar="LIST", help="start:SERVER starts it this once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, schemas included.")
@click.pass_context
def tools(ctx: click.Context, server: str, refresh: bool, approve: str, as_json: bool) -> None:
    r"""List the tools of SERVER, from the cache where it was seen before.

    \b
    Examples:
      patina mcp tools everything
      patina mcp tools everything --refresh --json
    """
    from patina.cli.mcp_call import listed
    from patina.cli.running import run_app, setup_of

    async def body(app: "App") -> list[dict[str, Any]]:
        found = await listed(app, server, refresh=refresh)
        flags = mcp_review.flags_by_tool(app, server)
        return [
            {
                "server": tool.server,
                "tool": tool.tool,
                "name": tool.name,
                "alias": tool.alias,
                "description": tool.description,
                "read_only": tool.read_only,
                "destructive": tool.destructive,
                "open_world": tool.open_world,
                "input_schema": tool.schema,
                "change": tool.change,
                "flags": flags.get(tool.tool, []),
            }
            for tool in found
        ]

    rows = run_app(setup_of(context(ctx), approve), body, discover=False)
    columns = {"name": "TOOL", "read_only": "READS ONLY", "description": "WHAT IT SAYS IT DOES"}
    if any(row["change"] for row in rows):
        columns = {"name": "TOOL", "change": "OFF", **columns}
    print_listing(rows, columns, as_json=as_json, empty=f"{server} offers no tools.")
    mcp_review.hint(server, rows)


@mcp.command()
@click.argument("server")
@click.argument("tool")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--args", "json_text", metavar="JSON", help="All arguments as one JSON object.")
@click.option("--approve", default="ask", metavar="LIST", help="As in `patina ask`.")
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="JSON",
    help="Answer what the server asks: the values of a form. Once for each question, in order.",
)
@click.option("--decline", is_flag=True, help="Refuse whatever else the server asks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def call(
    ctx: click.Context,
    server: str,
    tool: str,
    values: tuple[str, ...],
    json_text: str | None,
    approve: str,
    answers: tuple[str, ...],
    decline: bool,
    as_json: bool,
) -> int:
    r"""Call TOOL of SERVER, through the same gate as a model's call.

    Values are read by the type in the tool's schema, else as text. What the server asks meanwhile
    goes to the terminal; with nobody there and no --answer, it is told that nobody answered.

    \b
    Examples:
      patina mcp call everything echo message=hello
      patina mcp call everything get-sum --args '{"a": 1, "b": 2}' --approve all
      patina mcp call everything trigger-elicitation-request --answer '{"name": "Ada"}'
    """
    from patina.cli.mcp_call import call_tool
    from patina.cli.running import run_app, setup_of
    from patina.cli.signals import Signals
    from patina.cli.terminal_dialog import given_of

    if json_text is not None and values:
        raise UsageFault("Give arguments as KEY=VALUE or with --args, not both.")

    signals, given = Signals(), given_of(answers, decline=decline)

    async def body(app: "App") -> int:
        return await call_tool(
            app, server, tool, values, json_text, as_json=as_json, given=given, signals=signals
        )

    return run_app(setup_of(context(ctx), approve), body, discover=False, signals=signals)


@mcp.command()
@click.argument("server")
@click.option(
    "-n", "--lines", type=click.IntRange(1), default=50, metavar="N", help="50 unless set."
)
@click.pass_context
def logs(ctx: click.Context, server: str, lines: int) -> None:
    r"""Show what SERVER wrote to its standard error, newest last.

    \b
    Example:
      patina mcp logs everything -n 100
    """
    from patina.mcp.server_log import log_path

    run = context(ctx)
    configured_server(run, server)
    path = log_path(run.paths.state, server)
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        click.echo(f"{server} has written nothing yet.", err=True)
        return
    except OSError as error:
        raise McpFault(f"{path} cannot be read: {error.strerror}.") from None
    for line in text.split("\n")[-lines - 1 :]:
        if line:
            click.echo(safe_text(line))


for _command in (
    mcp_features.resources,
    mcp_features.read,
    mcp_features.prompts,
    mcp_features.prompt,
    mcp_features.complete,
    mcp_features.watch,
    mcp_review.review,
    mcp_test.test,
    mcp_test.doctor,
):
    mcp.add_command(_command)
