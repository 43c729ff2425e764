"""Changes of the configuration file take effect while an app runs."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from patina.assembly.rules import Rules
from patina.config.paths import Paths
from patina.mcp.supervisor import Supervisor
from patina.model.events import ServerNotice
from patina.model.faults import Fault
from patina.model.settings import Configured

LOOK_EVERY: Final = 1.0
_log = logging.getLogger(__name__)
_Stamp = tuple[tuple[int, int, int], ...]


class ConfigurationFollower:
    """While it is entered: gives the servers of the file to `supervisor` whenever it changed, and
    its permissions to `rules`.

    Looks every `every` seconds. `load` reads the configuration anew, in a worker thread. A file
    that is wrong changes nothing but the permissions: those are taken from it where they are
    right, and deny every call where they are not. `notify` is told so, once until the file
    changes again.
    """

    def __init__(
        self,
        paths: Paths,
        load: Callable[[], Configured],
        supervisor: Supervisor,
        notify: Callable[[ServerNotice], None],
        rules: Rules,
        *,
        every: float = LOOK_EVERY,
    ) -> None:
        self._files = (paths.config_toml, paths.settings_toml)
        self._load = load
        self._supervisor = supervisor
        self._notify = notify
        self._rules = rules
        self._every = every
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        # Before anything else runs: a change from now on is a change.
        seen = await anyio.to_thread.run_sync(_stamp, self._files)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._follow, seen)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tasks.cancel_scope.cancel()
        # Without the error: the group would wrap it, and who waits for a fault would miss it.
        await self._tasks.__aexit__(None, None, None)

    async def _follow(self, seen: _Stamp) -> None:
        while True:
            await anyio.sleep(self._every)
            now = await anyio.to_thread.run_sync(_stamp, self._files)
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
        await self._supervisor.reconfigure(loaded.settings.mcp_servers)


def _stamp(files: tuple[Path, ...]) -> _Stamp:
    """Return what differs when one of `files` changed, without reading them."""
    found = []
    for path in files:
        try:
            status = path.stat()
        except OSError:
            found.append((-1, -1, -1))
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
