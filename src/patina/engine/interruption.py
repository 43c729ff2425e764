"""How a running turn is ended from outside: by one flag and the scope it is waiting in."""

from collections.abc import Iterator
from contextlib import contextmanager

from anyio import CancelScope


class Interruption:
    """Cancels whatever the turn waits for, and stays set, so that the turn ends in good order.

    The turn itself is never cancelled: it leaves the scope, writes what it has, and returns.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._scopes: list[CancelScope] = []

    @property
    def requested(self) -> bool:
        """Whether the turn is to end."""
        return bool(self.reason)

    def request(self, reason: str) -> None:
        """End the turn. The first reason stays."""
        self.reason = self.reason or reason or "Interrupted."
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Run a wait that `request` may cut short; look at `requested` afterwards."""
        with CancelScope() as scope:
            self._scopes.append(scope)
            if self.requested:
                scope.cancel()
            try:
                yield
            finally:
                self._scopes.remove(scope)
