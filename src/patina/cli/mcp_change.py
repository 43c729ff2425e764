"""The verbs of `patina mcp` that change the configuration: add, edit, remove, enable, disable."""

from typing import Any

import click

from patina.cli.context import Context, context
from patina.cli.mcp_options import settings_options
from patina.cli.output import print_json
from patina.model.faults import EXIT_ERROR, EXIT_OK, UsageFault
from patina.model.settings import ServerSettings
from patina.views.terminal_text import safe_text

_PASS = {"ignore_unknown_options": True}
_BEHIND = "patina.behind"


class WithDashes(click.Command):
    """A command that knows how many words stood behind "--": click takes the dashes out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Count, then parse."""
        ctx.meta[_BEHIND] = len(args) - args.index("--") - 1 if "--" in args else None
        return super().parse_args(ctx, args)


def behind_dashes(ctx: click.Context, words: tuple[str, ...]) -> int | None:
    """Return how many of `words` stood behind "--", None where there was none.

    Raises `NoSuchOption` for a word that was meant as an option.
    """
    behind: int | None = ctx.meta[_BEHIND]
    # Without dashes the options behind a command's name are its own.
    before = words[:1] if behind is None else words[: len(words) - behind]
    for word in before:
        if word.startswith("-"):
            names = [name for option in ctx.command.params for name in option.opts]
            raise click.NoSuchOption(word.partition("=")[0], possibilities=names, ctx=ctx)
    return behind


def configured_server(run: Context, server: str) -> ServerSettings:
    """Return the settings of `server`. Raises `UsageFault` where there is none."""
    servers = run.load().settings.mcp_servers
    if server not in servers:
        known = ", ".join(servers) or "none"
        raise UsageFault(
            f"There is no MCP server named {server}.", hint=f"Configured are: {known}."
        )
    return servers[server]


def address(settings: ServerSettings) -> str:
    """Return where a server is, or what is run, without what looks secret in an address."""
    if settings.transport != "stdio":
        if "@" not in settings.url and "=" not in settings.url:
            return settings.url
        from patina.secrets.redact import Redactor

        return Redactor()(settings.url)
    from patina.mcp.package import with_command
    from patina.mcp.text import command_line

    filled = with_command(settings)
    return command_line((filled.command, *filled.args))


@click.command(cls=WithDashes, context_settings=_PASS)
@click.argument(
    "words", nargs=-1, metavar="'ONE LINE' | NAME 'ONE LINE' | NAME -- COMMAND [ARGS]..."
)
@click.option("--name", metavar="NAME", help="Its name; made from the line unless set.")
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def add(
    ctx: click.Context,
    /,
    words: tuple[str, ...],
    name: str | None,
    transport: str | None,
    url: str | None,
    package: str | None,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - values of `settings_options`
) -> None:
    r"""Add a server. Adding is consent to start exactly that command.

    A literal value of --env or --header whose name says that it is a secret goes to the keys.
    Nothing is started or contacted.

    \b
    Examples:
      patina mcp add "npx -y @modelcontextprotocol/server-memory"
      patina mcp add files -- npx -y @modelcontextprotocol/server-filesystem .
      patina mcp add github "npx -y @github/mcp-server" --env GITHUB_TOKEN=env:GITHUB_TOKEN
      patina mcp add far --url https://mcp.example.com/mcp --header "X-Api-Key=env:FAR_KEY"
    """
    from patina.cli import mcp_edit, mcp_keep, mcp_oauth
    from patina.cli.mcp_given import changed

    run = context(ctx)
    behind = behind_dashes(ctx, words)
    added, settings = mcp_edit.from_words(
        run, words, name, behind=behind, url=url, package=package, cwd=given["cwd"]
    )
    secret = given["client_secret"]
    given["client_secret"] = mcp_oauth.reference_of(added, secret)
    settings = changed(mcp_edit.with_transport(settings, transport), **given)
    if added in run.load().settings.mcp_servers:
        raise UsageFault(
            f"There is an MCP server named {added} already.",
            hint=f"Choose another --name, or change it with `patina mcp edit {added}`.",
        )
    mcp_oauth.keep_secret(run, added, secret)
    settings = mcp_keep.save(run, added, settings, consent=True)
    if as_json:
        print_json({"server": added, **mcp_keep.plain(settings)})
    else:
        click.echo(safe_text(f"Added {added}: {address(settings)}"))
    mcp_keep.show_destination(settings)
    hint = mcp_oauth.sign_in_hint(added, settings)
    if hint:
        click.echo(hint, err=True)


@click.command(cls=WithDashes)
@click.argument("server")
@click.argument("command", nargs=-1, metavar="[-- COMMAND [ARGS]...]")
@settings_options
@click.pass_context
def edit(
    ctx: click.Context,
    /,
    server: str,
    command: tuple[str, ...],
    transport: str | None,
    url: str | None,
    package: str | None,
    **given: Any,  # noqa: ANN401 - values of `settings_options`
) -> None:
    r"""Change SERVER. Giving its command is consent to start exactly that command.

    A server that might be started before still may: what you type here, you want. One that
    nobody allowed yet stays so, unless its command is given. With --package, what stands behind
    the dashes are its arguments.

    \b
    Examples:
      patina mcp edit files --tool-timeout 60
      patina mcp edit files -- npx -y @modelcontextprotocol/server-filesystem ~/notes
    """
    from patina.cli import mcp_edit, mcp_keep, mcp_oauth
    from patina.cli.mcp_given import changed

    run = context(ctx)
    behind = ctx.meta[_BEHIND]
    if len(command) != (behind or 0):
        raise UsageFault(
            f"{command[0]} is not understood here.",
            hint=f"A new command stands behind dashes: patina mcp edit {server} -- COMMAND ARGS…",
        )
    old = settings = configured_server(run, server)
    mcp_edit.check_one(url=url, package=package, command=() if package else command)
    if package is not None:
        settings = mcp_edit.with_package(settings, package, command)
    elif command:
        settings = mcp_edit.with_command(run, settings, command, given["cwd"])
    elif url is not None:
        settings = mcp_edit.with_url(run, settings, url)
    secret = given["client_secret"]
    given["client_secret"] = mcp_oauth.reference_of(server, secret)
    settings = changed(mcp_edit.with_transport(settings, transport), **given)
    started = bool(command) or package is not None
    if settings == old and not started and secret != mcp_oauth.ASKED:
        raise UsageFault("Nothing to change was given.", hint="`patina mcp edit --help` lists it.")
    was_trusted = mcp_keep.trusted(run, server, old)
    mcp_oauth.keep_secret(run, server, secret)
    settings = mcp_keep.save(run, server, settings, consent=started or was_trusted)
    if settings.url != old.url:
        mcp_keep.show_destination(settings)


@click.command()
@click.argument("server")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def remove(ctx: click.Context, server: str, yes: bool) -> int:
    r"""Remove SERVER, the consent to start it and its stored credentials.

    Who is signed in to it is signed out first, where it can be reached.

    \b
    Example:
      patina mcp remove files --yes
    """
    from patina.cli import mcp_edit, mcp_keep

    run = context(ctx)
    settings = configured_server(run, server)
    display = settings.display_name or server
    question = f'Delete "{display}"?\n\nThis will remove the MCP and its stored credentials.'
    if not yes and not mcp_edit.confirm(question, f"patina mcp remove {server} --yes"):
        return EXIT_ERROR
    if run.grants.read(server) is not None:
        _sign_out(run, server, settings)
    mcp_keep.forget(run, server)
    return EXIT_OK


def _sign_out(run: Context, server: str, settings: ServerSettings) -> None:
    from patina.cli.mcp_login import sign_out
    from patina.cli.running import run_app, setup_of

    setup = setup_of(run, save=False)
    for sentence in run_app(setup, lambda app: sign_out(app, server, settings), discover=False):
        click.echo(safe_text(sentence), err=True)


@click.command()
@click.argument("server")
@click.pass_context
def enable(ctx: click.Context, server: str) -> None:
    r"""Offer the tools of SERVER again.

    \b
    Example:
      patina mcp enable files
    """
    _switch(context(ctx), server, on=True)


@click.command()
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

    configured_server(run, server)
    set_value(run.paths, f"mcp_servers.{server}.enabled", on)
