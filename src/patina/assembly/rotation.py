"""Secrets that were replaced, by this process or another one, take effect while an app runs."""

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup

from patina.mcp import environment
from patina.mcp.supervisor import Supervisor
from patina.model.faults import Fault
from patina.model.settings import ServerSettings
from patina.ports.keys import References

_log = logging.getLogger(__name__)
_KEYFILE: Final = "keyfile:"
_KEPT: Final = ("secret:", _KEYFILE)
Stamp = tuple[tuple[int, int, int], ...]


class Rotation:
    """Has servers take up the secrets that were replaced since they were started (M-24).

    `files` are those in which secrets are kept; the key files of servers are followed, too. What a
    server was started with is remembered as a salted hash only. Providers look their keys up for
    each request, and need nothing of this.
    """

    def __init__(
        self, files: tuple[Path, ...], supervisor: Supervisor, keys: References, tasks: TaskGroup
    ) -> None:
        self._files = files
        self._supervisor = supervisor
        self._keys = keys
        self._tasks = tasks
        self._salt = os.urandom(16)
        self._used: dict[str, bytes] = {}
        self._seen: Stamp | None = None

    async def look(self) -> None:
        """Restart the servers whose secrets were replaced since the last look.

        One that was refused, or missed a secret, is tried again. It does not wait for either.
        """
        servers = {
            name: settings
            for name, settings in self._supervisor.servers.items()
            if settings.enabled and _references(settings)
        }
        followed = (*self._files, *_key_files(servers))
        now = await anyio.to_thread.run_sync(stamp, followed)
        changed, self._seen = self._seen not in (None, now), now
        states = {one.server: one.state for one in self._supervisor.status()}
        if changed:
            await self._look_at_sign_ins()
        for name, settings in servers.items():
            state = states.get(name)
            used = self._used.get(name)
            if state == "idle" or (not changed and (state != "connected" or used is not None)):
                continue
            fresh = await anyio.to_thread.run_sync(self._hash, name, settings)
            self._used[name] = fresh
            if changed and fresh != used:
                _log.info("the secrets of %s were replaced: it is connected anew", name)
                self._tasks.start_soon(self._restart, name)

    async def _look_at_sign_ins(self) -> None:
        sign_ins = self._supervisor.sign_ins
        if sign_ins is None:
            return
        try:
            await sign_ins.look_again()
        except Fault as fault:
            _log.warning("the sign-ins were not read again: %s", fault)

    async def _restart(self, server: str) -> None:
        try:
            await self._supervisor.restart(server)
        except Fault as fault:  # its state says so, too
            _log.info("%s was not connected anew: %s", server, fault)

    def _hash(self, server: str, settings: ServerSettings) -> bytes:
        local = settings.transport == "stdio"
        resolve = environment.own if local else environment.headers
        try:
            values = resolve(server, settings, self._keys)
        except Fault:
            return b""
        text = msgspec.json.encode(sorted(values.items()))
        return hashlib.blake2b(text, key=self._salt).digest()


def stamp(files: tuple[Path, ...]) -> Stamp:
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


def _references(settings: ServerSettings) -> list[str]:
    if settings.transport == "stdio":
        words = tuple(settings.env.values())
    else:  # a word such as "Bearer" may stand before a reference
        words = tuple(value.rpartition(" ")[2] for value in settings.headers.values())
    return [word for word in words if word.startswith(_KEPT)]


def _key_files(servers: Mapping[str, ServerSettings]) -> list[Path]:
    found = {
        reference.removeprefix(_KEYFILE)
        for settings in servers.values()
        for reference in _references(settings)
        if reference.startswith(_KEYFILE)
    }
    return [Path(path).expanduser() for path in sorted(found)]
