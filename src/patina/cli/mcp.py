"""`patina mcp`: add, inspect and call MCP servers."""

from typing import Any

import click

from patina.cli.context import Context, context
from patina.cli.output import print_json, print_listing
from patina.model.faults import McpFault, PermissionFault, UsageFault
from patina.model.settings import ServerSettings
from patina.views.terminal_text import safe_text

_ENV = "A value may be env:NAME, secret:NAME or keyfile:PATH; an empty one removes it."
_PASS = {"ignore_unknown_options": True, "allow_interspersed_args": True}

DASHES = "patina.dashes"


class WithDashes(click.Command):
    """A command that knows whether "--" stood among its words: click takes it out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the dashes, then parse."""
        ctx.meta[DASHES] = "--" in args
        return super().parse_args(ctx, args)


@click.group()
def mcp() -> None:
    r"""Add, inspect and call MCP servers.

    \b
    Examples:
      patina mcp add "npx -y @modelcontextprotocol/server-everything"
      patina mcp tools everything
      patina mcp call everything echo message=hello
    """


@mcp.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    r"""List the configured servers. Starts none of them.

    \b
    Example:
      patina mcp list --json
    """
    from patina.assembly.app import App
    from patina.cli.running import run_app, setup_of

    async def body(app: App) -> list[dict[str, Any]]:
        found = []
        for status in app.supervisor.status():
            settings = app.supervisor.servers[status.server]
            found.append(
                {
                    "server": status.server,
                    "display_name": status.display_name,
                    "transport": settings.transport,
                    "enabled": settings.enabled,
                    "trusted": app.supervisor.trust.is_trusted(status.server),
                    "state": status.state,
                    "tools": status.tools if status.tools >= 0 else None,
                    "address": _address(settings),
                    "text": status.text,
                }
            )
        return found

    rows = run_app(setup_of(context(ctx)), body)
    columns = {"server": "SERVER", "state": "STATE", "tools": "TOOLS", "address": "RUNS"}
    columns["text"] = ""
    empty = "No MCP servers. Add one with `patina mcp add`."
    print_listing(rows, columns, as_json=as_json, empty=empty)


def _address(settings: ServerSettings) -> str:
    return settings.url or " ".join((settings.command, *settings.args))


@mcp.command()
@click.argument("server")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def trust(ctx: click.Context, server: str, yes: bool) -> None:
    r"""Allow SERVER to be started, after showing what would run.

    The consent is bound to the command, its folder, the names of its variables and the program
    it resolves to; a change of any asks again.

    \b
    Example:
      patina mcp trust files
    """
    from patina.assembly.app import App
    from patina.cli.consent import start_text
    from patina.cli.running import run_app, setup_of
    from patina.cli.tty import Person

    async def body(app: App) -> None:
        app.supervisor.settings(server)
        person = Person()
        click.echo(safe_text(start_text(app.supervisor.trust.describe(server))), err=True)
        if not yes:
            if not person.present:
                raise PermissionFault(
                    "Nobody is here to allow it.", hint=f"Run `patina mcp trust {server} --yes`."
                )
            if not await person.confirm("Allow it?"):
                raise PermissionFault(f"{server} stays as it is.")
        app.supervisor.trust.trust(server)

    run_app(setup_of(context(ctx)), body)


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
    from patina.assembly.app import App
    from patina.cli.running import run_app, setup_of

    async def body(app: App) -> list[dict[str, Any]]:
        if refresh or app.supervisor.definitions(server) is None:
            app.supervisor.settings(server)
            listed = await app.tools.refresh((server,))
        else:
            listed = await app.tools.list((server,))
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
            }
            for tool in listed
        ]

    rows = run_app(setup_of(context(ctx), approve), body)
    columns = {"name": "TOOL", "read_only": "READS ONLY", "description": "WHAT IT SAYS IT DOES"}
    print_listing(rows, columns, as_json=as_json, empty=f"{server} offers no tools.")


@mcp.command(context_settings=_PASS)
@click.argument("server")
@click.argument("tool")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--args", "json_text", metavar="JSON", help="All arguments as one JSON object.")
@click.option("--approve", default="ask", metavar="LIST", help="As in `patina ask`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def call(
    ctx: click.Context,
    server: str,
    tool: str,
    values: tuple[str, ...],
    json_text: str | None,
    approve: str,
    as_json: bool,
) -> int:
    r"""Call TOOL of SERVER, through the same gate as a model's call.

    Values are read by the type in the tool's schema, else as text.

    \b
    Examples:
      patina mcp call everything echo message=hello
      patina mcp call everything get-sum --args '{"a": 1, "b": 2}' --approve all
    """
    from patina.assembly.app import App
    from patina.cli.mcp_call import call_tool
    from patina.cli.running import run_app, setup_of

    if json_text is not None and values:
        raise UsageFault("Give arguments as KEY=VALUE or with --args, not both.")

    async def body(app: App) -> int:
        return await call_tool(app, server, tool, values, json_text, as_json=as_json)

    return run_app(setup_of(context(ctx), approve), body)


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
    _settings(run, server)
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


@mcp.command(cls=WithDashes, context_settings=_PASS)
@click.argument("words", nargs=-1, required=True, metavar="'ONE LINE' | NAME -- COMMAND [ARGS]...")
@click.option("--name", metavar="NAME", help="Its name; made from the line unless set.")
@click.option("--display-name", metavar="TEXT", help="How people see it.")
@click.option("--transport", type=click.Choice(["stdio", "streamable-http", "sse", "websocket"]))
@click.option("--url", metavar="URL", help="Address of a remote server.")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help=_ENV)
@click.option("--cwd", metavar="FOLDER", help="Folder it starts in.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def add(
    ctx: click.Context,
    words: tuple[str, ...],
    name: str | None,
    display_name: str | None,
    transport: str | None,
    url: str | None,
    variables: tuple[str, ...],
    cwd: str | None,
    as_json: bool,
) -> None:
    r"""Add a server. Adding is consent to start exactly that command.

    \b
    Examples:
      patina mcp add "npx -y @modelcontextprotocol/server-everything"
      patina mcp add files -- npx -y @modelcontextprotocol/server-filesystem .
      patina mcp add github "npx -y @github/mcp-server" --env GITHUB_TOKEN=env:GITHUB_TOKEN
    """
    from patina.cli import mcp_edit

    run = context(ctx)
    added, settings = mcp_edit.from_words(
        run, words, name, dashes=ctx.meta[DASHES], url=url, transport=transport
    )
    settings = mcp_edit.changed(settings, display_name=display_name, variables=variables, cwd=cwd)
    if added in run.load().settings.mcp_servers:
        raise UsageFault(
            f"There is an MCP server named {added} already.",
            hint=f"Choose another --name, or change it with `patina mcp edit {added}`.",
        )
    mcp_edit.save(run, added, settings, consent=True)
    if as_json:
        print_json({"server": added, **mcp_edit.plain(settings)})
    else:
        click.echo(safe_text(f"Added {added}: {_address(settings)}"))


@mcp.command(context_settings=_PASS)
@click.argument("server")
@click.argument("command", nargs=-1, metavar="[-- COMMAND [ARGS]...]")
@click.option("--display-name", metavar="TEXT", help="How people see it.")
@click.option("--url", metavar="URL", help="Address of a remote server.")
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", help=f"{_ENV} NAME= removes."
)
@click.option("--cwd", metavar="FOLDER", help="Folder it starts in.")
@click.option("--tool-timeout", type=click.FloatRange(0, min_open=True), metavar="S")
@click.option("--allow-tool", "allowed", multiple=True, metavar="GLOB", help="Offer only these.")
@click.pass_context
def edit(
    ctx: click.Context,
    server: str,
    command: tuple[str, ...],
    display_name: str | None,
    url: str | None,
    variables: tuple[str, ...],
    cwd: str | None,
    tool_timeout: float | None,
    allowed: tuple[str, ...],
) -> None:
    r"""Change SERVER. Giving its command is consent to start exactly that command.

    \b
    Examples:
      patina mcp edit files --tool-timeout 60
      patina mcp edit files -- npx -y @modelcontextprotocol/server-filesystem ~/notes
    """
    from patina.cli import mcp_edit

    run = context(ctx)
    settings = _settings(run, server)
    if command:
        settings = mcp_edit.with_command(run, settings, command)
    changed = mcp_edit.changed(
        settings,
        display_name=display_name,
        variables=variables,
        cwd=cwd,
        url=url,
        tool_timeout=tool_timeout,
        allowed=allowed,
    )
    if changed == _settings(run, server):
        raise UsageFault("Nothing to change was given.", hint="`patina mcp edit --help` lists it.")
    mcp_edit.save(run, server, changed, consent=bool(command))


@mcp.command()
@click.argument("server")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def remove(ctx: click.Context, server: str, yes: bool) -> None:
    r"""Remove SERVER, the consent to start it and its stored credentials.

    \b
    Example:
      patina mcp remove files --yes
    """
    from patina.cli import mcp_edit

    run = context(ctx)
    display = _settings(run, server).display_name or server
    if not yes:
        question = f'Delete "{display}"?\n\nThis will remove the MCP and its stored credentials.'
        mcp_edit.confirm(question, f"patina mcp remove {server} --yes")
    mcp_edit.forget(run, server)


@mcp.command()
@click.argument("server")
@click.pass_context
def enable(ctx: click.Context, server: str) -> None:
    r"""Offer the tools of SERVER again.

    \b
    Example:
      patina mcp enable files
    """
    _switch(context(ctx), server, on=True)


@mcp.command()
@click.argument("server")
@click.pass_context
def disable(ctx: click.Context, server: str) -> None:
    r"""Keep SERVER in the configuration, but do not start it or offer its tools.

    \b
    Example:
      patina mcp disable files
    """
    _switch(context(ctx), server, on=False)


def _switch(run: Context, server: str, *, on: bool) -> None:
    from patina.config.save import set_value

    _settings(run, server)
    set_value(run.paths, f"mcp_servers.{server}.enabled", on)


def _settings(run: Context, server: str) -> ServerSettings:
    servers = run.load().settings.mcp_servers
    if server not in servers:
        known = ", ".join(servers) or "none"
        raise UsageFault(
            f"There is no MCP server named {server}.", hint=f"Configured are: {known}."
        )
    return servers[server]
