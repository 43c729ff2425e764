"""Two weeks with tokens of five minutes and a restart each day: nobody is asked anything."""

import time
from pathlib import Path

import anyio
import pytest
from tests.mcp.auth.desk import SERVER, Browser, caller, house_at

pytestmark = pytest.mark.anyio
DAYS = 14
BETWEEN = 360.0  # a call every six minutes finds a token that has ended


async def test_two_weeks(tmp_path: Path) -> None:
    started = time.process_time()
    async with house_at(tmp_path) as house:
        settings = house.settings()
        await house.desk().sign_ins.sign_in(SERVER, settings, Browser())
        calls = 0
        for day in range(DAYS):
            # Two Patinas, started anew each day; the nights are without a call.
            one, other = house.desk(), house.desk()
            async with caller(one, settings) as first, caller(other, settings) as second:
                for at in range(int(8 * 3600 / BETWEEN)):
                    house.clock.advance(BETWEEN if at % 3 else 30.0)
                    if at % 50 == 7:
                        house.server.end_access()  # a server that was restarted
                    async with anyio.create_task_group() as group:
                        group.start_soon(first.call)
                        if at % 4 == 0:
                            group.start_soon(second.call)
                    calls += 1 + (at % 4 == 0)
            house.clock.advance(16 * 3600)
            assert house.server.counts["calls"] == calls, f"day {day}"
        counts = house.server.counts
        assert counts["prompts"] == 1  # that on the first day
        assert counts["reuses"] == 0
        assert counts["registrations"] == 1
        assert counts["refreshes"] > DAYS * 50
    print(dict(counts), f"{time.process_time() - started:.1f} s")
