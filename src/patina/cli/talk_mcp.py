"""The plain chat's commands about MCP servers: how they are, what they offer, what is attached."""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, Final

import anyio.to_thread

from patina.assembly.app import App
from patina.cli.attachments import attach
from patina.cli.signed_in import signed_in
from patina.mcp import environment
from patina.mcp.status import ServerStatus
from patina.model.faults import McpFault, UsageFault
from patina.model.parts import Part
from patina.ports.features import PromptInfo
from patina.views.sign_in import sign_in_words
from patina.views.terminal_text import safe_line

PROMPTS_IN_HELP: Final = 20
_LISTS: Final = ("tools", "resources", "prompts")
_ONES: Final = ("restart", "login", "logout")
VERBS: Final = (*_LISTS, *_ONES)
Run = Callable[..., Any]


class McpCommands:
    """Carries out /mcp, /attach and /detach. `tell` shows a line; `run` runs async work in the
    app's thread, which Ctrl+C ends with `CancelledError`. `debug`: session ids are shown.

    `attached` goes with the next message.
    """

    def __init__(self, app: App, run: Run, tell: Callable[[str], None], *, debug: bool) -> None:
        self.attached: tuple[Part, ...] = ()
        self.sources: tuple[str, ...] = ()  # the servers that it was read from
        self._names: list[str] = []  # of what is attached
        self._app = app
        self._run = run
        self._tell = tell
        self._debug = debug

    def command(self, words: str) -> None:
        """/mcp and what may follow it. Raises `Fault`s."""
        verb, _, server = words.partition(" ")
        server = server.strip()
        if not words:
            self._show(self._servers)
        elif verb in _ONES and server:
            work = {"restart": self._restart, "login": self._login, "logout": self._logout}
            self._show(work[verb], server)
        elif verb in _LISTS and server:
            work = {"tools": self._tools, "resources": self._resources, "prompts": self._prompts}
            self._show(work[verb], server)
        else:
            raise UsageFault(
                f"/mcp does not know {words}.",
                hint=f"/mcp lists the servers; {', '.join(VERBS[:-1])} and {VERBS[-1]} take one's "
                "name.",
            )

    def attach(self, words: str) -> None:
        """/attach FILE, or SERVER URI: goes with the next message. Raises `Fault`s."""
        server, _, uri = words.partition(" ")
        if not words:
            shown = ", ".join(map(safe_line, self._names))
            self._tell(f"The next message has: {shown}" if shown else "Nothing is attached.")
        elif uri and server in self._app.supervisor.servers:
            self._show(self._attach_resource, server, uri.strip())
        else:
            self._show(self._attach_file, Path(words).expanduser())

    def detach(self) -> None:
        """Let nothing go with the next message."""
        self.attached, self.sources, self._names = (), (), []

    def help_lines(self) -> list[str]:
        """Return the commands that are prompts of servers, as they are known."""
        try:
            known = self._run(self._app.features.prompts, None)
        except CancelledError:
            return []
        lines = [prompt_line(info) for info in known[:PROMPTS_IN_HELP]]
        more = len(known) - len(lines)
        return [*lines, f"and {more} more: /mcp prompts SERVER"] if more else lines

    def _show(self, work: Callable[..., Awaitable[Sequence[str]]], *args: object) -> None:
        try:
            lines = self._run(work, *args)
        except CancelledError:
            self._tell("")
            return
        self._tell("\n".join(lines))

    async def _servers(self) -> list[str]:
        statuses = self._app.supervisor.status()
        return [await self._server(status) for status in statuses] or [
            "No MCP servers are configured."
        ]

    async def _server(self, status: ServerStatus) -> str:
        """Return the line of a server: enabled, connected, its token, its last error."""
        settings = self._app.supervisor.servers[status.server]
        name = f"- **{status.server}**"
        if status.display_name != status.server:
            name += f" ({safe_line(status.display_name)})"
        if not settings.enabled:
            return f"{name}: disabled"
        token = await anyio.to_thread.run_sync(self._token, status.server)
        if status.wants_sign_in:
            facts = ["enabled", f"sign in needed: /mcp login {status.server}"]
        else:
            _, words = await signed_in(self._app, status.server)
            facts = ["enabled", status.state, words or f"token: {token}"]
        if status.tools >= 0:
            facts.append(f"{status.tools} tools")
        if self._debug:
            facts.append(f"session {status.session_id or 'none'}")
        line = f"{name}: {', '.join(facts)}"
        if status.wants_sign_in:
            return line
        what = "last error: " if status.state == "error" else ""
        return f"{line} — {what}{safe_line(status.text)}" if status.text else line

    def _token(self, server: str) -> str:
        """Return whether what the server is authorised with is there: present, missing, none."""
        settings, keys = self._app.supervisor.servers[server], self._app.setup.keys
        names = [name for name in settings.env if environment.may_be_secret(name)]
        names += [name for name in settings.headers if name.lower() == "authorization"]
        names += [name for name in settings.headers if environment.may_be_secret(name)]
        if not names:
            return "none"
        try:
            environment.own(server, settings, keys)
            environment.headers(server, settings, keys)
        except McpFault:
            return "missing"
        return "present"

    async def _restart(self, server: str) -> list[str]:
        await self._app.supervisor.restart(server)
        return [f"{server} is connected."]

    async def _login(self, server: str) -> list[str]:
        from patina.cli.mcp_login import no_need
        from patina.cli.signing_in import TerminalVisitor, failed, sign_in

        settings = self._app.supervisor.settings(server)
        why = no_need(server, settings)
        if why:
            return [why]
        name, seconds = settings.display_name or server, settings.oauth.timeout
        visitor = TerminalVisitor(name, self._app.setup.environ, seconds)
        found = await sign_in(self._app, server, settings, visitor, self._tell)
        if found.state != "connected":
            raise failed(found, f"/mcp login {server}")
        await self._app.supervisor.restart(server)
        return [f"{server}: {sign_in_words(found)}, and connected."]

    async def _logout(self, server: str) -> list[str]:
        from patina.cli.mcp_login import sign_out

        left = await sign_out(self._app, server, self._app.supervisor.settings(server))
        return [*left, f"Signed out of {server}."]

    async def _tools(self, server: str) -> list[str]:
        found = await self._app.tools.refresh((server,))
        lines = [
            f"- **{safe_line(tool.tool)}**{' (reads only)' if tool.read_only else ''}"
            f"{_about(tool.description)}"
            for tool in found
        ]
        cost = self._app.features.costs().get(server, 0)
        end = ["", f"With every request they cost about {cost:,} tokens."] if cost else []
        return [f"## Tools of {server}", "", *(lines or ["None."]), *end]

    async def _resources(self, server: str) -> list[str]:
        features = self._app.features
        found = await features.resources((server,), refresh=True)
        templates = await features.templates((server,), refresh=True)
        listed = [f"- **{safe_line(one.uri)}** {safe_line(one.name)}{_about(one.description)}"
                  for one in found]  # fmt: skip
        shapes = [f"- **{safe_line(one.template)}** {safe_line(one.name)}{_about(one.description)}"
                  for one in templates]  # fmt: skip
        return [f"## Resources of {server}", "", *(listed or ["None."]), "",
                f"## Templates of {server}", "", *(shapes or ["None."])]  # fmt: skip

    async def _prompts(self, server: str) -> list[str]:
        found = await self._app.features.prompts((server,), refresh=True)
        lines = [f"- {prompt_line(info)}" for info in found]
        return [f"## Prompts of {server}", "", *(lines or ["None."])]

    async def _attach_resource(self, server: str, uri: str) -> list[str]:
        from patina.cli.server_resources import read_parts

        parts = await read_parts(self._app, server, uri)
        self.sources = (*self.sources, server)
        return self._attached(uri, parts)

    async def _attach_file(self, path: Path) -> list[str]:
        return self._attached(path.name, [await attach(path, self._app.journal.put_blob)])

    def _attached(self, name: str, parts: Sequence[Part]) -> list[str]:
        self.attached = (*self.attached, *parts)
        self._names.append(name)
        return [f"{safe_line(name)} goes with the next message. (/detach drops it.)"]


def prompt_line(info: PromptInfo) -> str:
    """Return a prompt as the command that runs it, and what it says it does."""
    values = "".join(
        f" {one.name}=…" if one.required else f" [{one.name}=…]" for one in info.arguments
    )
    return f"{safe_line(f'/{info.server}:{info.name}{values}')}{_about(info.description)}"


def _about(description: str) -> str:
    words = safe_line(description)
    return f": {words}" if words else ""
