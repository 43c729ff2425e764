"""Sums of requests out of the index, from the smallest table that can tell."""

from typing import Any, Final, cast

import apsw

from patina.model.money import Sum, Top
from patina.model.usage import Usage
from patina.ports.ledger import GroupBy
from patina.store.money.rows import Value, pack, unpack
from patina.store.money.schema import SUMS
from patina.store.money.units import HIGH, LOW, SPLIT, to_amount, whole

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
    "source": "trim(source || ' ' || price_date)",
}
_OF_LABEL: Final = {"model", "provider", "server", "purpose", "source"}
_COST: Final = f"coalesce({HIGH}, 0) AS high, coalesce({LOW}, 0) AS low"
_SUMMED: Final = ", ".join(_COST if name == "cost" else f"sum({name}) AS {name}" for name in SUMS)
_COUNTED: Final = (
    "count(*) AS requests, sum(input) AS input, sum(output) AS output,"
    " sum(cache_read) AS cache_read, sum(cache_write) AS cache_write,"
    f" sum(reasoning) AS reasoning, {_COST}, sum(cost IS NULL) AS unknown,"
    " sum(estimated) AS estimated, sum(duration_ms) AS duration_ms"
)
_NAMES: Final = ", ".join("high, low" if name == "cost" else name for name in SUMS)
_ALL: Final = ", ".join(f"sum({name})" for name in _NAMES.split(", "))


def check_narrowing(only: dict[str, str]) -> None:
    """Raise `TypeError` for what requests cannot be narrowed to."""
    unknown = sorted(only.keys() - NARROWING)
    if unknown:
        raise TypeError(f"requests cannot be narrowed to one {unknown[0]!r}")


def sums(
    db: apsw.Connection, by: GroupBy, since: str, until: str, only: dict[str, str]
) -> tuple[Sum, ...]:
    """Return sums as `Ledger.sums` does."""
    query, values = _query(by, since, until, only)
    return in_order(by, [_sum(row) for row in db.execute(query, values)])


def top(
    db: apsw.Connection, by: GroupBy, most: int, since: str, until: str, only: dict[str, str]
) -> Top:
    """Return the dearest as `Ledger.top` does: only those become objects."""
    query, values = _query(by, since, until, only)
    found = f"WITH found AS MATERIALIZED ({query})"
    # As numbers with a fraction they are exact up to thousands of dollars, and never too large.
    first = f"SELECT * FROM found ORDER BY high * {SPLIT}.0 + low DESC, key LIMIT ?"  # noqa: S608
    answer = db.execute(
        f"{found} SELECT * FROM ({first})"  # noqa: S608 - names of our own
        f" UNION ALL SELECT count(*), {_ALL} FROM found",
        (*values, most),
    )
    *rows, everything = cast("list[tuple[int, ...]]", answer.fetchall())
    left = everything[0] - len(rows)
    shown = tuple(map(_sum, rows))
    if not left:
        return Top(sums=shown)
    totals = zip(everything[1:], *(row[1:] for row in rows), strict=True)
    rest = [total - sum(some) for total, *some in totals]
    return Top(sums=shown, rest=_sum(("", *rest)), left=left)


def _query(by: GroupBy, since: str, until: str, only: dict[str, str]) -> tuple[str, list[Value]]:
    """Return the SELECT of `key` and all of `_NAMES`, and its values."""
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
    # What was taken back leaves a row of nothing in a table of sums.
    having = "" if source.startswith("entry") else "HAVING sum(requests)"
    query = (
        f"SELECT {_KEYS[by]} AS key, {columns} FROM {source}"  # noqa: S608 - names of our own
        f" WHERE {' AND '.join(where)} GROUP BY 1 {having}"
    )
    return query, values


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


def _sum(row: tuple[Any, ...]) -> Sum:
    key, requests, *rest = row
    return Sum(
        key=unpack(key),
        requests=requests,
        usage=Usage(*rest[:5]),
        cost=to_amount(whole(rest[5], rest[6])),
        unknown=rest[7],
        estimated=rest[8],
        duration_ms=rest[9],
    )
