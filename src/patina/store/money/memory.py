"""A ledger that forgets: for tests, and where nothing is to be kept."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from anyio.lowlevel import checkpoint

from patina.model.money import Entry, Hold, Limit, Standing, Sum, Top
from patina.ports.ledger import GroupBy, OverLimit
from patina.store.money import record as records
from patina.store.money.ledger import utc_now
from patina.store.money.lines import check_day, hold_line, settle_line
from patina.store.money.record import Record
from patina.store.money.sums import check_narrowing, in_order
from patina.store.money.units import to_amount

_PAGE = 500


class MemoryLedger:
    """A `Ledger` in memory, for one process. `now` tells UTC as ISO 8601."""

    def __init__(self, *, now: Callable[[], str] = utc_now) -> None:
        self._now = now
        self._records: dict[str, Record] = {}
        self._limits: dict[str, tuple[Limit, ...]] = {}
        self._told: set[tuple[Limit, str, Decimal]] = set()

    async def reserve(self, hold: Hold, limits: Sequence[Limit]) -> tuple[Standing, ...]:
        """Keep a hold if it fits; see `Ledger.reserve`."""
        await checkpoint()
        record = records.of_hold(hold_line(hold, ""))
        for standing in self._standing(limits, hold.day):
            if not records.fits(standing, hold.amount):
                raise OverLimit(standing)
        self._keep(record)
        self._limits[hold.id] = tuple(limits)
        return self._standing(limits, hold.day, self._records[hold.id])

    async def settle(self, entry: Entry) -> tuple[Standing, ...]:
        """Keep how a hold ended; see `Ledger.settle`."""
        await checkpoint()
        known = self._records.get(entry.id)
        rev = 1 if known is None else known.rev + 1
        self._keep(records.of_settle(settle_line(entry, rev, self._now(), "")))
        record = self._records[entry.id]
        return self._standing(self._limits.get(entry.id, ()), record.day, record)

    async def standing(self, limits: Sequence[Limit], day: str) -> tuple[Standing, ...]:
        """Return how far limits are used; see `Ledger.standing`."""
        await checkpoint()
        return self._standing(limits, check_day(day))

    async def sums(
        self, by: GroupBy, since: str = "", until: str = "", **only: str
    ) -> tuple[Sum, ...]:
        """Return sums of requests; see `Ledger.sums`."""
        await checkpoint()
        check_narrowing(only)
        found: dict[str, Sum] = {}
        for record in self._between(since, until):
            narrowed = all(_key(record, name) == wanted for name, wanted in only.items())
            if record.counted and narrowed:
                key = _key(record, by)
                found[key] = _added(found.get(key, Sum(key=key)), record)
        return in_order(by, list(found.values()))

    async def top(
        self, by: GroupBy, most: int, since: str = "", until: str = "", **only: str
    ) -> Top:
        """Return the dearest sums; see `Ledger.top`."""
        found = in_order("model", list(await self.sums(by, since, until, **only)))
        rest = Sum(key="")
        for each in found[most:]:
            rest = _both(rest, each)
        return Top(sums=found[:most], rest=rest, left=max(len(found) - most, 0))

    async def entries(
        self, take: Callable[[Sequence[Entry]], None], since: str = "", until: str = ""
    ) -> None:
        """Give all requests to `take`; see `Ledger.entries`."""
        await checkpoint()
        found = [record.entry() for record in self._between(since, until)]
        for start in range(0, len(found), _PAGE):
            take(found[start : start + _PAGE])

    async def told(self, limit: Limit, period: str, share: Decimal) -> bool:
        """Note that the user is told of a limit; see `Ledger.told`."""
        await checkpoint()
        mark = (limit, period, share)
        first = mark not in self._told
        self._told.add(mark)
        return first

    def _keep(self, record: Record) -> None:
        known = self._records.get(record.id)
        self._records[record.id] = record if known is None else records.merge(known, record)

    def _all(self) -> list[Record]:
        since, until = records.bounds_of_open(self._now())
        for record in self._records.values():
            if record.outcome == records.HELD and not since <= record.expires <= until:
                self._records[record.id] = records.lost(record)
        return list(self._records.values())

    def _between(self, since: str, until: str) -> list[Record]:
        days = (since, until or "~")
        found = [record for record in self._all() if days[0] <= record.day <= days[1]]
        return sorted(found, key=lambda record: (record.day, record.at))

    def _standing(
        self, limits: Sequence[Limit], day: str, own: Record | None = None
    ) -> tuple[Standing, ...]:
        found = self._all()
        return tuple(_standing(limit, day, found, own) for limit in limits)


def _standing(limit: Limit, day: str, found: list[Record], own: Record | None) -> Standing:
    if limit.kind == "request":
        return Standing(limit=limit) if own is None else records.used_by(limit, own)
    covered = [record for record in found if records.covers(limit, day, record)]
    ended = [record for record in covered if record.counted]
    spent = sum(record.cost or 0 for record in ended)
    unknown = sum(record.cost is None for record in ended)
    held = [record for record in covered if record.outcome == records.HELD]
    return records.used(limit, spent, unknown, held)


def _key(record: Record, name: str) -> str:
    if name == "month":
        return record.day[:7]
    if name == "model":
        return f"{record.provider}/{record.model}"
    if name == "source":
        return f"{record.source} {record.price_date}".strip(" ")
    return str(getattr(record, name))


def _added(total: Sum, record: Record) -> Sum:
    one = Sum(
        key="",
        requests=1,
        usage=record.usage,
        cost=to_amount(record.cost or 0),
        unknown=int(record.cost is None),
        estimated=int(record.estimated),
        duration_ms=record.duration_ms,
    )
    return _both(total, one)


def _both(total: Sum, other: Sum) -> Sum:
    return Sum(
        key=total.key,
        requests=total.requests + other.requests,
        usage=total.usage + other.usage,
        cost=total.cost + other.cost,
        unknown=total.unknown + other.unknown,
        estimated=total.estimated + other.estimated,
        duration_ms=total.duration_ms + other.duration_ms,
    )
