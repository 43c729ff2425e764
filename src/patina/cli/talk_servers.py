"""What the plain chat says of MCP servers: news as it happens, and /mcp."""

import sys
from collections import deque
from collections.abc import Callable
from typing import Final

from anyio.from_thread import BlockingPortal

from patina.assembly.app import App
from patina.cli.output import print_listing
from patina.model.events import ServerNotice
from patina.model.faults import UsageFault
from patina.views.terminal_text import safe_line

_MOST: Final = 100


class ServerNews:
    """Shows what a person should know of servers, one dim line each, beside what is typed.

    A warning or an error at once; that a server is connected only where it was missed. While an
    answer is written it is kept until that is done. `hear` may be called from any thread.
    """

    def __init__(self, *, terminal: bool, dim: bool) -> None:
        self._terminal = terminal
        self._dim = dim
        self._missed: set[str] = set()
        self._kept: deque[str] = deque(maxlen=_MOST)
        self._prompt: str | None = None

    def hear(self, notice: ServerNotice) -> None:
        """Take a notice, and show it now or when the prompt is there again."""
        if notice.level == "success":
            if notice.server not in self._missed:
                return
            self._missed.discard(notice.server)
        else:
            self._missed.add(notice.server)
        self._kept.append(safe_line(notice.text))
        prompt = self._prompt
        if prompt is not None:
            self._show(prompt)

    def prompting(self, prompt: str | None) -> None:
        """Show what was kept; from now on a line is typed behind `prompt`, or (None) none is."""
        self._show(None)
        self._prompt = prompt

    def _show(self, prompt: str | None) -> None:
        while self._kept:
            text = self._kept.popleft()
            line = f"\x1b[2m{text}\x1b[0m" if self._dim else text
            if not self._terminal:
                print(line, file=sys.stderr, flush=True)
            elif prompt is None:
                print(line, flush=True)
            else:
                # Over the line that is being typed, which then stands below.
                print(f"\r{line}\n{prompt}{_typed()}", end="", flush=True)


def _typed() -> str:
    """Return what of the line was typed so far, where the system tells."""
    readline = sys.modules.get("readline")
    return readline.get_line_buffer() if readline is not None else ""


class Servers:
    """Carries out /mcp. `tell` shows a line; `debug` says whether session ids are shown."""

    def __init__(
        self, portal: BlockingPortal, app: App, tell: Callable[[str], None], *, debug: bool
    ) -> None:
        self._portal = portal
        self._app = app
        self._tell = tell
        self._debug = debug

    def command(self, words: str) -> None:
        """/mcp lists the servers, /mcp restart SERVER starts one afresh. Raises `Fault`s."""
        verb, _, server = words.partition(" ")
        if not words:
            self._list()
        elif verb == "restart" and server.strip():
            self._portal.call(self._app.supervisor.restart, server.strip())
            self._tell(f"{server.strip()} is connected.")
        else:
            raise UsageFault(
                f"/mcp does not know {words}.",
                hint="/mcp lists the servers; /mcp restart SERVER starts one afresh.",
            )

    def _list(self) -> None:
        columns = {"server": "SERVER", "state": "STATE", "tools": "TOOLS"}
        if self._debug:
            columns["session_id"] = "SESSION"
        columns["text"] = ""
        statuses = self._portal.call(self._app.supervisor.status)
        rows = [
            {
                "server": status.server,
                "state": status.state,
                "tools": status.tools if status.tools >= 0 else None,
                "session_id": status.session_id,
                "text": status.text,
            }
            for status in statuses
        ]
        print_listing(rows, columns, as_json=False, empty="No MCP servers are configured.")
