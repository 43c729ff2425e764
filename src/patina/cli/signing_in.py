"""A person signs in to a server from the terminal: the page, its answer, and how far it is."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread

from patina.assembly.app import App
from patina.cli.signed_in import sign_ins_of
from patina.cli.status_line import StatusLine
from patina.cli.tty import Person
from patina.mcp.auth.failing import SIGN_IN
from patina.model.events import SignInChanged
from patina.model.faults import FaultKind, McpFault, PermissionFault, ProviderFault
from patina.model.pages import Page
from patina.model.settings import ServerSettings
from patina.model.sign_in import SignIn
from patina.views.sign_in import sign_in_view, time_in_words
from patina.views.terminal_text import safe_line, safe_text

_MOST_PIPED: Final = 20_000
T = TypeVar("T")
_PASTE: Final = "Paste the address that the browser ends at, here: "


class TerminalVisitor:
    """Implements `mcp.auth.visiting.Visitor` at the terminal. `name` is the server's for people.

    `environ` is that of the process, `seconds` the time that is given. Where no browser of this
    machine shows the page, or `browser` is False, the address that it ends at may be pasted; or
    with `piped` come by standard input. `nobody` is set where none of that is to be hoped for.
    """

    def __init__(
        self,
        name: str,
        environ: Mapping[str, str],
        seconds: float,
        *,
        browser: bool = True,
        piped: bool = False,
    ) -> None:
        self._name = name
        self._environ = environ
        self._seconds = seconds
        self._browser = browser
        self._piped = piped
        self._opened = False
        self._brought = False
        self._line = StatusLine()
        self._shown = anyio.Event()
        self._unread = b""  # of what came by a pipe
        self.nobody = anyio.Event()

    def wait(self, text: str) -> None:
        """Show what is waited for until there is a page, if that takes a while."""
        self._line.show(text)

    def settle(self) -> None:
        """Show it no more."""
        self._line.clear()

    async def visit(self, page: Page) -> bool:
        """As `Visitor.visit`. A person started this: they are shown where it goes, not asked."""
        self.settle()
        scope = " ".join(parse_qs(urlsplit(page.url).query).get("scope", ()))
        _say(f"{self._name} has you sign in at {page.host}.")
        if scope:
            _say(f"  asks for  {safe_line(scope)}")
        # Alone on its line: it is copied from here where no browser opens.
        _say(f"  page:\n{page.url}")
        if self._browser:
            from patina.assembly.browser import open_page

            self._opened = await anyio.to_thread.run_sync(
                open_page, page, self._environ, abandon_on_cancel=True
            )
        waits = f"It waits {time_in_words(self._seconds)}; Ctrl+C ends that."
        _say(waits if self._opened else f"Open it in any browser. {waits}")
        self._shown.set()
        return True

    async def pasted(self) -> str:
        """As `Visitor.pasted`. Before the page is shown, nothing can be."""
        await self._shown.wait()
        if not self._opened:
            if self._brought:
                _say("That address is not of this sign-in. Copy the one that this page ended at.")
            while line := await self._answer_line():
                if _is_answer(line):
                    self._brought = True
                    return line
                _say("That is not it: the address begins with http://127.0.0.1 and has a code.")
            if self._browser and not Person().present:
                self.nobody.set()
        await anyio.sleep_forever()
        raise AssertionError  # no sleep ends by itself

    async def _answer_line(self) -> str:
        """Return a line that somebody brings, "" where nobody will."""
        if self._piped and sys.stdin is not None and not sys.stdin.isatty():
            return await self._piped_line()
        person = Person()
        if not person.present:
            return ""
        while line := await person.ask(_PASTE):
            if line.strip():
                return line.strip()
        return ""

    async def _piped_line(self) -> str:
        """Return the next line of standard input that is not empty, "" at its end."""
        if sys.platform == "win32":
            return await anyio.to_thread.run_sync(_read_line, abandon_on_cancel=True)
        while True:
            self._unread = self._unread.lstrip()
            line, newline, rest = self._unread.partition(b"\n")
            if newline or len(line) > _MOST_PIPED:
                self._unread = rest
                return line.decode("utf-8", "replace").strip()
            with suppress(PermissionError):  # a file, which never has to be waited for
                await anyio.wait_readable(sys.stdin)
            piece = os.read(sys.stdin.fileno(), 4096)
            if not piece:
                self._unread = b""
                return line.decode("utf-8", "replace").strip()
            self._unread += piece


async def sign_in(
    app: App,
    server: str,
    settings: ServerSettings,
    visitor: TerminalVisitor,
    told: Callable[[str], None],
) -> SignIn:
    """Sign in and return how it ended, telling each change of it on the way but the last.

    Cancelling ends the sign-in. Raises `PermissionFault` where nobody is there to sign in.
    """
    ended: list[SignIn] = []
    with app.engine.subscribe("") as subscription:
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                ended.append(await sign_ins_of(app).sign_in(server, settings, visitor))
                tasks.cancel_scope.cancel()

            async def leave() -> None:
                await visitor.nobody.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(work)
            tasks.start_soon(leave)
            shown = ""
            async for event in subscription:
                if not isinstance(event, SignInChanged) or event.sign_in.server != server:
                    continue
                if event.sign_in.url and event.busy and event.text != shown:
                    shown = event.text
                    visitor.settle()
                    told(shown)
    if not ended:
        raise PermissionFault(
            f"Nobody is here to sign in to {server}.",
            hint="Do it in a terminal; or pipe in the address that the browser ends at; or wait "
            f"for a forwarded port: `patina mcp login {server} --no-browser`",
        )
    return ended[0]


def failed(sign_in: SignIn, again: str) -> ProviderFault:
    """Return the fault of a sign-in that did not go well. `again` is what tries once more."""
    hint = sign_in.hint or f"Try again: {again}"
    kind: FaultKind = "timeout" if sign_in.state == "timeout" else "auth"
    return ProviderFault(sign_in_view(sign_in).text, hint=hint, kind=kind)


async def let_in(app: App, server: str, work: Callable[[], Awaitable[T]]) -> T:
    """Return what `work` returns. Where `server` wants somebody to sign in first, and the person at
    the terminal agrees, they do, and `work` is done again. Raises its faults.
    """
    try:
        return await work()
    except McpFault as fault:
        person = Person()
        if fault.failure.code != SIGN_IN or not person.present:
            raise
        if not await person.confirm(f"{safe_line(str(fault))} Sign in now?"):
            raise
    settings = app.supervisor.settings(server)
    name, environ = settings.display_name or server, app.setup.environ
    visitor = TerminalVisitor(name, environ, settings.oauth.timeout)
    found = await sign_in(app, server, settings, visitor, _say)
    if found.state != "connected":
        raise failed(found, f"`patina mcp login {server}`")
    return await work()


def _read_line() -> str:
    while line := sys.stdin.readline(_MOST_PIPED):
        if line.strip():
            return line.strip()
    return ""


def _is_answer(text: str) -> bool:
    """Whether this may be the address that a sign-in ends at; what it says is judged elsewhere."""
    try:
        query = parse_qs(urlsplit(text).query)
    except ValueError:
        return False
    return "code" in query or "error" in query


def _say(text: str) -> None:
    sys.stderr.write(f"{safe_text(text)}\n")
    sys.stderr.flush()
