"""Many servers at once, and many lives of one: what is left, counted. `bench/mcp_many.py` is the
same with more of them, and measures.
"""

import gc
import os
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from typing import Final

import anyio
import psutil
import pytest
from tests.mcp.fakes.fleet import fake, groups_alive, http_server, started
from tests.mcp.house import House, until

from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.parts import text_of
from patina.model.settings import ServerSettings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="counts descriptors"),
]

LOCAL: Final = 10
REMOTE: Final = 3
TOOLS: Final = 20
LIVES: Final = 20
ALLOWED_MB: Final = 150.0


def servers(stack: ExitStack) -> dict[str, ServerSettings]:
    local = {f"local{number}": fake(TOOLS) for number in range(LOCAL)}
    urls = [stack.enter_context(http_server(tools=TOOLS)) for _ in range(REMOTE)]
    remote = {
        f"remote{number}": ServerSettings(transport="streamable-http", url=url, idle_timeout=0.0)
        for number, url in enumerate(urls)
    }
    return {**local, **remote}


def descriptors() -> int:
    gc.collect()
    return psutil.Process().num_fds()


def memory() -> float:
    return psutil.Process().memory_info().rss / 2**20


def lost(supervisor: Supervisor, server: str) -> bool:
    return not supervisor.connected(server)


async def warm(house: House, configured: dict[str, ServerSettings]) -> None:
    """Have everything loaded that a first connection of each kind loads."""
    async with house.supervisor(configured) as supervisor:
        for server in ("local0", "remote0"):
            await supervisor.connect(server)


def most_starting(house: House) -> int:
    """How many local servers started at the same time, at most."""
    starting: set[str] = set()
    most = 0
    for server, state, _, _ in house.events:
        if state == "starting" and server.startswith("local"):
            starting.add(server)
        else:
            starting.discard(server)
        most = max(most, len(starting))
    return most


async def use_all(supervisor: Supervisor) -> None:
    """Call a tool of every server, all at once."""
    tools = Toolset(supervisor)
    listed = await tools.list(None)
    assert len(listed) == (LOCAL + REMOTE) * (TOOLS + 2)
    echoes = [info for info in listed if info.tool == "echo"]
    assert {info.server for info in echoes} == set(supervisor.servers)
    said: dict[str, str] = {}

    async def call(number: int) -> None:
        outcome = await tools.call(echoes[number], {"text": f"of {echoes[number].server}"})
        said[echoes[number].server] = text_of(outcome.parts)

    async with anyio.create_task_group() as tasks:
        for number in range(len(echoes)):
            tasks.start_soon(call, number)
    assert said == {server: f"of {server}" for server in supervisor.servers}


# 50 servers connect, client memory <= +150 MB, no leaked descriptors or processes: here with 13.
async def test_many_servers_connect_serve_and_leave_nothing(house: House) -> None:
    with ExitStack() as stack:
        configured = servers(stack)
        await warm(house, configured)
        before, used = descriptors(), memory()
        async with house.supervisor(configured) as supervisor:
            supervisor.start_background()
            await until(lambda: all(map(supervisor.connected, configured)), 30)
            await use_all(supervisor)
            assert memory() - used < ALLOWED_MB
            assert most_starting(house) <= 3
            assert [status.tools for status in supervisor.status()] == [TOOLS + 2] * len(configured)
        assert not groups_alive(house, *configured)
        assert descriptors() <= before


# No leaked descriptors or processes after many restarts: here 20, and the bench does 200.
async def test_many_lives_leave_nothing(house: House) -> None:
    with ExitStack() as stack:
        configured = servers(stack)
        chosen = {name: configured[name] for name in ("local0", "local1", "remote0")}
        await warm(house, configured)
        before = descriptors()
        async with house.supervisor(chosen) as supervisor:
            tools = Toolset(supervisor)
            for life in range(LIVES):
                for info in await tools.list(None):
                    if info.tool == "echo":
                        outcome = await tools.call(info, {"text": str(life)})
                        assert text_of(outcome.parts) == str(life)
                if life == 0:
                    held = descriptors()
                assert descriptors() <= held
                async with anyio.create_task_group() as tasks:
                    for name in chosen:
                        tasks.start_soon(supervisor.stop, name)
                assert not groups_alive(house, *chosen)
        assert len(started(house, "local1")) == LIVES
        assert descriptors() <= before


# The same where nobody stopped them: a killed server is started again and leaves nothing.
async def test_killed_servers_leave_nothing(house: House) -> None:
    with ExitStack() as stack:
        configured = servers(stack)
        await warm(house, configured)
        before = descriptors()
        chosen = {name: configured[name] for name in ("local0", "local1")}
        async with house.supervisor(chosen) as supervisor:
            for _ in range(2):
                for name in chosen:
                    await supervisor.connect(name)
                    lives = len(started(house, name))
                    psutil.Process(house.pid(name)).kill()
                    await until(partial(lost, supervisor, name))
                    # At once, which wakes whatever pause is kept before it is started again.
                    await supervisor.connect(name)
                    assert len(started(house, name)) == lives + 1
        assert not groups_alive(house, *configured)
        assert descriptors() <= before


# Whoever waits for the SDK while another loads it gets all of it, not a half-made module.
def test_the_sdk_is_whole_for_all_who_wait_for_it() -> None:
    script = """
import sys
import anyio
from patina.mcp.transports.link import load_sdk

async def second():
    with anyio.fail_after(60):
        while "patina.mcp.sdk" not in sys.modules:
            await anyio.sleep(0)
    await load_sdk()
    sys.modules["patina.mcp.sdk"].FAILURES

async def main():
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load_sdk)
        tasks.start_soon(second)

anyio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
