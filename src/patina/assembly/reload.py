"""Changes of the configuration file, and of secrets, take effect while an app runs."""

import logging
from collections.abc import Callable
from typing import Final, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from patina.assembly.rotation import Rotation, Stamp, stamp
from patina.assembly.rules import Rules
from patina.config.paths import Paths
from patina.mcp.supervisor import Supervisor
from patina.model.events import ServerNotice
from patina.model.faults import Fault
from patina.model.settings import Configured, Settings
from patina.ports.keys import References

LOOK_EVERY: Final = 1.0
_log = logging.getLogger(__name__)


class ConfigurationFollower:
    """While it is entered: gives the servers of the file to `supervisor` whenever it changed, and
    its permissions to `rules`.

    Servers whose secrets were replaced are connected anew: `keys` resolves them; without it, none
    are followed. `changed` is given all settings whenever they were read again. Looks every `every`
    seconds. `load` reads the configuration anew, in a worker thread. A file that is wrong changes
    nothing but the permissions: those are taken from it where they are right, and deny every call
    where they are not. `notify` is told so, once until the file changes again.
    """

    def __init__(
        self,
        paths: Paths,
        load: Callable[[], Configured],
        supervisor: Supervisor,
        notify: Callable[[ServerNotice], None],
        rules: Rules,
        *,
        keys: References | None = None,
        changed: Callable[[Settings], None] | None = None,
        every: float = LOOK_EVERY,
    ) -> None:
        self._files = (paths.config_toml, paths.settings_toml)
        self._load = load
        self._supervisor = supervisor
        self._notify = notify
        self._rules = rules
        self._keys = keys
        self._changed = changed
        self._secrets = (paths.secrets_file,)
        self._every = every
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        # Before anything else runs: a change from now on is a change.
        seen = await anyio.to_thread.run_sync(stamp, self._files)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._follow, seen)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tasks.cancel_scope.cancel()
        # Without the error: the group would wrap it, and who waits for a fault would miss it.
        await self._tasks.__aexit__(None, None, None)

    async def _follow(self, seen: Stamp) -> None:
        keys = self._keys
        rotation = Rotation(self._secrets, self._supervisor, keys, self._tasks) if keys else None
        while True:
            if rotation is not None:
                await rotation.look()
            await anyio.sleep(self._every)
            now = await anyio.to_thread.run_sync(stamp, self._files)
            if now != seen:
                seen = now
                await self._read_again()

    async def _read_again(self) -> None:
        try:
            loaded = await anyio.to_thread.run_sync(self._load)
        except Fault as fault:
            _log.warning("the configuration was not read again: %s", fault)
            readable = await self._rules.read_again()
            kept = "" if readable else "No tool runs until the rules about tools can be read. "
            wrong = str(fault).removesuffix(".")
            kept += "What was configured before stays in use."
            words = f"{wrong}. {kept} {fault.failure.hint}"
            self._notify(ServerNotice(server="", level="warning", text=words.rstrip()))
            return
        _log.info("the configuration was read again")
        self._rules.follow(loaded.settings)
        if self._changed is not None:
            self._changed(loaded.settings)
        await self._supervisor.reconfigure(loaded.settings.mcp_servers)
