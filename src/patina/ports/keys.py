"""Secrets by name."""

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
