"""The ledger: reserving with eight processes, sums over a million requests, its index made anew."""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import anyio
import apsw
from bench.table import Row
from tests.store.money.making import Now, ended

from patina.model.money import Entry, Limit
from patina.ports.ledger import GroupBy
from patina.store.money.ledger import FileLedger

REQUESTS = 1_000_000
DAYS = 365
PER_CONVERSATION = 20
MODELS = [f"anthropic|claude-{n}" for n in range(4)] + [f"openai|gpt-{n}" for n in range(6)]
PURPOSES = ("chat", "tools", "title", "sampling")
ROUNDS = 7
_ALONE = 500
_BLOCK = 10_000
_GROUPS: tuple[GroupBy, ...] = ("day", "model", "conversation")
_IN_SQL = {"day": "day", "model": "provider || '/' || model", "conversation": "conversation"}


def rows(progress: Callable[[], None], requests: int = REQUESTS) -> list[Row]:
    """Measure everything. Takes some minutes, and 1.6 GB of the temporary folder."""
    with tempfile.TemporaryDirectory(prefix="patina-bench-") as folder:
        home = Path(folder)
        found = _reserving(home)
        progress()
        _make(home, requests)
        progress()
        return [*found, *anyio.run(_reading, home, requests)]


def _reserving(home: Path) -> list[Row]:
    """Eight processes that reserve and settle 150 times each; a third is refused."""
    command = [sys.executable, "-m", "tests.store.money.processes"]
    command += [str(home), "10", "1", "8", "150", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    report = json.loads(done.stdout)
    alone = anyio.run(_alone, home / "alone")
    name, floor = "reserve, 8 processes", "one process"
    median = Row(f"{name}, median", 1e3 * report["median"], "ms", alone[0], floor, limit=5.0)
    worst = Row(f"{name}, 99th percentile", 1e3 * report["p99"], "ms", alone[1], floor)
    return [median, worst]


async def _alone(home: Path) -> tuple[float, float]:
    took: list[float] = []
    now = Now()
    limits = [Limit(kind="day", amount=Decimal(1000)), Limit(kind="month", amount=Decimal(1000))]
    async with FileLedger(home / "data", home / "state", now=now) as ledger:
        for _ in range(_ALONE):
            hold = now.hold("0.01")
            since = time.perf_counter()
            await ledger.reserve(hold, limits)
            took.append(1e3 * (time.perf_counter() - since))
            await ledger.settle(ended(hold, "0.01"))
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


def _make(home: Path, requests: int) -> None:
    """Write the files of a year."""
    luck = random.Random(1)
    usage = home / "data" / "usage"
    usage.mkdir(parents=True)
    first = date(2026, 1, 1)
    for start in range(0, requests, _BLOCK):
        lines: dict[str, list[bytes]] = {}
        for number in range(start, min(start + _BLOCK, requests)):
            day = (first + timedelta(days=number * DAYS // requests)).isoformat()
            lines.setdefault(day[:7], []).extend(_request(number, day, luck))
        for month, found in lines.items():
            with (usage / f"{month}.0a1b2c3d.jsonl").open("ab") as file:
                file.write(b"".join(found))


def _request(number: int, day: str, luck: random.Random) -> list[bytes]:
    provider, model = luck.choice(MODELS).split("|")
    same = (
        f'"day":"{day}",',
        f'"provider":"{provider}","model":"{model}","purpose":"{luck.choice(PURPOSES)}",',
        f'"conversation":"{_id(number // PER_CONVERSATION, 1)}","turn":"{_id(number // 3, 2)}",',
        '"source":"genai-prices","price_date":"2026-01-01"}',
    )
    at = f"{day}T10:00:00.{number % 1000:03}Z"
    request = _id(number, 3)
    hold = f'{{"v":1,"k":"hold","id":"{request}","ts":"{at}","by":"0a1b2c3d",'
    hold += f'"expires":"{day}T10:12:00.000Z","amount":"0.05",'
    end = f'{{"v":1,"k":"settle","id":"{_id(number, 4)}","ts":"{at}","by":"0a1b2c3d",'
    end += f'"hold":"{request}","at":"{at}","outcome":"done","held":"0.05",'
    end += f'"cost":"0.0{luck.randrange(10**6):06}","duration_ms":{luck.randrange(9999)},'
    end += f'"usage":{{"input_tokens":{luck.randrange(9999)},"output_tokens":300}},'
    return [_sealed(begin + "".join(same)) for begin in (hold, end)]


def _id(number: int, kind: int) -> str:
    return f"01a20200-{number >> 16:04x}-7{number >> 4 & 0xFFF:03x}-8{kind:03x}-{number:012x}"


def _sealed(body: str) -> bytes:
    data = body.encode()
    return b'%b,"c":"%08x"}\n' % (data[:-1], zlib.crc32(data))


async def _reading(home: Path, requests: int) -> list[Row]:
    """Sums beside a plain table of the same numbers; catching up from nothing."""
    million = f"{requests:,} requests"
    found: list[Row] = []
    async with FileLedger(home / "data", home / "state") as ledger:
        since = time.process_time()
        await ledger.rebuild()
        spent = time.process_time() - since
        read = _timed(lambda: [path.read_bytes() for path in (home / "data/usage").glob("*.jsonl")])
        name = f"index of {million} made anew: CPU"
        found.append(Row(name, spent, "s", read / 1e3, "read the files"))
        plain = await _plain(ledger, home / "plain.db")
        for by in _GROUPS:
            took: list[float] = []
            for _ in range(ROUNDS):
                begun = time.perf_counter()
                await ledger.sums(by)
                took.append(1e3 * (time.perf_counter() - begun))
            query = f"SELECT {_IN_SQL[by]}, count(*), sum(input), sum(cost) FROM entry GROUP BY 1"
            floor = _timed(partial(_fetched, plain, query))
            name = f"sums by {by} over {million}"
            row = Row(name, statistics.median(took), "ms", floor, "GROUP BY in SQLite", limit=500.0)
            found.append(row)
        plain.close()
    return found


async def _plain(ledger: FileLedger, place: Path) -> apsw.Connection:
    """A table of the same requests, as anyone would make it first."""
    db = apsw.Connection(str(place))
    db.execute(
        "CREATE TABLE entry(day TEXT, provider TEXT, model TEXT, conversation TEXT,"
        " input INTEGER, cost INTEGER)"
    )

    def take(entries: Sequence[Entry]) -> None:
        db.executemany(
            "INSERT INTO entry VALUES(?, ?, ?, ?, ?, ?)",
            [
                (
                    entry.day,
                    entry.provider,
                    entry.model,
                    entry.conversation,
                    entry.usage.input_tokens,
                    int((entry.cost or Decimal(0)) * 10**12),
                )
                for entry in entries
            ],
        )

    db.execute("BEGIN")
    await ledger.entries(take)
    db.execute("COMMIT")
    return db


def _timed(work: Callable[[], object]) -> float:
    took = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        took.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(took)


def _fetched(db: apsw.Connection, query: str) -> object:
    return db.execute(query).fetchall()
