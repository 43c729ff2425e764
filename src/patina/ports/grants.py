"""What sign-ins leave behind, kept as secrets."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Grants(Protocol):
    """One record for each server, opaque to whoever keeps it, and shared by all processes.

    `read` and `write` use files and perhaps the keychain: call them from a worker thread.
    """

    def read(self, server: str) -> bytes | None:
        """Return the record of `server`, None where there is none. Raises `ConfigFault`."""

    def write(self, server: str, record: bytes | None, secrets: tuple[str, ...] = ()) -> None:
        """Replace the record of `server`; None removes it. On disk when it returns.

        `secrets` are the tokens in it, which are masked from then on. Raises `ConfigFault`.
        """

    def servers(self) -> tuple[str, ...]:
        """Return the servers that have a record, sorted. Raises `ConfigFault`."""

    def alone(self, server: str) -> AbstractAsyncContextManager[None]:
        """While it is entered, no other process and no other task is in it for `server`.

        Raises `ConfigFault` where another one is for longer than 30 s.
        """
