"""Who hears of Ctrl+C and its like first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Signals:
    """Who is to hear of a signal first; what nobody handles ends the app."""

    def __init__(self) -> None:
        self._handler: Callable[[int], bool] | None = None

    def handled(self, number: int) -> bool:
        """Hand a signal to the handler; whether it was handled."""
        return self._handler is not None and self._handler(number)

    @contextmanager
    def handled_by(self, handler: Callable[[int], bool]) -> Iterator[None]:
        """Let `handler` hear of signals while the body runs."""
        self._handler = handler
        try:
            yield
        finally:
            self._handler = None
