"""`patina mcp login`, `logout` and `token`: who a server takes us for."""

import sys
from typing import TYPE_CHECKING

import anyio
import click
from msgspec.structs import replace

from patina.cli import mcp_token
from patina.cli.context import context
from patina.cli.mcp_change import configured_server
from patina.cli.output import print_json
from patina.cli.signals import Signals
from patina.cli.signed_in import sign_ins_of
from patina.cli.status_line import StatusLine
from patina.model.faults import (
    EXIT_OK,
    McpFault,
    PermissionFault,
    UsageFault,
)
from patina.model.settings import OAuthSettings, ServerSettings
from patina.model.sign_in import SignIn
from patina.views.sign_in import sign_in_view
from patina.views.terminal_text import safe_text

if TYPE_CHECKING:
    from patina.assembly.app import App


@click.command()
@click.argument("server")
@click.option("--no-browser", is_flag=True, help="Open none; paste the address that it ends at.")
@click.option("--scope", metavar="SCOPE", help="What to ask for, this once.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="How long to wait for you; 120 unless set.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def login(
    ctx: click.Context,
    server: str,
    no_browser: bool,
    scope: str | None,
    timeout: float | None,
    as_json: bool,
) -> int:
    r"""Sign in to SERVER, and see that it works.

    The page is opened in a browser, and printed. Over SSH, paste the address that the browser ends
    at, even if it shows an error there; or pipe it in.

    \b
    Examples:
      patina mcp login github
      patina mcp login github --no-browser
    """
    from patina.cli.running import run_app, setup_of

    run, signals = context(ctx), Signals()
    settings = configured_server(run, server)
    given = {"scope": scope, "timeout": timeout}
    wanted = {name: value for name, value in given.items() if value is not None}
    asked = replace(settings, oauth=replace(settings.oauth, **wanted)) if wanted else settings

    async def body(app: "App") -> int:
        line = StatusLine()
        ready = no_need(server, settings)
        if not ready and not wanted:
            line.show(f"Asking {server} whether it wants a sign-in...")
            try:
                if await _is_open(app, server, settings):
                    ready = f"{server} lets you in without a sign-in."
            finally:
                line.clear()
        if ready:
            signed_in = SignIn(server=server)
            click.echo(safe_text(ready), err=True)
        else:
            found = await _signed_in(app, server, asked, signals, browser=not no_browser)
            if isinstance(found, int):
                return found
            signed_in = found
        return await _verified(app, signed_in, as_json=as_json)

    return run_app(setup_of(run, save=False), body, discover=False, signals=signals)


def no_need(server: str, settings: ServerSettings) -> str:
    """Return why nobody has to sign in to a server with such settings, "" where that is open.

    Raises `UsageFault` where it is disabled.
    """
    if not settings.enabled:
        raise UsageFault(f"{server} is disabled.", hint=f"`patina mcp enable {server}` enables it.")
    key = mcp_token.header_of(settings)
    if settings.auth_mode in ("client", "client_credentials"):
        return ""
    if key:
        return f"{server} needs no sign-in: the key of its header {key} is used."
    if settings.transport == "stdio" and not settings.oauth.variable:
        return (
            f"{server} needs no sign-in: it is started here, and gets its keys in variables "
            f"(`patina mcp token {server}` keeps one)."
        )
    if settings.auth_mode == "server":
        return f"{server} signs you in by itself, when a tool of it needs that."
    if settings.auth_mode != "auto":
        return f"{server} needs no sign-in: its auth_mode is {settings.auth_mode}."
    return ""


async def _is_open(app: "App", server: str, settings: ServerSettings) -> bool:
    """Whether a server that nobody said anything about lets everybody in.

    It is asked for its refusal also, which says who signs people in, and to what.
    """
    if settings.auth_mode != "auto" or settings.oauth != OAuthSettings():
        return False
    if (await sign_ins_of(app).state(server, settings)).state == "connected":
        return False  # it is to be signed in to anew
    try:
        await app.tools.refresh((server,))
    except McpFault:
        return False  # what is wrong with it is said when signing in fails too
    return True


async def _signed_in(
    app: "App", server: str, settings: ServerSettings, signals: Signals, *, browser: bool
) -> SignIn | int:
    """Return the sign-in that went well, or the exit code where a signal ended it.

    Raises `ProviderFault` where it failed.
    """
    from patina.cli.signing_in import TerminalVisitor, failed, sign_in

    name = settings.display_name or server
    visitor = TerminalVisitor(
        name, app.setup.environ, settings.oauth.timeout, browser=browser, piped=True
    )
    ended: list[int] = []
    found: list[SignIn] = []
    visitor.wait(f"Finding out where to sign in to {name}...")
    with anyio.CancelScope() as scope:

        def leave(number: int) -> bool:
            ended.append(number)
            scope.cancel()
            return True

        with signals.handled_by(leave):
            found.append(await sign_in(app, server, settings, visitor, _tell))
    visitor.settle()
    if not found:
        _tell("\nNobody signed in: it was cancelled.")
        return 128 + ended[0]
    if found[0].state != "connected":
        raise failed(found[0], f"`patina mcp login {server}`")
    return found[0]


async def _verified(app: "App", sign_in: SignIn, *, as_json: bool) -> int:
    """Connect, count the tools, and print how it is now."""
    from patina.cli.consent import need_start

    server, view = sign_in.server, sign_in_view(sign_in)
    if sign_in.state == "connected" and not as_json:
        click.echo(safe_text(view.text))
    tools: int | None = None
    try:
        await need_start(app, server)
        tools = len(await app.tools.refresh((server,)))
    except PermissionFault as fault:  # it was never allowed to start: that is another question
        _tell(f"{fault} {fault.failure.hint}")
    if as_json:
        fields = {name: getattr(sign_in, name) for name in ("provider", "account", "scope")}
        state = {"server": server, "state": sign_in.state, "text": view.text}
        print_json({**state, **fields, "tools": tools})
    elif tools is not None:
        click.echo(f"{server}: {tools} tool{'' if tools == 1 else 's'}")
    return EXIT_OK


@click.command()
@click.argument("server")
@click.option("--keep-client", is_flag=True, help="Stay registered for the next sign-in.")
@click.pass_context
def logout(ctx: click.Context, server: str, keep_client: bool) -> int:
    r"""Sign out of SERVER: end its tokens there, and forget them here.

    \b
    Example:
      patina mcp logout github
    """
    from patina.cli.running import run_app, setup_of

    run = context(ctx)
    settings = configured_server(run, server)

    async def body(app: "App") -> int:
        if not await anyio.to_thread.run_sync(run.grants.read, server):
            key = mcp_token.header_of(settings)
            _tell(f"Nobody is signed in to {server}.")
            if key:
                _tell(f"It has a key of its own: `patina mcp token {server} --remove` removes it.")
            return EXIT_OK
        for sentence in await sign_out(app, server, settings, keep_client=keep_client):
            _tell(sentence)
        click.echo(f"Signed out of {server}.")
        return EXIT_OK

    return run_app(setup_of(run, save=False), body, discover=False)


async def sign_out(
    app: "App", server: str, settings: ServerSettings, *, keep_client: bool = False
) -> tuple[str, ...]:
    """Sign out and return what could not be done. Bounded; nothing is left here after it.

    Raises `ConfigFault` where what is kept cannot be deleted.
    """
    return await sign_ins_of(app).sign_out(server, settings, keep_client=keep_client)


def _tell(text: str) -> None:
    sys.stderr.write(f"{safe_text(text)}\n")
    sys.stderr.flush()
