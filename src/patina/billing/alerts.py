"""Tells of limits that are nearly used up, and of those that are: once, over all processes."""

import logging
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

from patina.billing.limits import limit_words, period_of, raise_hint
from patina.model.events import LimitReached, LimitWarned
from patina.model.faults import StoreFault
from patina.model.money import Limit, Standing
from patina.ports.ledger import Ledger
from patina.views.money import fine_text

_log = logging.getLogger(__name__)

ALL: Final = Decimal(1)
_MOST_REMEMBERED: Final = 1_000


class Alerts:
    """Publishes through `tell` what `ledger` was not asked to remember before."""

    def __init__(self, ledger: Ledger, tell: Callable[[LimitWarned | LimitReached], None]) -> None:
        self._ledger = ledger
        self._tell = tell
        self._told: dict[tuple[Limit, str, Decimal], None] = {}

    async def look(self, standings: Iterable[Standing], day: str, warn_at: Decimal) -> None:
        """Tell what is new about limits on the local `day`. Never raises `StoreFault`."""
        for standing in standings:
            amount, spent = standing.limit.amount, standing.spent
            if standing.limit.kind == "request" or not spent:
                continue
            if spent >= amount:
                await self.reached(standing, day, None)
            elif spent >= warn_at * amount and await self._is_new(standing.limit, day, warn_at):
                words = limit_words(standing.limit)
                self._tell(
                    LimitWarned(
                        limit=standing.limit,
                        share=warn_at,
                        spent=spent,
                        text=f"{fine_text(spent)} of {words} is spent.",
                        period=period_of(standing.limit, day),
                        conversation=_conversation(standing.limit),
                    )
                )

    async def reached(self, standing: Standing, day: str, needed: Decimal | None) -> None:
        """Tell that a limit lets nothing pass any more, or nothing that needs so much."""
        limit = standing.limit
        if limit.kind == "request" or not await self._is_new(limit, day, ALL):
            return
        words = limit_words(limit)
        self._tell(
            LimitReached(
                limit=limit,
                spent=standing.spent,
                text=f"{words[:1].upper()}{words[1:]} is reached: {fine_text(standing.spent)} is "
                "spent.",
                hint=raise_hint(standing, needed),
                period=period_of(limit, day),
                conversation=_conversation(limit),
            )
        )

    async def _is_new(self, limit: Limit, day: str, share: Decimal) -> bool:
        period = period_of(limit, day)
        mark = (limit, period, share)
        if mark in self._told:
            return False
        try:
            first = await self._ledger.told(limit, period, share)
        except StoreFault as fault:
            _log.warning("nobody was told of a limit: %s", fault)
            return False
        self._told[mark] = None
        if len(self._told) > _MOST_REMEMBERED:
            del self._told[next(iter(self._told))]
        return first


def _conversation(limit: Limit) -> str:
    return limit.name if limit.kind == "conversation" else ""
