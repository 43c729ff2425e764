"""Renewals that are cancelled, killed, lost, or made by several processes at once."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from tests.mcp.auth.desk import SERVER, Browser, Desk, House, caller, house_at

from patina.mcp.auth.failing import SignInFault
from patina.model.faults import ConfigFault

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
CHILD = Path(__file__).with_name("renewing_child.py")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(tmp_path) as house:
        yield house


class Child:
    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process
        assert process.stdout is not None
        self.lines = BufferedByteReceiveStream(process.stdout)

    async def says(self) -> str:
        return (await self.lines.receive_until(b"\n", 1000)).decode().strip()

    async def go(self) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(b"\n")


@asynccontextmanager
async def child(house: House, seconds: float, *how: str) -> AsyncIterator[Child]:
    command = [sys.executable, str(CHILD), str(house.folder), house.server.mcp, str(seconds), *how]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with anyio.fail_after(60):
        async with await anyio.open_process(
            command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None
        ) as process:
            try:
                one = Child(process)
                assert await one.says() == "ready"
                yield one
            finally:
                if process.returncode is None:
                    process.kill()


async def test_two_processes_renew_once(house: House) -> None:
    await house.signed_in()
    house.clock.advance(3600)
    async with child(house, 3600) as one, child(house, 3600) as other:
        await one.go()
        await other.go()
        assert await one.says() == await other.says() == f"200 {SERVER}"
    assert house.server.counts["refreshes"] == 1
    assert house.server.counts["reuses"] == 0
    async with caller(house.desk(), house.settings()) as client:
        assert await client.call() == 200
    assert house.server.counts["refreshes"] == 1


async def test_two_windows_renew_once(house: House) -> None:
    settings = house.settings()
    desks = [await house.signed_in(), *(house.desk() for _ in range(4))]
    house.clock.advance(3600)
    statuses: list[int] = []

    async def one(at: int) -> None:
        async with caller(desks[at], settings) as client:
            statuses.append(await client.call())

    for _ in range(3):
        async with anyio.create_task_group() as group:
            for at in range(len(desks)):
                group.start_soon(one, at)
        house.clock.advance(3600)
    assert statuses == [200] * 15
    assert house.server.counts["refreshes"] == 3
    assert house.server.counts["reuses"] == 0


async def test_a_window_that_sees_a_refusal_takes_what_another_renewed(house: House) -> None:
    settings = house.settings()
    one, other = await house.signed_in(), house.desk()
    async with caller(one, settings) as first, caller(other, settings) as second:
        assert await first.call() == await second.call() == 200
        house.server.end_access()
        assert await first.call() == await second.call() == 200
    assert house.server.counts["refreshes"] == 1


async def test_who_is_cancelled_in_mid_renewal_loses_nothing(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in()
    house.clock.advance(3600)
    house.server.hold = anyio.Event()
    async with caller(desk, settings) as client, anyio.create_task_group() as group:
        with anyio.fail_after(5):
            group.start_soon(client.call)
            await house.server.held.wait()
            group.cancel_scope.cancel()
            house.server.hold.set()
            house.server.hold = None
    async with caller(house.desk(), settings) as client:
        assert await client.call() == 200
    assert house.server.counts["refreshes"] == 1
    assert house.server.counts["reuses"] == 0


@pytest.mark.parametrize("grace", [0.0, 60.0])
async def test_who_is_killed_between_answer_and_store(house: House, grace: float) -> None:
    """A lost rotation is the one end that no client can heal alone; a server with grace can."""
    settings = house.settings()
    house.server.grace = grace
    await house.signed_in()
    house.clock.advance(3600)
    async with child(house, 3600, "stuck") as one:
        await one.go()
        assert await one.says() == "answered"
        one.process.kill()
        await one.process.wait()
    desk = house.desk()
    async with caller(desk, settings) as client:
        if grace:
            assert await client.call() == 200
            assert house.server.counts["prompts"] == 1
            return
        assert await client.call() == 401
        assert client.authority.wanted  # a prompt is due
        reuses = house.server.counts["reuses"]
        for _ in range(3):
            await client.call()
        assert house.server.counts["reuses"] == reuses == 1
        assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"
        assert await client.call() == 200


async def test_an_answer_that_was_lost_is_asked_for_again(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in()
    house.server.grace, house.server.lose = 60.0, 1
    house.clock.advance(3600)
    async with caller(desk, settings) as client:
        with pytest.raises(SignInFault):
            await client.call()
        assert not client.authority.wanted
        assert await client.call() == 200
    assert house.server.counts["prompts"] == 1


async def test_servers_that_do_not_rotate_keep_their_refresh_token(house: House) -> None:
    settings = house.settings()
    house.server.rotates = False
    await house.signed_in()
    for _ in range(5):
        house.clock.advance(3600)
        async with caller(house.desk(), settings) as client:
            assert await client.call() == 200
    assert house.server.counts["refreshes"] == 5
    assert house.server.counts["prompts"] == 1


async def test_a_token_without_an_end_is_never_renewed(house: House) -> None:
    settings = house.settings()
    house.server.life = None
    desk = await house.signed_in()
    house.clock.advance(10 * 365 * 86400)
    async with caller(desk, settings) as client:
        assert await client.call() == 200
    assert house.server.counts["refreshes"] == 0


async def test_a_renewal_that_cannot_be_written_down_serves_on(house: House) -> None:
    settings = house.settings()
    await house.signed_in()
    house.clock.advance(3600)
    desk = Desk(house.folder, house.clock, Full)
    async with caller(desk, settings) as client:
        assert await client.call() == 200
        house.clock.advance(3600)
        assert await client.call() == 200
    assert house.server.counts["reuses"] == 0


class Full:
    """Grants on a disk that is full."""

    def __init__(self, desk: Desk) -> None:
        self.read = desk.grants.read
        self.servers = desk.grants.servers
        self.alone = desk.grants.alone

    def write(self, server: str, record: bytes | None, secrets: tuple[str, ...] = ()) -> None:
        raise ConfigFault("The disk is full.")
