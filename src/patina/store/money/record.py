"""What is known of one request, from the lines about it in whatever order they were read."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, cast

from msgspec import Struct
from msgspec.structs import replace

from patina.model.money import Entry, Limit, Outcome, Purpose, Standing
from patina.model.usage import Usage
from patina.store.money.lines import HoldLine, SettleLine
from patina.store.money.units import to_amount, to_units

HELD: Final = "held"
VOID: Final = "void"
# Sums of a million requests fit in 64 bits.
_MOST_TOKENS: Final = 10**12
_DAY_MS: Final = 86_400_000
# No request waits for so long: a hold that wants to was made by a clock that was wrong.
_LONGEST_HOLD_MS: Final = 2 * _DAY_MS


class Record(Struct, frozen=True, kw_only=True):
    """One request. `held` and `cost` are units, None where not known; `expires` is milliseconds
    since 1970, 0 where the line of its hold was not seen; `rev` and `line` are those of the line
    that says how it ended, 0 and "" where there is none.
    """

    id: str
    at: str
    day: str
    expires: int
    provider: str
    model: str
    purpose: str
    outcome: str
    usage: Usage
    cost: int | None
    estimated: bool
    held: int | None
    conversation: str
    turn: str
    server: str
    run: str
    source: str
    price_date: str
    tier: str
    first_token_ms: int | None
    duration_ms: int
    rev: int
    line: str

    @property
    def counted(self) -> bool:
        """Whether it is a request that ended and may have cost something."""
        return self.outcome not in (HELD, VOID)

    def entry(self) -> Entry:
        """Return it as callers know it."""
        return Entry(
            id=self.id,
            at=self.at,
            day=self.day,
            provider=self.provider,
            model=self.model,
            purpose=cast("Purpose", self.purpose),
            outcome=cast("Outcome", self.outcome),
            usage=self.usage,
            cost=None if self.cost is None else to_amount(self.cost),
            estimated=self.estimated,
            held=None if self.held is None else to_amount(self.held),
            conversation=self.conversation,
            turn=self.turn,
            server=self.server,
            run=self.run,
            source=self.source,
            price_date=self.price_date,
            tier=self.tier,
            first_token_ms=self.first_token_ms,
            duration_ms=self.duration_ms,
        )


def of_hold(line: HoldLine) -> Record:
    """Return what the line of a hold says. Raises `ValueError` for what is no time or amount."""
    return Record(
        id=line.id,
        at=line.ts,
        day=line.day,
        expires=max(1, to_ms(line.expires)),
        provider=line.provider,
        model=line.model,
        purpose=line.purpose,
        outcome=HELD,
        usage=Usage(),
        cost=None,
        estimated=False,
        held=_units(line.amount, up=True),
        conversation=line.conversation,
        turn=line.turn,
        server=line.server,
        run=line.run,
        source=line.source,
        price_date=line.price_date,
        tier="",
        first_token_ms=None,
        duration_ms=0,
        rev=0,
        line="",
    )


def of_settle(line: SettleLine) -> Record:
    """Return what the line of an end says. Raises `ValueError` for what is no amount."""
    return Record(
        id=line.hold,
        at=line.at,
        day=line.day,
        expires=0,
        provider=line.provider,
        model=line.model,
        purpose=line.purpose,
        outcome=line.outcome,
        usage=_sane(line.usage),
        cost=_units(line.cost),
        estimated=line.estimated,
        held=_units(line.held, up=True),
        conversation=line.conversation,
        turn=line.turn,
        server=line.server,
        run=line.run,
        source=line.source,
        price_date=line.price_date,
        tier=line.tier,
        first_token_ms=None if line.first_token_ms is None else _bounded(line.first_token_ms),
        duration_ms=_bounded(line.duration_ms),
        rev=_bounded(line.rev),
        line=line.id,
    )


def merge(old: Record, new: Record) -> Record:
    """Return what is known of a request after one more line of it.

    What it was stands in the line of its hold, if there is one; how it ended in its last end.
    """
    begun = new if new.expires and not old.expires else old
    ended = new if (new.rev, new.line) > (old.rev, old.line) else old
    if ended is begun:
        return begun
    return replace(
        begun,
        outcome=ended.outcome,
        usage=ended.usage,
        cost=ended.cost,
        estimated=ended.estimated,
        source=ended.source,
        price_date=ended.price_date,
        tier=ended.tier,
        first_token_ms=ended.first_token_ms,
        duration_ms=ended.duration_ms,
        rev=ended.rev,
        line=ended.line,
    )


def bounds_of_open(now: str) -> tuple[int, int]:
    """Return between which `expires` a hold is open at the time `now`."""
    stamp = to_ms(now)
    return stamp, stamp + _LONGEST_HOLD_MS


def lost(record: Record) -> Record:
    """Return what an open hold becomes once nobody can be waiting for its end: its worst case."""
    return replace(record, outcome="lost", cost=record.held, estimated=True)


def covers(limit: Limit, day: str, record: Record) -> bool:
    """Whether a request counts for a limit on the local `day` or in its month.

    A limit of one request covers none but the one that is asked about. A model may be named with
    its provider or without.
    """
    match limit.kind:
        case "day":
            return record.day == day
        case "month":
            return record.day[:7] == day[:7]
        case "provider":
            return record.day[:7] == day[:7] and record.provider == limit.name
        case "model":
            names = (record.model, f"{record.provider}/{record.model}")
            return record.day[:7] == day[:7] and limit.name in names
    if not limit.name:
        return False
    ours = {"conversation": record.conversation, "turn": record.turn, "budget": record.run}
    return ours.get(limit.kind) == limit.name


def used(limit: Limit, spent: int, unknown: int, covered: Sequence[Record]) -> Standing:
    """Return how far a limit is used: `spent` units and the `covered` holds that are open."""
    held = sum(record.held or 0 for record in covered)
    unknown += sum(record.held is None for record in covered)
    return Standing(limit=limit, spent=to_amount(spent), held=to_amount(held), unknown=unknown)


def used_by(limit: Limit, record: Record) -> Standing:
    """Return how far one request uses a limit by itself."""
    if record.outcome == HELD:
        return used(limit, 0, 0, [record])
    unknown = record.counted and record.cost is None
    return used(limit, record.cost or 0 if record.counted else 0, int(unknown), [])


def plus(standing: Standing, amount: Decimal | None) -> Standing:
    """Return a standing with one more hold."""
    if amount is None:
        return replace(standing, unknown=standing.unknown + 1)
    return replace(standing, held=standing.held + to_amount(to_units(amount, up=True)))


def fits(standing: Standing, amount: Decimal | None) -> bool:
    """Whether a hold passes beside what stands there. What costs nothing always does."""
    so_far = standing.spent + standing.held
    if amount is None:
        return so_far < standing.limit.amount
    needed = to_amount(to_units(amount, up=True))
    return not needed or so_far + needed <= standing.limit.amount


def to_ms(text: str) -> int:
    """Return a time in ISO 8601, UTC unless it says otherwise, as milliseconds since 1970.

    Raises `ValueError`.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)
    except OverflowError as error:
        raise ValueError(f"{text!r} is no time") from error


def _units(amount: Decimal | None, *, up: bool = False) -> int | None:
    return None if amount is None else to_units(amount, up=up)


def _bounded(number: int) -> int:
    return min(max(number, 0), _MOST_TOKENS)


def _sane(usage: Usage) -> Usage:
    if all(0 <= getattr(usage, name) <= _MOST_TOKENS for name in usage.__struct_fields__):
        return usage
    return Usage(*(_bounded(getattr(usage, name)) for name in usage.__struct_fields__))
