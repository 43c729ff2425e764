"""Requests that no limit is about are written without the index, and lose nothing by it."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from tests.store.money.making import Now, ended, limit

from patina.store.money.ledger import FileLedger

D = Decimal


@pytest.mark.anyio
async def test_what_no_limit_is_about_counts_for_the_limits_that_come(tmp_path: Path) -> None:
    now = Now()
    async with FileLedger(tmp_path / "data", tmp_path / "state", now=now) as ledger:
        holds = [now.hold() for _ in range(300)]  # more than are left for the index to read
        for hold in holds:
            assert await ledger.reserve(hold, ()) == ()
        for hold in holds[:200]:
            await ledger.settle(ended(hold, "0.04"))
        await ledger.settle(ended(holds[0], "0.05"))  # a correction counts
        (standing,) = await ledger.standing([limit("day", "50")], now.day)
        assert (standing.spent, standing.held) == (D("8.01"), D("10.00"))
        (standing,) = await ledger.reserve(now.hold(), [limit("day", "50")])
        assert standing.held == D("10.10")
    async with FileLedger(tmp_path / "data", tmp_path / "state", now=now) as after:
        await after.settle(ended(holds[200], "0.04"))  # by a process that did not write the hold
        now.on(hours=1)
        (standing,) = await after.standing([limit("day", "50")], now.day)
        # What nobody ended is booked as it was held: 99 of the first ones and the last.
        assert (standing.spent, standing.held) == (D("8.05") + 100 * D("0.10"), D(0))


@pytest.mark.anyio
async def test_it_makes_no_index(tmp_path: Path) -> None:
    now = Now()
    async with FileLedger(tmp_path / "data", tmp_path / "state", now=now) as ledger:
        hold = now.hold()
        await ledger.reserve(hold, ())
        await ledger.settle(ended(hold))
    assert not list((tmp_path / "state").glob("holds.db*"))
    (file,) = (tmp_path / "data/usage").glob("*.jsonl")
    assert file.read_bytes().count(b"\n") == 2


def test_it_loads_no_database() -> None:
    modules = "patina.store.money.pen, patina.store.money.ledger"
    code = f"import sys, {modules}; print('apsw' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"
