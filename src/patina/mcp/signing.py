"""Signing in because a server wants it: in the middle of a call, or by somebody elsewhere."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskGroup

from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.text import shortened, visible
from patina.model.faults import Fault, McpFault
from patina.model.questions import Asked
from patina.model.settings import ServerSettings
from patina.ports.dialog import Dialog

if TYPE_CHECKING:
    from patina.mcp.auth.sign_ins import SignIns
    from patina.model.pages import Page

# How often one call may be refused for want of a sign-in before it is given up.
MOST_SIGN_INS: Final = 3
# Seconds between two looks whether somebody signed in by another Patina.
LOOK_EVERY: Final = 2.0
_SHOW_EVERY: Final = 5.0
_LONGEST_SCOPE: Final = 300
_logger: Final = logging.getLogger(__name__)


class Signing:
    """The sign-ins of the servers of a supervisor, whose `settings` it is given by name.

    Without `sign_ins` nobody can sign in.
    """

    def __init__(
        self, sign_ins: "SignIns | None", settings: Callable[[str], ServerSettings]
    ) -> None:
        self._sign_ins = sign_ins
        self._settings = settings
        self._done = Counter[str]()
        self._waiting: set[str] = set()
        self._looks = False

    def call(self, server: str, dialog: Dialog | None) -> "Refusals":
        """Return what mends the refusals of one call of `server`."""
        return Refusals(self, server, dialog)

    def possible(self, server: str) -> bool:
        """Whether a person can sign in to `server`."""
        return self._sign_ins is not None and self._sign_ins.can_sign_in(self._settings(server))

    def done(self, server: str) -> int:
        """Return how often somebody signed in to `server` in a call."""
        return self._done[server]

    async def sign_in(self, server: str, dialog: Dialog) -> bool:
        """Have the person of a call sign in; whether they did.

        Raises `McpFault` where it failed, but not where the person would not have it.
        """
        assert self._sign_ins is not None
        settings = self._settings(server)
        visitor = _InCall(server, settings, dialog)
        async with anyio.create_task_group() as tasks:
            # The person may be busy with the same for another call: that time is theirs, too.
            tasks.start_soon(_show_waiting, dialog)
            ended = await self._sign_ins.sign_in(server, settings, visitor)
            tasks.cancel_scope.cancel()
        if ended.state == "connected":
            self._done[server] += 1
            return True
        if ended.state == "error":
            words = visible(shortened(ended.message, 500)).removesuffix(".")
            hint = ended.hint or f"Try `patina mcp login {server}`."
            message = f"Nobody could be signed in to server {server}: {words}."
            raise McpFault(message, hint=hint, kind="permission", code=SIGN_IN)
        return False

    def wait(self, server: str, tasks: TaskGroup, *, on: bool) -> None:
        """Look, in `tasks`, whether somebody signed in to `server` by another Patina; or no more.

        That they did is told by the `on_change` of the sign-ins.
        """
        if not on or self._sign_ins is None:
            self._waiting.discard(server)
            return
        self._waiting.add(server)
        if not self._looks:
            self._looks = True
            tasks.start_soon(self._look)

    async def _look(self) -> None:
        assert self._sign_ins is not None
        try:
            while self._waiting:
                await anyio.sleep(LOOK_EVERY)
                try:
                    await self._sign_ins.look_again()
                except Fault as fault:
                    _logger.warning("who is signed in cannot be read: %s", fault)
        finally:
            self._looks = False

    async def forget(self, server: str) -> None:
        """Delete what is kept of a server that is configured no more (A-15)."""
        if self._sign_ins is None:
            return
        try:
            await self._sign_ins.forget(server)
        except Fault as fault:
            _logger.warning("the sign-in to %s could not be deleted: %s", server, fault)


class Refusals:
    """What becomes of the refusals of one call of `server`; `dialog` reaches its person."""

    def __init__(self, signing: Signing, server: str, dialog: Dialog | None) -> None:
        self._signing = signing
        self._server = server
        self._dialog = dialog
        self._since = signing.done(server)
        self._left = MOST_SIGN_INS

    async def mended(self, fault: McpFault) -> bool:
        """Whether a call that ended with `fault` is worth making again: somebody signed in.

        False for any other fault, and where nobody would or could. Raises as `Signing.sign_in`.
        """
        if fault.failure.code != SIGN_IN or self._dialog is None or self._left == 0:
            return False
        self._left -= 1
        # Another call may have had its person sign in while this one was under way.
        again = self._signing.done(self._server) > self._since
        # Nobody is asked who signs people in, and nothing registered, before a person is there.
        if not again and self._dialog.present and self._signing.possible(self._server):
            again = await self._signing.sign_in(self._server, self._dialog)
        self._since = self._signing.done(self._server)
        return again


class _InCall:
    """Implements `auth.visiting.Visitor` for the person of a call."""

    def __init__(self, server: str, settings: ServerSettings, dialog: Dialog) -> None:
        self._name = settings.display_name or server
        self._dialog = dialog
        # Only one of two sign-ins can have a port that is fixed: the other one waits for its end.
        first = "decline this, and " if settings.oauth.redirect_port else ""
        again = "ask again" if first else "this goes on by itself after that"
        self._otherwise = (
            f"Where no browser can come back to this machine, {first}run `patina mcp login {server}"
            f"` in another terminal, which takes a pasted address; {again}."
        )

    async def visit(self, page: "Page") -> bool:
        """As `Visitor.visit`."""
        scope = _scope(page.url)
        wanted = f" It will be allowed: {scope}." if scope else ""
        text = (
            f"{self._name} wants you to sign in, which is done at {page.host}.{wanted} "
            f"The call is made again then. {self._otherwise}"
        )
        asked = Asked(kind="url", text=text, url=page.url, host=page.host)
        answered = await self._dialog.ask(asked)
        return answered.action == "accept"

    async def pasted(self) -> str:
        """As `Visitor.pasted`: a call has no place for it; `patina mcp login` has."""
        while True:
            await anyio.sleep_forever()


async def _show_waiting(dialog: Dialog) -> None:
    while True:
        await anyio.sleep(_SHOW_EVERY)
        dialog.progress(0, None, "Waiting for authorization...")


def _scope(url: str) -> str:
    from urllib.parse import parse_qs, urlsplit

    found = " ".join(parse_qs(urlsplit(url).query).get("scope", ()))
    return visible(shortened(found, _LONGEST_SCOPE))
