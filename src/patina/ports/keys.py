"""Secrets by name and by reference."""

from collections.abc import Sequence
from typing import Protocol


class Keys(Protocol):
    """Named secrets. Names are `openai` or `github/GITHUB_TOKEN`; values are never logged."""

    def get(self, name: str) -> str | None:
        """Return the secret, or None where there is none. Raises `ConfigFault` if unreadable."""

    def set(self, name: str, value: str) -> None:
        """Keep a secret under `name`, replacing what was there."""

    def remove(self, name: str) -> bool:
        """Forget a secret. Whether there was one."""

    def names(self) -> Sequence[str]:
        """Return the names of all kept secrets, sorted."""


class References(Protocol):
    """What the configuration has in place of secrets."""

    def resolve(self, reference: str) -> str | None:
        """Return what `secret:NAME`, `env:NAME` or `keyfile:PATH` stands for, None where there
        is nothing; other text stands for itself.

        Raises `ConfigFault`, with the code `KeyfileNotFound` or `PermissionDenied` for a key file
        that is not there or may not be read. Reads files: call it from a worker thread.
        """


class Secrets(Keys, References, Protocol):
    """All secrets of a run, by name and by reference."""
