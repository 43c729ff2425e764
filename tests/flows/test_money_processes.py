"""T12 with whole engines: what many processes spend together never passes a limit.

`PATINA_TEST_ENGINES` raises the number of runs (3 by default), `PATINA_TEST_SEED` repeats one: a
failure prints the seed.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.store.ram import ram_folder

ROOT = Path(__file__).parents[2]
# Read here, because the fixture that cleans the environment of tests takes them away.
RUNS = int(os.environ.get("PATINA_TEST_ENGINES", "3"))
SEED = int(os.environ.get("PATINA_TEST_SEED", random.randrange(1 << 31)))
GOOD = {"killed", "paid requests", "refused"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_engines_in_many_processes_never_pass_their_limit() -> None:  # M-34
    with ram_folder() as folder:
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.flows.money_processes",
                str(folder),
                str(RUNS),
                str(SEED),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60 + 60 * RUNS,
        )
    assert run.returncode == 0, f"seed {SEED}: {run.stderr}"
    found = json.loads(run.stdout)
    print(found, "seed", SEED)
    assert found["killed"] >= RUNS
    assert found["refused"] > RUNS * 10
    assert found["paid requests"] > RUNS * 20
    wrong = {what: count for what, count in found.items() if count and what not in GOOD}
    assert not wrong, f"seed {SEED}: {wrong}"
