"""What sign-ins leave behind, in the encrypted file; and one at a time for each server."""

import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from patina.model.faults import ConfigFault
from patina.secrets.names import INTERNAL
from patina.secrets.vault import Vault

WAIT_SECONDS: Final = 30.0
_PREFIX: Final = f"{INTERNAL}grant/"
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700


class VaultGrants:
    """`ports.grants.Grants` in `vault`, with lock files in the folder `locks`.

    `try_lock` locks an open file for this process, and says whether it could; the lock ends with
    the file or the process. The files stay: one that is removed could be held twice.
    """

    def __init__(self, vault: Vault, locks: Path, try_lock: Callable[[int], bool]) -> None:
        self._vault = vault
        self._locks = locks
        self._try_lock = try_lock
        # Some file systems know no locks, and there at least this process excludes itself.
        self._inside: set[str] = set()
        self._guard = threading.Lock()

    def read(self, server: str) -> bytes | None:
        """Return the record of `server`, None where there is none."""
        return self._vault.read(_PREFIX + server)

    def write(self, server: str, record: bytes | None, secrets: tuple[str, ...] = ()) -> None:
        """Replace the record of `server`; None removes it. On disk when it returns."""
        self._vault.change(_PREFIX + server, lambda _: record, secrets)

    def servers(self) -> tuple[str, ...]:
        """Return the servers that have a record, sorted."""
        names = self._vault.records()
        return tuple(name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX))

    @asynccontextmanager
    async def alone(self, server: str) -> AsyncIterator[None]:
        """Keep all others out for `server`, whatever task, thread or process they are."""
        # Names of servers may be too long, or differ in what a file system takes for the same.
        name = hashlib.sha256(server.encode()).hexdigest()[:32]
        await self._enter(server, name)
        descriptor = -1
        try:
            descriptor = self._open(self._locks / f"sign-in-{name}.lock")
            await self._until(server, lambda: self._try_lock(descriptor))
            yield
        finally:
            if descriptor >= 0:
                os.close(descriptor)
            with self._guard:
                self._inside.discard(name)

    async def _enter(self, server: str, name: str) -> None:
        def free() -> bool:
            with self._guard:
                there = name in self._inside
                self._inside.add(name)
            return not there

        await self._until(server, free)

    async def _until(self, server: str, can: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        pause = _FIRST_PAUSE
        while not can():
            if time.monotonic() >= deadline:
                raise ConfigFault(
                    f"Another Patina has been signing in to {server} for {WAIT_SECONDS:g} s.",
                    hint="End that sign-in, or wait for it, then try again.",
                )
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _open(self, path: Path) -> int:
        try:
            path.parent.mkdir(_PRIVATE_FOLDER, parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE_FILE)
        except OSError as error:
            raise ConfigFault(
                f"{path} cannot be written: {error.strerror or error}.",
                hint="Check the permissions of the folder and the free space.",
            ) from None
