"""When a failed request is sent again.

Only before the first delta, three attempts, 60 seconds in all. What cannot get better by waiting
(keys, models, quota, length, content, endpoints that are none) and what the endpoint may already
have charged for (an answer that was cut or fell silent) is not sent again.
"""

from collections.abc import Callable
from typing import Final

from patina.model.chat import Retrying
from patina.model.faults import Failure, FaultKind
from patina.ports.clock import Clock
from patina.providers.failures import UNREADABLE

ATTEMPTS: Final = 3
WINDOW: Final = 60.0
_FIRST_WAIT: Final = 0.5
_JITTER: Final = 0.5
_WORTH_IT: Final[frozenset[FaultKind]] = frozenset(
    {"rate_limit", "overloaded", "server", "network"}
)


class Retries:
    """Counts the attempts of one request. `jitter` returns a number from 0 to 1."""

    def __init__(self, clock: Clock, jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._began = clock.monotonic()
        self._attempt = 1

    def after(self, failure: Failure, *, unsent: bool = False) -> Retrying | None:
        """Return how to go on after `failure`, or None where it is final.

        `unsent` says that the request cannot have reached the endpoint, so that a time-out is
        worth another attempt too.
        """
        if failure.code == UNREADABLE or self._attempt >= ATTEMPTS:
            return None
        if failure.kind not in _WORTH_IT and not (unsent and failure.kind == "timeout"):
            return None
        # Spread out by up to half, so that many clients do not come back at the same moment.
        wait = _FIRST_WAIT * 2 ** (self._attempt - 1) * (1 + _JITTER * self._jitter())
        if failure.retry_after is not None:
            wait = max(wait, failure.retry_after)
        if self._clock.monotonic() - self._began + wait > WINDOW:
            return None
        self._attempt += 1
        return Retrying(failure, wait, self._attempt)
