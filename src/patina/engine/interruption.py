"""How a running turn, or one of its calls, is ended from outside: by a flag and the scope it is
waiting in.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from anyio import CancelScope


class Interruption:
    """Cancels whatever the turn waits for, and stays set, so that the turn ends in good order.

    The turn itself is never cancelled: it leaves the scope, writes what it has, and returns.
    `leaving` says that Patina ends, and tasks of servers are left to them, to be found again.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.leaving = False
        self._scopes: list[CancelScope] = []
        self._calls: dict[str, Interruption] = {}

    @property
    def requested(self) -> bool:
        """Whether the turn is to end."""
        return bool(self.reason)

    def request(self, reason: str, *, leaving: bool = False) -> None:
        """End the turn. The first reason stays."""
        if not self.requested:
            self.reason, self.leaving = reason or "Interrupted.", leaving
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

    @contextmanager
    def calls(self, identifiers: Iterable[str]) -> Iterator[None]:
        """Let each of these calls be ended by itself, by `cancel_call`, while the body runs."""
        self._calls = {identifier: Interruption() for identifier in identifiers}
        try:
            yield
        finally:
            self._calls = {}

    def call(self, identifier: str) -> "Interruption":
        """Return what ends that call alone. Its scopes go inside those of the turn."""
        return self._calls[identifier]

    def cancel_call(self, identifier: str, reason: str) -> bool:
        """End one call, and let the turn go on. False where no such call is under way."""
        call = self._calls.get(identifier)
        if call is None or call.requested:
            return False
        call.request(reason)
        return True
