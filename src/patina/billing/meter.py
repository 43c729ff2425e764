"""The money gate over a ledger: holds the worst case, books what it was, keeps limits."""

import logging
from collections.abc import Callable, Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import Final

import anyio
from msgspec import Struct

from patina.billing.alerts import Alerts
from patina.billing.booking import Booked, booked
from patina.billing.days import later, local_day
from patina.billing.limits import all_limits, left, limit_words, limits_of, refusal
from patina.billing.pricing import cost_of, worst_case
from patina.model.chat import ModelRef
from patina.model.events import LimitReached, LimitWarned
from patina.model.faults import LimitFault, StoreFault, Unpriced
from patina.model.ids import new_id
from patina.model.money import Entry, Hold, Limit, Quote, Standing, Sum, Tariff, Used, Wanted
from patina.model.settings import BillingSettings
from patina.model.usage import Cost, Usage
from patina.ports.clock import Clock
from patina.ports.ledger import GroupBy, Ledger, OverLimit
from patina.ports.tariffs import Tariffs

_log = logging.getLogger(__name__)

# A hold is given up so long after its request must have ended. Seconds.
GRACE: Final = 600.0
LIKELY_OUTPUT: Final = 600  # tokens, of an answer that nobody has seen yet
_ALLOW: Final = "patina config set billing.on_unknown_price allow"
_PRICE: Final = (
    "Choose a model whose price is known (patina models), or give its price in the settings of its "
    "provider."
)


class _Open(Struct, frozen=True):
    """A request under way."""

    wanted: Wanted
    tariff: Tariff
    hold: Hold


def _nobody(event: LimitWarned | LimitReached) -> None:
    """Hear of no alert."""


class LedgerMeter:
    """`ports.meter.Meter` over `ledger`, at the prices of `tariffs`.

    `billing` returns the settings as they are now. Days and months are those of `zone` (None: the
    system's). `tell` hears the alerts. Without `kept` conversations, lines name none of them, and
    what each has spent is known to this meter alone.
    """

    def __init__(
        self,
        ledger: Ledger,
        tariffs: Tariffs,
        clock: Clock,
        billing: Callable[[], BillingSettings] = BillingSettings,
        zone: tzinfo | None = None,
        tell: Callable[[LimitWarned | LimitReached], None] = _nobody,
        *,
        kept: bool = True,
    ) -> None:
        self._ledger = ledger
        self._tariffs = tariffs
        self._clock = clock
        self._billing = billing
        self._zone = zone
        self._alerts = Alerts(ledger, tell)
        self._kept = kept
        self._open: dict[str, _Open] = {}
        self._spent: dict[str, Decimal] = {}  # by conversation, of those that are not kept

    async def quote(self, wanted: Wanted) -> Quote:
        """As `Meter.quote`."""
        tariff = await self._tariff(wanted)
        most = worst_case(wanted.most_input, wanted.max_tokens, tariff)
        output = min(wanted.max_tokens, LIKELY_OUTPUT)
        blocked: Standing | None = None
        limits = () if tariff.local else limits_of(wanted, self._billing())
        if limits:
            try:
                standings = await self._ledger.standing(limits, self._today())
            except StoreFault:
                standings = ()
            blocked = next((one for one in standings if _stops(one, most)), None)
        return Quote(
            likely=cost_of(Usage(wanted.input, output), tariff),
            most=most,
            input=wanted.input,
            max_tokens=wanted.max_tokens,
            tariff=tariff,
            blocked=blocked,
        )

    async def hold(self, wanted: Wanted, *, unpriced: bool = False) -> str:
        """As `Meter.hold`."""
        tariff = await self._tariff(wanted)
        limits = () if tariff.local else limits_of(wanted, self._billing())
        amount = worst_case(wanted.most_input, wanted.max_tokens, tariff)
        if amount is None:
            self._check_unpriced(wanted, limits, unpriced=unpriced)
        now = self._clock.now()
        day = local_day(now, self._zone)
        hold = Hold(
            id=new_id(),
            at=now,
            day=day,
            expires=later(now, wanted.timeout + GRACE),
            provider=wanted.provider,
            model=wanted.model,
            purpose=wanted.purpose,
            amount=amount,
            conversation=wanted.conversation if self._kept else "",
            turn=wanted.turn,
            server=wanted.server,
            run=wanted.run,
            source=tariff.source,
            price_date=tariff.date,
        )
        # A hold that is on disk while its caller is gone would stay open until it expires.
        with anyio.CancelScope(shield=True):
            try:
                self._check_unkept(limits, amount)
                # Before it is written: another one of the same conversation may come meanwhile.
                self._open[hold.id] = _Open(wanted, tariff, hold)
                standings = await self._ledger.reserve(hold, limits)
            except OverLimit as over:
                self._open.pop(hold.id, None)
                raise await self._refused(over.standing, amount, day) from None
            except StoreFault:
                del self._open[hold.id]
                raise
            await self._alerts.look(standings, day, self._warn_at())
        return hold.id

    async def settle(self, hold: str, used: Used) -> Cost | None:
        """As `Meter.settle`."""
        opened = self._open.pop(hold, None)
        if opened is None:
            return None
        result = booked(opened.wanted, opened.tariff, opened.hold.amount, used)
        name = opened.wanted.conversation
        if not self._kept and name:
            self._spent[name] = self._spent.get(name, Decimal(0)) + (result.cost or 0)
        with anyio.CancelScope(shield=True):
            try:
                standings = await self._ledger.settle(_entry(opened.hold, used, result))
            except StoreFault as fault:
                _log.warning("a cost was not written down; the worst case counts: %s", fault)
            else:
                await self._alerts.look(standings, opened.hold.day, self._warn_at())
        if result.cost is None:
            return None
        return Cost(result.cost, result.source, estimated=result.estimated)

    def running(self, hold: str, output_tokens: int) -> Cost | None:
        """As `Meter.running`."""
        opened = self._open.get(hold)
        if opened is None or opened.tariff.local:
            return None
        amount = cost_of(Usage(opened.wanted.input, output_tokens), opened.tariff)
        return None if amount is None else Cost(amount, opened.tariff.source, estimated=True)

    async def standing(self, conversation: str = "") -> tuple[Standing, ...]:
        """As `Meter.standing`."""
        limits = all_limits(self._billing(), conversation)
        return await self._ledger.standing(limits, self._today()) if limits else ()

    async def sums(
        self, by: GroupBy, since: str = "", until: str = "", **only: str
    ) -> tuple[Sum, ...]:
        """As `Ledger.sums`."""
        return await self._ledger.sums(by, since, until, **only)

    async def entries(
        self, take: Callable[[Sequence[Entry]], None], since: str = "", until: str = ""
    ) -> None:
        """As `Ledger.entries`."""
        await self._ledger.entries(take, since, until)

    async def _tariff(self, wanted: Wanted) -> Tariff:
        return await self._tariffs.tariff(ModelRef(wanted.provider, wanted.model))

    def _today(self) -> str:
        return local_day(self._clock.now(), self._zone)

    def _warn_at(self) -> Decimal:
        return Decimal(str(self._billing().warn_at))

    def _check_unpriced(self, wanted: Wanted, limits: Sequence[Limit], *, unpriced: bool) -> None:
        """Raise `LimitFault` where a request whose price nobody knows is not to be sent."""
        choice = self._billing().on_unknown_price
        words = f"Nobody knows what {wanted.provider}/{wanted.model} costs"
        if wanted.budget is not None:
            raise LimitFault(f"{words}, and a budget needs a price. It was not sent.", hint=_PRICE)
        hint = f"To send it all the same: {_ALLOW}"
        if choice == "refuse":
            words = f"{words}. It was not sent: billing.on_unknown_price is refuse."
            raise LimitFault(words, hint=hint)
        if choice == "ask" and limits and not unpriced:
            words = f"{words}, and {limit_words(limits[-1])} applies. It was not sent."
            raise Unpriced(words, hint=hint)

    def _check_unkept(self, limits: Sequence[Limit], amount: Decimal | None) -> None:
        """Raise `OverLimit` where a conversation that is not kept would pass its limit."""
        for limit in limits:
            if limit.kind == "conversation" and not self._kept:
                own = (one for one in self._open.values() if one.wanted.conversation == limit.name)
                held = sum((one.hold.amount or Decimal(0) for one in own), Decimal(0))
                spent = self._spent.get(limit.name, Decimal(0))
                standing = Standing(limit=limit, spent=spent, held=held)
                if _stops(standing, amount):
                    raise OverLimit(standing)

    async def _refused(self, standing: Standing, amount: Decimal | None, day: str) -> LimitFault:
        # What is only held may come free again: then the limit is not reached yet.
        if amount is None or standing.spent + amount > standing.limit.amount:
            await self._alerts.reached(standing, day, amount)
        message, hint = refusal(standing, amount)
        return LimitFault(message, hint=hint)


def _stops(standing: Standing, needed: Decimal | None) -> bool:
    if needed is None:
        return not left(standing)
    return needed > left(standing)


def _entry(hold: Hold, used: Used, result: Booked) -> Entry:
    return Entry(
        id=hold.id,
        at=hold.at,
        day=hold.day,
        provider=hold.provider,
        model=hold.model,
        purpose=hold.purpose,
        outcome=used.outcome,
        usage=result.usage,
        cost=result.cost,
        estimated=result.estimated,
        held=hold.amount,
        conversation=hold.conversation,
        turn=hold.turn,
        server=hold.server,
        run=hold.run,
        source=result.source,
        price_date=hold.price_date,
        tier=used.tier,
        first_token_ms=used.first_token_ms,
        duration_ms=used.duration_ms,
    )
