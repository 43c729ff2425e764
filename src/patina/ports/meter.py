"""The money gate: no request leaves without a hold."""

from collections.abc import Callable, Sequence
from typing import Protocol

from patina.model.money import Entry, Quote, Standing, Sum, Used, Wanted
from patina.model.usage import Cost
from patina.ports.ledger import GroupBy


class Meter(Protocol):
    """Reserves the most that a request can cost before it leaves, and books its real cost after.

    Each hold is settled once, whatever becomes of the request: `Used(outcome="void", sent=False)`
    where it never left.
    """

    async def quote(self, wanted: Wanted) -> Quote:
        """Return what a request would cost, and which limit it would pass. Writes nothing.

        Never raises: what cannot be found out is not known.
        """

    async def hold(self, wanted: Wanted, *, unpriced: bool = False) -> str:
        """Reserve the worst case and return the id of the hold.

        Raises `LimitFault` where a limit would be passed, `Unpriced` where nobody knows the price
        and a person may say that it is sent all the same: then it is called again with `unpriced`.
        Raises `StoreFault` where nothing can be written down: then nothing may be sent.
        A hold that cancelling comes upon is made whole, and returned.
        """

    async def settle(self, hold: str, used: Used) -> Cost | None:
        """Book how the request ended and return its cost; None is "unknown", never zero.

        Finished even where the caller is cancelled. Never raises: what cannot be written down is
        taken for the worst case in the end.
        """

    def running(self, hold: str, output_tokens: int) -> Cost | None:
        """Return about what the request has cost after so much of its output; None is unknown.

        None also for what costs nothing at all.
        """

    async def standing(self, conversation: str = "") -> tuple[Standing, ...]:
        """Return how far all limits are used now, that of `conversation` among them.

        Raises `StoreFault`.
        """

    async def sums(
        self, by: GroupBy, since: str = "", until: str = "", **only: str
    ) -> tuple[Sum, ...]:
        """As `Ledger.sums`."""

    async def entries(
        self, take: Callable[[Sequence[Entry]], None], since: str = "", until: str = ""
    ) -> None:
        """As `Ledger.entries`."""
