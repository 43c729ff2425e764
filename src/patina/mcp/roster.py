"""The servers that are configured, and which of them may be started."""

from collections.abc import Collection, Mapping
from pathlib import Path

from patina.mcp import environment
from patina.mcp.diagnosis import no_program
from patina.mcp.package import with_command
from patina.mcp.trust import Trust
from patina.model.faults import McpFault, UsageFault
from patina.model.settings import ServerSettings


class Roster:
    """One state of the configuration. `servers` have the commands that their packages mean.

    `allowed` names servers that may start in this run without lasting consent, `given` those that
    need no process; `environ` and `data` are as for `Trust`.
    """

    def __init__(
        self,
        servers: Mapping[str, ServerSettings],
        environ: Mapping[str, str],
        data: Path,
        *,
        allowed: Collection[str],
        given: Collection[str],
    ) -> None:
        self._wrong: dict[str, McpFault] = {}
        self._keys: dict[str, str] = {}
        self.servers: Mapping[str, ServerSettings] = {
            name: self._runnable(name, settings) for name, settings in servers.items()
        }
        self.trust = Trust(self.servers, environ, data)
        self._environ = environ
        self._allowed = allowed
        self._given = given

    def _runnable(self, server: str, settings: ServerSettings) -> ServerSettings:
        try:
            return with_command(settings)
        except McpFault as fault:
            failure = fault.failure
            words = f"Server {server} cannot be started: {failure.message}"
            self._wrong[server] = McpFault(words, hint=failure.hint, code=failure.code)
            return settings

    def key(self, server: str, *, running: bool) -> str:
        """Return `Trust.key`; of a server that runs, what it was when that was asked last.

        What it is started with is looked up on the disk, and a call of a tool should not wait for
        that: a program that is changed since is another one at its next start.
        """
        if not running or server not in self._keys:
            self._keys[server] = self.trust.key(server)
        return self._keys[server]

    async def look_up(self) -> None:
        """Await this before anything is asked here: see `environment.look_up`."""
        enabled = (settings for settings in self.servers.values() if settings.enabled)
        await environment.look_up(enabled, self._environ)

    def settings(self, server: str) -> ServerSettings:
        """As `Supervisor.settings`."""
        settings = self.servers.get(server)
        if settings is None:
            known = ", ".join(self.servers) or "none"
            raise UsageFault(
                f"There is no MCP server named {server}.", hint=f"Configured are: {known}."
            )
        if not settings.enabled:
            raise UsageFault(
                f"MCP server {server} is disabled.",
                hint=f"`patina mcp enable {server}` enables it.",
            )
        return settings

    def startable(self, server: str) -> None:
        """As `Supervisor.startable`."""
        settings = self.settings(server)
        if server in self._given:
            return
        if server in self._wrong:
            raise self._wrong[server]
        if settings.transport != "stdio":
            return
        if environment.binary(settings, self._environ) is None:
            raise no_program(server, settings, environment.search_path(settings, self._environ))
        if not self.may_start(server):
            raise self.trust.needed(server)

    def may_start(self, server: str) -> bool:
        """Whether a person consented to the start of `server`, or none is needed."""
        return server in self._allowed or server in self._given or self.trust.is_trusted(server)

    def waiting(self, servers: tuple[str, ...] | None) -> tuple[str, ...]:
        """As `Supervisor.waiting`."""
        chosen = servers
        if chosen is None:
            chosen = tuple(name for name, one in self.servers.items() if one.enabled)
        return tuple(
            name
            for name in chosen
            if self.settings(name).transport == "stdio" and not self.may_start(name)
        )
