"""What the ledger says, for commands that have no app: a conversation, the limits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from patina.cli.context import Context
from patina.model.faults import StoreFault
from patina.model.money import Limit, Standing, Sum

if TYPE_CHECKING:
    from patina.store.money.ledger import FileLedger


def ledger_of(run: Context) -> "FileLedger | None":
    """Return the ledger, None where nothing was ever written to it: then nothing is made either."""
    if not (run.paths.data / "usage").is_dir():
        return None
    from patina.store.money.ledger import FileLedger

    return FileLedger(run.paths.data, run.paths.state)


async def spent_on(run: Context, conversation: str) -> Sum | None:
    """Return what all requests of a conversation cost; None where it has none, or nobody knows."""
    ledger = ledger_of(run)
    if ledger is None:
        return None
    async with ledger:
        try:
            return next(iter(await ledger.sums("conversation", conversation=conversation)), None)
        except StoreFault:
            return None  # the conversation can be read all the same


async def spent_in(run: Context, month: str) -> Sum:
    """Return what all requests of a month (YYYY-MM) cost. Raises `StoreFault`."""
    ledger = ledger_of(run)
    if ledger is None:
        return Sum(key=month)
    async with ledger:
        found = await ledger.sums("month", since=f"{month}-01", until=f"{month}-31")
        return next(iter(found), Sum(key=month))


def spent_json(total: Sum) -> dict[str, Any]:
    """Return a sum for programs: `amount` is that of all requests but `unknown` of them."""
    return {
        "amount": f"{total.cost:f}",
        "currency": "USD",
        "estimated": bool(total.estimated),
        "requests": total.requests,
        "unknown": total.unknown,
    }


async def standings(run: Context, limits: Sequence[Limit], day: str) -> tuple[Standing, ...]:
    """Return how far limits are used. Raises `StoreFault`."""
    ledger = ledger_of(run) if limits else None
    if ledger is None:
        return tuple(Standing(limit=limit) for limit in limits)
    async with ledger:
        return await ledger.standing(limits, day)
