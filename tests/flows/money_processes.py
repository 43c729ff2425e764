"""Eight processes, each a whole engine with several turns at once, spend from one daily limit.

`python -m tests.flows.money_processes FOLDER RUNS SEED` prints what it found as JSON. Endpoints
report what they used, nothing, or what cannot be; some processes are killed while answers come, and
the state folder is removed in the middle.
What each request really costs is written down apart from the ledger, by the endpoint, before it
answers: that is the truth.
"""

import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio
import anyio._backends._asyncio  # loaded before forking, so that no child has to
import anyio.to_thread  # likewise
from tests.flows.harness import priced, world
from tests.store.money.processes import finish

import patina.store.money.book  # likewise  # noqa: F401
from patina.engine.clock import ManualClock
from patina.engine.estimate import text_tokens
from patina.model import events
from patina.model.chat import ChatRequest, Finished, TextDelta
from patina.model.ids import new_id
from patina.model.money import Limit
from patina.model.settings import BillingSettings
from patina.model.usage import Usage
from patina.providers.scripted import ScriptedDriver, Step
from patina.store.money.ledger import FileLedger

PROCESSES: Final = 8
KILLED: Final = 2
TURNS: Final = 3  # at a time
ROUNDS: Final = 8
MOST: Final = 1_000  # tokens of an answer
LIMIT: Final = Decimal("0.30")  # about a third of all
DAY: Final = "2026-01-01"
PRICES: Final = {"fake/one": priced("2", "10")}
INPUT: Final = 40
WORD: Final = "word "
FALSE: Final = (None, Usage(-1, 5), Usage(0, 0), Usage(10, 2, cache_read_tokens=99))


def cost(sent: int, received: int) -> Decimal:
    return Decimal(2 * sent + 10 * received) / 1_000_000


def endpoint(
    paid: int, luck: random.Random, die: Callable[[], bool]
) -> Callable[[ChatRequest], list[Step]]:
    """An endpoint that charges what it says, or what our estimate makes of it where it says no
    such thing.
    """

    def answer(request: ChatRequest) -> list[Step]:
        words = luck.randint(1, request.max_tokens * 3 // 4)
        text = WORD * words
        tokens = int(text_tokens(text))
        false = luck.random() < 0.3
        # What an endpoint that does not count has read, it charges as what it was sent.
        sent = 0 if false else luck.randint(1, INPUT)
        os.write(paid, f"{cost(sent, tokens)}\n".encode())
        if die():
            os.kill(os.getpid(), signal.SIGKILL)
        usage = luck.choice(FALSE) if false else Usage(sent, tokens)
        return [TextDelta(text), Finished("stop", usage=usage)]

    return answer


async def spend(home: Path, number: int, luck: random.Random, doomed: bool) -> None:
    paid = os.open(home / f"paid.{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    last = luck.randrange(ROUNDS) if doomed else -1
    asked = 0

    def die() -> bool:
        nonlocal asked
        asked += 1
        return doomed and asked > last

    script = endpoint(paid, luck, die)
    driver = ScriptedDriver([script] * TURNS * ROUNDS)
    clock = ManualClock()
    billing = BillingSettings(daily_limit=str(LIMIT))
    refused = 0
    async with (
        FileLedger(home / "data", home / "state", now=clock.now, lock_wait=60) as ledger,
        world(driver=driver, ledger=ledger, prices=PRICES, billing=billing, clock=clock) as w,
    ):
        for round_ in range(ROUNDS):
            if number == 0 and round_ == ROUNDS // 2:
                # All that stands there can be made anew, also while others use it.
                shutil.rmtree(home / "state", ignore_errors=True)
            left = {new_id() for _ in range(TURNS)}
            for conversation in left:
                w.send("Hi", conversation, max_tokens=luck.randint(MOST // 2, MOST))
            with anyio.fail_after(60):
                while left:
                    ended = await w.until(events.TurnEnded)
                    left.discard(ended.conversation)
                    refused += ended.error is not None and ended.error.kind == "limit"
                    assert ended.error is None or ended.error.kind == "limit", ended.error
    (home / f"refused.{number}").write_text(str(refused))


def fork(home: Path, number: int, seed: int, doomed: bool) -> int:
    child = os.fork()
    if not child:
        _live(home, number, seed, doomed)
    return child


def _live(home: Path, number: int, seed: int, doomed: bool) -> NoReturn:
    try:
        anyio.run(spend, home, number, random.Random(seed), doomed)
    except BaseException:  # noqa: BLE001 - a forked child must not run on into its parent's code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


async def look(home: Path, paid: list[Decimal], found: Counter[str]) -> None:
    limit = Limit(kind="day", amount=LIMIT)
    clock = ManualClock()
    # The state folder is not there any more: all is told by the lines.
    async with FileLedger(home / "data", home / "other", now=clock.now) as ledger:
        (standing,) = await ledger.standing([limit], DAY)
    found["overspent"] += sum(paid) > LIMIT
    found["held too much"] += standing.spent + standing.held > LIMIT
    found["booked less than paid"] += standing.spent + standing.held < sum(paid)
    # The dearest request that was refused needed no more than this.
    worst = cost(1_000, MOST)
    found["unusable"] += standing.spent + standing.held < LIMIT - worst * (PROCESSES * TURNS + 1)
    found["open holds of the living"] += standing.held > worst * KILLED * TURNS


def run(home: Path, runs: int, seed: int) -> Any:
    luck = random.Random(seed)
    found: Counter[str] = Counter()
    for number in range(runs):
        folder = home / str(number)
        folder.mkdir()
        doomed = set(luck.sample(range(PROCESSES), KILLED))
        seeds = [luck.getrandbits(32) for _ in range(PROCESSES)]
        children = [fork(folder, each, seeds[each], each in doomed) for each in range(PROCESSES)]
        finish(children, found)
        paid = [Decimal(x) for path in folder.glob("paid.*") for x in path.read_text().split()]
        found["paid requests"] += len(paid)
        found["refused"] += sum(int(path.read_text()) for path in folder.glob("refused.*"))
        anyio.run(look, folder, paid, found)
    return found


if __name__ == "__main__":
    place, count, start = sys.argv[1:]
    print(json.dumps(run(Path(place), int(count), int(start))))
