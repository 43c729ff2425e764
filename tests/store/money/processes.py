"""Eight processes spend from one limit, some are killed while they hold money.

`python -m tests.store.money.processes FOLDER RUNS SEED [PROCESSES CALLS KILLED]` prints what it
found as JSON. What a provider was asked for is written down apart from the ledger, by a line that
follows the hold: that is the truth the limit is compared with. Processes are forked, which is
cheaper than starting so many interpreters.
"""

import json
import os
import random
import shutil
import signal
import statistics
import sys
import time
import traceback
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio
import anyio._backends._asyncio  # loaded before forking, so that no child has to
import anyio.to_thread  # likewise
from tests.store.kill9 import Deadly
from tests.store.money.making import Now, ended, limit

import patina.store.money.book  # likewise  # noqa: F401
from patina.model.money import Entry
from patina.ports.ledger import OverLimit
from patina.store.files import FileSystem
from patina.store.money.ledger import FileLedger

PROCESSES: Final = 8
CALLS: Final = 150
KILLED: Final = 3
# Of all calls, about a third fit.
WORST: Final = (1, 50)
LIMIT: Final = Decimal("0.001") * PROCESSES * CALLS * 6
POINTS: Final = (
    "before write",
    "after half a write",
    "after write",
    "before sync",
    "after sync",
    "holding",
    "settled",
)
PATIENCE: Final = 120


async def spend(home: Path, number: int, luck: random.Random, calls: int, doomed: bool) -> None:
    """Make the calls of one process, or die of them."""
    point = luck.choice(POINTS) if doomed else ""
    last = luck.randrange(calls // 4)
    files: FileSystem = Deadly(point, last) if doomed else FileSystem()
    now = Now(datetime.now(tz=UTC).isoformat())
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    paid = os.open(home / f"paid.{number}", flags)
    took: list[float] = []
    async with FileLedger(home / "data", home / "state", files=files, lock_wait=60) as ledger:
        passed = 0
        for _ in range(calls):
            worst = luck.randint(*WORST)
            hold = now.hold(f"0.{worst:03}", day="2026-11-21", conversation=f"c{number}")
            since = time.perf_counter()
            try:
                await ledger.reserve(hold, [limit("day", str(LIMIT)), limit("month", "1000")])
            except OverLimit:
                continue
            finally:
                took.append(time.perf_counter() - since)
            passed += 1
            cost = luck.randint(0, worst)
            os.write(paid, f"{hold.id} {cost}\n".encode())
            if doomed and point == "holding" and passed > last:
                os.kill(os.getpid(), signal.SIGKILL)
            await ledger.settle(ended(hold, f"0.{cost:03}"))
            if doomed and point == "settled" and passed > last:
                os.kill(os.getpid(), signal.SIGKILL)
    with open(home / f"took.{number}", "w") as report:  # noqa: ASYNC230, PTH123 - nobody waits
        json.dump(took, report)


def fork(home: Path, number: int, seed: int, calls: int, doomed: bool) -> int:
    """Start a process and return its id."""
    child = os.fork()
    if not child:
        _live(home, number, seed, calls, doomed)
    return child


def _live(home: Path, number: int, seed: int, calls: int, doomed: bool) -> NoReturn:
    try:
        anyio.run(spend, home, number, random.Random(seed), calls, doomed)
    except BaseException:  # noqa: BLE001 - a forked child must not run on into its parent's code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def finish(children: list[int], found: Counter[str]) -> None:
    """Wait for all, and kill what hangs."""
    left = set(children)

    def end(*_: object) -> None:
        found["stuck"] += len(left)
        for child in left:
            os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.alarm(PATIENCE)
    while left:
        child, status = os.waitpid(-1, 0)
        left.discard(child)
        found["killed"] += os.WIFSIGNALED(status)
        found["failed"] += os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
    signal.alarm(0)


def paid_in(home: Path) -> dict[str, Decimal]:
    """What was paid for each request."""
    lines = [path.read_text().splitlines() for path in home.glob("paid.*")]
    pairs = [line.split() for each in lines for line in each]
    return {request: Decimal(cost) / 1000 for request, cost in pairs}


async def look(home: Path, found: Counter[str]) -> None:
    """Compare the ledger with what was paid, as it is now and once nobody can be waiting."""
    paid = paid_in(home)
    found["paid requests"] += len(paid)
    day = limit("day", str(LIMIT))
    entries: list[Entry] = []
    later = Now(datetime.now(tz=UTC).isoformat())
    async with FileLedger(home / "data", home / "state") as ledger:
        (standing,) = await ledger.standing([day], "2026-11-21")
    later.on(hours=1)
    async with FileLedger(home / "data", home / "other", now=later) as ledger:
        (after,) = await ledger.standing([day], "2026-11-21")
        await ledger.entries(entries.extend)
    booked = {entry.id: entry.cost for entry in entries}
    total = sum(paid.values(), Decimal(0))
    dearest = Decimal(WORST[1]) / 1000
    found["overspent"] += total > LIMIT
    found["held too much"] += standing.spent + standing.held > LIMIT
    found["booked too much"] += after.spent > LIMIT
    found["still held"] += after.held != 0
    found["differs after a rebuild"] += after.spent != standing.spent + standing.held
    found["booked less than paid"] += after.spent < total
    found["unusable"] += after.spent < LIMIT - (PROCESSES + 1) * dearest
    found["without a line"] += len(paid.keys() - booked.keys())
    found["twice"] += len(entries) - len(booked)
    found["below its cost"] += sum((booked.get(each) or 0) < cost for each, cost in paid.items())


def run(home: Path, runs: int, seed: int, processes: int, calls: int, killed: int) -> Any:
    """Return what was found in so many runs."""
    luck = random.Random(seed)
    found: Counter[str] = Counter()
    took: list[float] = []
    for number in range(runs):
        folder = home / str(number)
        folder.mkdir()
        doomed = set(luck.sample(range(processes), killed))
        seeds = [luck.getrandbits(32) for _ in range(processes)]
        children = [
            fork(folder, each, seeds[each], calls, each in doomed) for each in range(processes)
        ]
        finish(children, found)
        anyio.run(look, folder, found)
        for path in folder.glob("took.*"):
            took += json.loads(path.read_text())
        shutil.rmtree(folder)
    cuts = statistics.quantiles(took, n=100)
    return {"found": found, "median": cuts[49], "p99": cuts[98], "reserved": len(took)}


if __name__ == "__main__":
    place, *numbers = sys.argv[1:]
    count, start, *more = map(int, numbers)
    processes, calls, killed = more or (PROCESSES, CALLS, KILLED)
    print(json.dumps(run(Path(place), count, start, processes, calls, killed)))
