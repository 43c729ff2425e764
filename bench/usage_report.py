"""`patina usage` as a whole process: sums over a million requests, a year of heavy use as PDF."""

import random
import statistics
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import anyio
from bench.processes import PYTHON, Program, Run, compare
from bench.table import Row

from patina.model.ids import new_id
from patina.model.money import Entry, Purpose
from patina.model.usage import Usage
from patina.store.money.ledger import FileLedger
from patina.store.money.lines import encode, settle_line

REQUESTS = 1_000_000
PER_DAY = 300
LAST = date(2026, 11, 22)
_MODELS = (
    *("openai/gpt-5.2", "anthropic/claude-sonnet-5", "google/gemini-3-pro", "openai/gpt-5-mini"),
    *("mistral/mistral-large", "openrouter/qwen/qwen3-max", "groq/llama-4", "ollama/llama3.2"),
)
_PURPOSES: tuple[Purpose, ...] = ("chat", "tools", "tools", "title")
_PER_CONVERSATION = 20
_WRITER = "0a1b2c3d"
# The same sums as anybody would have them who has the requests in a table.
_FLOOR = """
import sys, apsw
db = apsw.Connection(sys.argv[1], flags=apsw.SQLITE_OPEN_READONLY)
for row in db.execute(
    "SELECT day, count(*), sum(input), sum(output), sum(cost) FROM entry GROUP BY 1"
):
    print(*row)
"""


def rows(
    folder: Path, rounds: int, progress: Callable[[], None], requests: int = REQUESTS
) -> list[Row]:
    """Measure everything. Takes two minutes, and 0.9 GB of `folder`."""
    home = folder / "usage"
    _make(home, requests)
    progress()
    anyio.run(_index, home)
    progress()
    year = (LAST - timedelta(days=364)).isoformat()
    until = ("--until", LAST.isoformat())
    programs = {
        "floor": Program((PYTHON, "-P", "-c", _FLOOR, str(home / "state" / "holds.db"))),
        # As people see it, who have a line for each of 3,334 days.
        "day": _patina(home, "--since", "all", *until, "--chart"),
        "model": _patina(home, "--by", "model", "--since", "all", *until, "--chart"),
        "talk": _patina(home, "--by", "conversation", "--since", "all", *until, "--chart"),
        "pdf": _patina(home, "--since", year, *until, "--pdf", "-"),
        "csv": _patina(home, "--since", year, *until, "--csv", "-"),
    }
    runs = compare(programs, folder=folder, rounds=rounds, progress=progress)
    cpu, wall = _median(runs["floor"])
    number = f"{requests:,}"
    found: list[Row] = []
    for name, what in (("day", "day"), ("model", "model"), ("talk", "conversation")):
        used, took = _median(runs[name])
        name = f"`usage` by {what}, {number} requests"
        found.append(Row(f"{name}: CPU", used, "s", cpu, "GROUP BY in SQLite", limit=0.5))
        found.append(Row("… start to exit", took, "s", wall, "GROUP BY in SQLite", limit=0.5))
    heavy = f"{365 * PER_DAY:,}"
    for name, limit in (("pdf", 2.0), ("csv", None)):
        used, took = _median(runs[name])
        title = f"`usage --{name}`, a year of {heavy} requests"
        found.append(Row(f"{title}: CPU", used, "s", limit=limit))
        found.append(Row("… start to exit", took, "s", limit=limit))
    return found


def _median(runs: list[Run]) -> tuple[float, float]:
    cpu = statistics.median(run.cpu for run in runs)
    return cpu, statistics.median(run.wall for run in runs)


def _patina(home: Path, *arguments: str) -> Program:
    return Program((PYTHON, "-P", "-m", "patina", "usage", *arguments), {"PATINA_HOME": str(home)})


async def _index(home: Path) -> None:
    async with FileLedger(home / "data", home / "state") as ledger:
        await ledger.sums("day")


def _make(home: Path, requests: int) -> None:
    """Write the files of as many days as it takes, the last one `LAST`."""
    luck = random.Random(1)
    folder = home / "data" / "usage"
    folder.mkdir(parents=True)
    month, lines = "", list[bytes]()
    talk = ""
    for number in range(requests):
        ago = (requests - 1 - number) // PER_DAY
        day = (LAST - timedelta(days=ago)).isoformat()
        if day[:7] != month:
            _append(folder, month, lines)
            month, lines = day[:7], []
        talk = talk if number % _PER_CONVERSATION else new_id()
        entry = _request(day, talk, luck)
        lines.append(encode(settle_line(entry, 1, entry.at, _WRITER)))
    _append(folder, month, lines)


def _append(folder: Path, month: str, lines: list[bytes]) -> None:
    if lines:
        (folder / f"{month}.{_WRITER}.jsonl").write_bytes(b"".join(lines))


def _request(day: str, talk: str, luck: random.Random) -> Entry:
    provider, _, model = luck.choice(_MODELS).partition("/")
    usage = Usage(luck.randint(100, 20_000), luck.randint(10, 2_000), luck.randint(0, 100))
    cost = (Decimal(usage.input_tokens) * 3 + Decimal(usage.output_tokens) * 15) / 1_000_000
    return Entry(
        id=new_id(),
        at=f"{day}T{luck.randrange(24):02}:00:00.000Z",
        day=day,
        provider=provider,
        model=model,
        purpose=luck.choice(_PURPOSES),
        outcome="done",
        usage=usage,
        cost=Decimal(0) if provider == "ollama" else cost,
        estimated=luck.random() < 0.01,
        conversation=talk,
        source="genai-prices",
        price_date="2026-04-01",
        duration_ms=luck.randrange(9_999),
    )
