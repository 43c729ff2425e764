"""The store's suites at full size: `python bench/reliability.py kill9 power`; without names, all.

Each prints one line, and what went wrong if anything did; the exit code is 1 then. It is no
measurement of speed. `tests/store` has the suites; `./test` runs them small.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"
LISTED = 20


def kill9(options: argparse.Namespace) -> tuple[str, list[str]]:
    """T1: writers killed at random and inside writes, syncs and renames."""
    from tests.store.test_kill9 import WRONG

    with tempfile.TemporaryDirectory() as folder:
        report = child("tests.store.kill9", folder, options.kills, options.seed)
    found = report["found"]
    wrong = [f"{what}: {found[what]}" for what in WRONG if found.get(what)]
    return (
        f"{sum(report['kills'].values()):,} kills at {len(report['kills'])} points, "
        f"{found['acknowledged']:,} items and {found['blobs']:,} attachments acknowledged, "
        f"{found['lost']} lost, {found['duplicated']} twice, "
        f"slowest reopening, CPU: {1000 * report['slowest_start']:.0f} ms"
    ), wrong


def power(options: argparse.Namespace) -> tuple[str, list[str]]:
    """T2: every state that a power cut may leave of what was recorded."""
    from tests.store.power.cut import cut
    from tests.store.power.scenarios import SCENARIOS
    from tests.store.ram import ram_folder

    found: Counter[str] = Counter()
    for number in range(options.rounds):
        for scenario in SCENARIOS:
            with ram_folder() as folder:
                found += cut(scenario, folder, options.seed + number, 1 << 40)
    checked, gone_on = found.pop("states"), found.pop("gone on")
    found.pop("possible")
    return (
        f"{checked:,} states of {len(SCENARIOS)} scenarios, {gone_on:,} written on, "
        f"{found.total()} wrong"
    ), sorted(found)


def faults(options: argparse.Namespace) -> tuple[str, list[str]]:
    """T3: a disk that fails at every single call."""
    import anyio
    from tests.store.faults import points, work
    from tests.store.ram import ram_folder

    wrong: list[str] = []
    done = 0
    with ram_folder() as home:
        disk, _ = anyio.run(work, home / "sound", None)
        for point in points(disk.calls):
            folder = home / str(done)
            _, found = anyio.run(work, folder, point)
            wrong += [f"{point}: {each}" for each in found]
            shutil.rmtree(folder)
            done += 1
    return f"{done:,} failures at {disk.calls} calls, {len(wrong)} wrong", wrong


def processes(options: argparse.Namespace) -> tuple[str, list[str]]:
    """T5: four processes on shared conversations, with the index following."""
    from tests.store.test_processes import GOOD

    with tempfile.TemporaryDirectory() as folder:
        found = child("tests.store.processes", folder, options.seconds, options.seed)
    wrong = [f"{what}: {count}" for what, count in found.items() if count and what not in GOOD]
    return (
        f"{found['started']} processes for {options.seconds:g} s, "
        f"{found['acknowledged']:,} messages acknowledged, {found['lost']} lost, "
        f"{found['damaged']} bad lines, {found.get('locked', 0)} “database is locked”"
    ), wrong


def machine(options: argparse.Namespace) -> tuple[str, list[str]]:
    """T6: random days of two devices against a model in memory."""
    environ = {**os.environ, "PATINA_TEST_STEPS": str(options.steps)}
    command = [sys.executable, "-m", "pytest", "-q", "tests/store/test_machine.py"]
    result = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    wrong = [] if result.returncode == 0 else [result.stdout]
    return f"{options.steps:,} steps, {len(wrong)} contradictions", wrong


def money(options: argparse.Namespace) -> tuple[str, list[str]]:
    """T12: eight processes at one limit, some of them killed while they hold money."""
    from tests.store.money.test_processes import GOOD

    with tempfile.TemporaryDirectory() as folder:
        report = child("tests.store.money.processes", folder, options.spending, options.seed)
    found = report["found"]
    wrong = [f"{what}: {count}" for what, count in found.items() if count and what not in GOOD]
    return (
        f"{options.spending:,} runs of 8 processes, {found['killed']:,} killed, "
        f"{found['paid requests']:,} requests paid, {found['overspent']} overspent, "
        f"{found['unusable']} with money out of reach, reserve {1e3 * report['median']:.1f} ms "
        f"(99th percentile {1e3 * report['p99']:.0f} ms)"
    ), wrong


SUITES: dict[str, Callable[[argparse.Namespace], tuple[str, list[str]]]] = {
    suite.__name__: suite for suite in (kill9, power, faults, processes, machine, money)
}


def child(module: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever JSON it is
    """Run a suite in a process of its own and return what it printed."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout)


def main() -> int:
    """Run the suites that are named."""
    parser = argparse.ArgumentParser(prog="python bench/reliability.py", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5, help="of power: seeds")
    parser.add_argument("--seconds", type=float, default=20, help="of processes")
    parser.add_argument("--steps", type=int, default=20_000, help="of machine")
    parser.add_argument("--spending", type=int, default=1000, help="of money: runs")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    options = parser.parse_args()
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"there is no suite {sorted(unknown)[0]}")
    failed = False
    for name in options.suites or SUITES:
        since = time.monotonic()
        text, wrong = SUITES[name](options)
        seconds = time.monotonic() - since
        print(f"{name}: {text} ({seconds:.0f} s, seed {options.seed})", flush=True)
        for each in wrong[:LISTED]:
            print(f"  {each}")
        failed = failed or bool(wrong)
    return 1 if failed else 0


def start() -> None:
    """Become `python -m bench.reliability` of .venv."""
    if not PYTHON.exists():
        subprocess.run([ROOT / "run", "--version"], check=True, stdout=subprocess.DEVNULL)
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "bench.reliability", *sys.argv[1:]])


if __name__ == "__main__":
    if __package__:
        sys.exit(main())
    start()
