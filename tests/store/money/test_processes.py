"""T12: what many processes spend together never passes a limit, and what is there can be spent.

`PATINA_TEST_MONEY` raises the number of runs (20 by default), `PATINA_TEST_SEED` repeats one: a
failure prints the seed.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.store.ram import ram_folder

ROOT = Path(__file__).parents[3]
# Read here, because the fixture that cleans the environment of tests takes them away.
RUNS = int(os.environ.get("PATINA_TEST_MONEY", "20"))
SEED = int(os.environ.get("PATINA_TEST_SEED", random.randrange(1 << 31)))
GOOD = {"killed", "paid requests"}
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")


def spent_by(*arguments: int) -> dict[str, Any]:
    with ram_folder() as folder:
        command = [sys.executable, "-m", "tests.store.money.processes", str(folder)]
        command += map(str, (arguments[0], SEED, *arguments[1:]))
        run = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=60 + 30 * arguments[0]
        )
    assert run.returncode == 0, f"seed {SEED}: {run.stderr}"
    report: dict[str, Any] = json.loads(run.stdout)
    print(report, "seed", SEED)
    return report


@posix
def test_eight_processes_never_pass_their_limit(tmp_path: Path) -> None:
    """M-34."""
    report = spent_by(RUNS)
    found = report["found"]
    assert found["killed"] >= RUNS
    assert found["paid requests"] > RUNS * 100
    wrong = {what: count for what, count in found.items() if count and what not in GOOD}
    assert not wrong, f"seed {SEED}: {wrong}"


@posix
def test_fifty_processes_never_pass_their_limit() -> None:
    found = spent_by(1, 50, 30, 5)["found"]
    # So many may hold money at the end that the last of it is out of reach.
    wrong = {what: count for what, count in found.items() if count and what not in GOOD}
    assert not wrong.keys() - {"unusable"}, f"seed {SEED}: {wrong}"
