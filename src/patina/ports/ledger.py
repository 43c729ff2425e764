"""Where money is written down, shared by all processes of all devices."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Literal, Protocol

from patina.model.money import Entry, Hold, Limit, Standing, Sum, Top

GroupBy = Literal[
    "day", "month", "model", "provider", "conversation", "server", "purpose", "source"
]


class Ledger(Protocol):
    """The ledger. Its lines outlive conversations and every index; it runs its own threads.

    `StoreFault` is raised where a line cannot be written: then nothing may be sent.
    """

    async def reserve(self, hold: Hold, limits: Sequence[Limit]) -> tuple[Standing, ...]:
        """Write `hold` down if it fits within all `limits`, as one step for all processes.

        Returns how far each of `limits` is used, this hold included. Raises `OverLimit`
        where one would be passed: then nothing is written. A hold without an amount passes where
        its limits are not used up.
        """

    async def settle(self, entry: Entry) -> tuple[Standing, ...]:
        """Write down how the hold `entry.id` ended; money that it held is free from then on.

        Returns how far the limits of its `reserve` are used now. Settling again corrects: the last
        one counts (a hold that was taken for lost ends after all).
        """

    async def standing(self, limits: Sequence[Limit], day: str) -> tuple[Standing, ...]:
        """Return how far `limits` are used on the local `day` (YYYY-MM-DD) and in its month."""

    async def sums(
        self, by: GroupBy, since: str = "", until: str = "", **only: str
    ) -> tuple[Sum, ...]:
        """Return sums by `by` of the local days from `since` to `until` (YYYY-MM-DD, both count).

        `only` narrows to one `model` ("provider/model"), `provider`, `conversation`, `server`,
        `purpose`, `turn` or `run`. In ascending order of the key for times, else the dearest first.
        The key of a "source" is its name and the date of its prices, with a space between.
        """

    async def top(
        self, by: GroupBy, most: int, since: str = "", until: str = "", **only: str
    ) -> Top:
        """Return the `most` dearest of what `sums` would, and all others as one."""

    async def entries(
        self,
        take: Callable[[Sequence[Entry]], None],
        since: str = "",
        until: str = "",
    ) -> None:
        """Give all entries of those days to `take`, some hundreds at a time, oldest first."""

    async def told(self, limit: Limit, period: str, share: Decimal) -> bool:
        """Whether this is the first time, over all processes, that `share` of `limit` is told of
        for `period` (a day or month, or "").
        """


class OverLimit(Exception):
    """A hold does not fit: `standing` is the limit that it would pass, without it."""

    def __init__(self, standing: Standing) -> None:
        super().__init__(standing.limit.kind)
        self.standing = standing
