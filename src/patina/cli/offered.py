"""Which MCP servers a question goes with: what has to be allowed first, and what is left out."""

import sys
from collections.abc import Callable
from typing import Final

from patina.assembly.app import App
from patina.cli.consent import allow_start
from patina.cli.tty import Person
from patina.model.faults import Fault
from patina.views.terminal_text import safe_text

MANY: Final = 3  # servers that are told of one by one


class OfferedServers:
    """The servers that `named` chooses (None: all that are enabled, as they are).

    `told` are those that the person was told of already, and hears those that are told of now.
    `someone` is asked for when a person is needed.
    """

    def __init__(
        self,
        app: App,
        named: tuple[str, ...] | None,
        told: set[str],
        someone: Callable[[], Person],
        *,
        quiet: bool,
    ) -> None:
        self._app = app
        self._named = named
        self._told = told
        self._someone = someone
        self._quiet = quiet

    async def consent(self) -> None:
        """Ask a person about servers that were never started; without one, say what is left out.

        Raises `PermissionFault` for one that was chosen by name.
        """
        trust = self._app.supervisor.trust
        waiting: list[str] = []
        for server in self._app.supervisor.roster.waiting(self._named):
            if not trust.describe(server).binary:
                continue  # consent is to a program, and there is none; it is told as left out
            if server not in self._told:
                person = self._someone()
                if person.present and await allow_start(self._app, server, person):
                    continue
            if self._named is not None:
                raise trust.needed(server)
            waiting.append(server)
        self._leave_out_unallowed(waiting)

    def _leave_out_unallowed(self, servers: list[str]) -> None:
        if len(servers) <= MANY:
            for server in servers:
                why = f"it may not start as it is configured. Run `patina mcp trust {server}`."
                self._leave_out(server, why)
            return
        if not self._quiet:
            first = ", ".join(servers[:MANY])
            sys.stderr.write(
                safe_text(
                    f"Left out {len(servers)} MCP servers that may not start as they are "
                    f"configured: {first}, … Run `patina mcp list` and `patina mcp trust NAME`.\n"
                )
            )
        self._told.update(servers)

    def _leave_out(self, server: str, why: str) -> None:
        if server not in self._told and not self._quiet:
            sys.stderr.write(safe_text(f"Left out the MCP server {server}: {why}\n"))
            sys.stderr.flush()
        self._told.add(server)

    def tell_left_out(self) -> None:
        """Say which of the chosen servers the model is not told of, and why."""
        chosen, supervisor = self._named, self._app.supervisor
        for status in supervisor.status():
            server, settings = status.server, supervisor.servers[status.server]
            if chosen is None and (not settings.enabled or settings.connect == "manual"):
                continue
            if chosen is not None and server not in chosen:
                continue
            try:
                supervisor.startable(server)
            except Fault as fault:
                self._leave_out(server, fault.failure.message)
                continue
            if supervisor.definitions(server) is None:
                waiting = f"it is not ready yet ({status.text or status.state})."
                why = status.text if status.state == "error" else waiting
                if status.wants_sign_in:
                    why = f"{why} Run `patina mcp login {server}`."
                self._leave_out(server, why)
