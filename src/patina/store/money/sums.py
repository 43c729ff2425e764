"""Sums of requests out of the index, from the smallest table that can tell."""

from typing import Final, cast

import apsw

from patina.model.money import Sum
from patina.model.usage import Usage
from patina.ports.ledger import GroupBy
from patina.store.money.rows import Value, pack, unpack
from patina.store.money.schema import SUMS
from patina.store.money.units import to_amount

NARROWING: Final = frozenset(
    ("model", "provider", "conversation", "server", "purpose", "turn", "run")
)
TIMES: Final = ("day", "month")
_KEYS: Final = {
    "day": "day",
    "month": "substr(day, 1, 7)",
    "model": "provider || '/' || model",
    "provider": "provider",
    "conversation": "conversation",
    "server": "server",
    "purpose": "purpose",
}
_OF_LABEL: Final = {"model", "provider", "server", "purpose"}
_SUMMED: Final = ", ".join(f"sum({name})" for name in SUMS)
_COUNTED: Final = (
    "count(*), sum(input), sum(output), sum(cache_read), sum(cache_write), sum(reasoning),"
    " coalesce(sum(cost), 0), sum(cost IS NULL), sum(estimated), sum(duration_ms)"
)


def check_narrowing(only: dict[str, str]) -> None:
    """Raise `TypeError` for what requests cannot be narrowed to."""
    unknown = sorted(only.keys() - NARROWING)
    if unknown:
        raise TypeError(f"requests cannot be narrowed to one {unknown[0]!r}")


def sums(
    db: apsw.Connection, by: GroupBy, since: str, until: str, only: dict[str, str]
) -> tuple[Sum, ...]:
    """Return sums as `Ledger.sums` does."""
    source, columns = _source(by, only)
    where = ["day BETWEEN ? AND ?"]
    values: list[Value] = [since, until or "~"]
    for name, wanted in only.items():
        if name in ("turn", "run"):
            where.append(f"{name} <> ''")
        where.append(f"{_KEYS.get(name, name)} = ?")
        values.append(wanted if name in _OF_LABEL else pack(wanted))
    if source.startswith("entry"):
        where.append("outcome NOT IN ('held', 'void')")
    query = (
        f"SELECT {_KEYS[by]}, {columns} FROM {source}"  # noqa: S608 - names of our own
        f" WHERE {' AND '.join(where)} GROUP BY 1"
    )
    rows = cast("list[tuple[int, ...]]", db.execute(query, values).fetchall())
    return in_order(by, [_sum(row) for row in rows if row[1]])


def in_order(by: GroupBy, found: list[Sum]) -> tuple[Sum, ...]:
    """Return sums in ascending order of the key for times, else the dearest first."""
    if by in TIMES:
        return tuple(sorted(found, key=lambda each: each.key))
    return tuple(sorted(found, key=lambda each: (-each.cost, each.key)))


def _source(by: GroupBy, only: dict[str, str]) -> tuple[str, str]:
    wanted = {by, *only} - set(TIMES)
    labelled = " JOIN label ON label.id = label" if wanted & _OF_LABEL else ""
    if wanted <= _OF_LABEL:
        return f"total{labelled}", _SUMMED
    if wanted <= {"conversation"}:
        return "talk", _SUMMED
    return f"entry{labelled}", _COUNTED


def _sum(row: tuple[int, ...]) -> Sum:
    key, requests, *rest = row
    return Sum(
        key=unpack(key),
        requests=requests,
        usage=Usage(*rest[:5]),
        cost=to_amount(rest[5]),
        unknown=rest[6],
        estimated=rest[7],
        duration_ms=rest[8],
    )
