"""The life of servers: lost and found again, asked whether they live, sent to rest."""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
import pytest
from tests.mcp.doors import Door
from tests.mcp.house import ODD, House, alive, found, tool_of, until

from patina.mcp.keeper import Pace
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.mcp.transports import inprocess
from patina.mcp.transports.link import Link, Opener, load_sdk
from patina.model.faults import McpFault
from patina.model.settings import ServerSettings

pytestmark = pytest.mark.anyio
posix = pytest.mark.skipif(os.name == "nt", reason="the misbehaving servers are POSIX scripts")

QUICK = Pace(restart=(0.02, 0.04, 0.08), network_most=0.1)
LOST = ("s", "warning", "GitHub MCP disconnected. Reconnecting...")
FOUND = ("s", "success", "GitHub MCP connected.")
GIVEN_UP = ("s", "error", "GitHub MCP failed to restart. Check settings.")
LOCAL = ServerSettings(command="unused", display_name="GitHub")
REMOTE = ServerSettings(
    transport="streamable-http", url="http://127.0.0.1:1/mcp", display_name="GitHub"
)


def supervised(
    house: House, door: Door, settings: ServerSettings = LOCAL, **more: Any
) -> Supervisor:
    more = {"pace": QUICK, "connect_wait": 5.0} | more
    return house.supervisor({"s": settings}, openers={"s": door.opener}, **more)


def state(house: House) -> str:
    return (house.states("s") or [""])[-1]


# A-35 A-41 A-42 A-43
@posix
async def test_four_crashes_are_one_too_many(house: House) -> None:
    settings = house.odd("fine", display_name="GitHub")
    async with house.supervisor({"s": settings}, pace=QUICK) as supervisor:
        await supervisor.connect("s")
        for number in range(4):
            pid = house.pid("s")
            os.kill(pid, signal.SIGKILL)
            if number < 3:
                await until(
                    lambda pid=pid: house.pid("s") != pid and supervisor.connected("s"),  # type: ignore[misc]
                    60,
                )
        await until(lambda: state(house) == "error", 60)
        status = supervisor.status()[0]
        assert not status.is_active
        assert supervisor.active_count() == 0
        assert status.restart_count == 3
        assert status.permanent
        assert "was killed by SIGKILL" in status.text
        assert house.notices == [FOUND, *[LOST, FOUND] * 3, GIVEN_UP]
        with pytest.raises(McpFault, match="is not started again") as caught:
            await supervisor.connect("s")
        assert "patina mcp edit s" in caught.value.failure.hint
        # By hand it starts afresh.
        await supervisor.restart("s")
        status = supervisor.status()[0]
        assert (status.is_active, status.restart_count, status.permanent) == (True, 0, False)


#
async def test_the_states_of_an_outage(house: House) -> None:
    door = Door()
    async with supervised(house, door, pace=Pace(restart=(0.05,))) as supervisor:
        assert supervisor.status()[0].state == "idle"
        await supervisor.connect("s")
        status = supervisor.status()[0]
        assert status.started_at.endswith("+00:00")
        assert status.last_used == ""
        door.die()
        await until(lambda: state(house) == "reconnecting")
        await until(lambda: state(house) == "connected")
        await supervisor.stop("s")
    texts = [(state, text) for _, state, text, _ in house.events]
    assert texts == [
        ("starting", "Starting…"),
        ("connected", ""),
        ("reconnecting", "Server s stopped: it ended. Next try in 0.05 s."),
        ("reconnecting", "Server s stopped: it ended. Trying now."),
        ("connected", ""),
        ("idle", ""),
    ]


async def test_a_server_that_fails_to_come_back_is_given_up(house: House) -> None:
    door = Door()
    async with supervised(house, door) as supervisor:
        await supervisor.connect("s")
        door.broken = True
        door.die()
        await until(lambda: state(house) == "error")
        assert door.opened == 4
        assert supervisor.status()[0].permanent
        assert "it is broken" in supervisor.status()[0].text
        assert house.notices == [FOUND, LOST, GIVEN_UP]


@posix
async def test_a_program_that_is_gone_after_a_long_life_is_given_up(house: House) -> None:
    program = house.root / "program"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ODD}" fine "{house.root}"\n')
    program.chmod(0o755)
    pace = Pace(restart=(0.02, 0.04, 0.08), steady=0.0)
    settings = ServerSettings(command=str(program), display_name="GitHub")
    async with house.supervisor({"s": settings}, pace=pace) as supervisor:
        await supervisor.connect("s")
        program.unlink()
        os.kill(house.pid("s"), signal.SIGKILL)
        await until(lambda: state(house) == "error")
        status = supervisor.status()[0]
        assert (status.restart_count, status.permanent) == (3, True)
        assert str(program) in status.text
        assert house.notices == [FOUND, LOST, GIVEN_UP]


@pytest.mark.parametrize("restarts", [0, 1])
async def test_how_often_is_configured(house: House, restarts: int) -> None:
    door = Door()
    settings = ServerSettings(command="unused", display_name="GitHub", restarts=restarts)
    async with supervised(house, door, settings) as supervisor:
        await supervisor.connect("s")
        door.broken = True
        door.die()
        await until(lambda: state(house) == "error")
        assert door.opened == 1 + restarts
        assert house.notices == [FOUND, *[LOST] * restarts, GIVEN_UP]


async def test_a_server_that_was_well_for_long_has_all_its_tries_again(house: House) -> None:
    door = Door()
    async with supervised(house, door, pace=Pace(restart=(0.01,), steady=0.0)) as supervisor:
        await supervisor.connect("s")
        for number in range(6):
            door.die()
            await until(lambda n=number: door.opened == n + 2)  # type: ignore[misc]
            await until(lambda: state(house) == "connected" and supervisor.connected("s"))
        assert not supervisor.status()[0].permanent


async def test_a_network_that_is_away_is_waited_for(house: House) -> None:
    door = Door()
    async with supervised(house, door, REMOTE) as supervisor:
        await supervisor.connect("s")
        door.away = True
        door.die(away=True)
        await until(lambda: door.opened > 8)
        assert state(house) == "reconnecting"
        assert "Connection refused" in supervisor.status()[0].text
        assert not supervisor.status()[0].permanent
        door.away = False
        await until(lambda: state(house) == "connected")
        assert supervisor.status()[0].restart_count == 0
        assert house.notices == [FOUND, LOST, FOUND]
    assert house.events[0][:3] == ("s", "starting", "Starting…")


async def test_a_remote_server_that_is_away_at_first_is_tried_again(house: House) -> None:
    door = Door()
    door.away = True
    async with supervised(house, door, REMOTE) as supervisor:
        supervisor.start_background()
        await until(lambda: door.opened > 3)
        assert state(house) == "error"
        assert "Connection refused" in supervisor.status()[0].text
        assert not house.notices
        door.away = False
        await until(lambda: state(house) == "connected")
        assert house.notices == [FOUND]
        assert "reconnecting" not in house.states("s")


async def test_a_local_server_that_does_not_start_is_not_tried_again(house: House) -> None:
    door = Door()
    door.broken = True
    async with supervised(house, door) as supervisor:
        supervisor.start_background()
        await until(lambda: state(house) == "error")
        door.broken = False
        await supervisor.connect("s")  # but whoever wants it may try
        assert door.opened == 2


async def test_whoever_needs_it_ends_the_pause_and_shares_the_try(house: House) -> None:
    door = Door()
    async with supervised(house, door, pace=Pace(restart=(3600.0,))) as supervisor:
        await supervisor.connect("s")
        door.die()
        await until(lambda: state(house) == "reconnecting")
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(supervisor.connect, "s")
        assert door.opened == 2
        door.broken = True
        door.die()
        await until(lambda: state(house) == "reconnecting")
        with anyio.fail_after(5), pytest.raises(McpFault, match="it is broken"):
            await supervisor.connect("s")
        assert door.opened == 3


async def test_a_call_that_was_cut_is_not_made_again(house: House) -> None:
    door, calls = Door(), 0

    async def slow(_: dict[str, Any]) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        await anyio.sleep_forever()
        return {}

    door.script.tools = (inprocess.Tool("slow", slow),)
    async with supervised(house, door) as supervisor:
        tools = Toolset(supervisor)
        tool = await tool_of(tools, "s.slow")

        async def call() -> None:
            with pytest.raises(McpFault, match="stopped while slow ran"):
                await tools.call(tool, {})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await until(lambda: calls == 1)
            door.die()
        await until(lambda: state(house) == "connected" and supervisor.connected("s"))
        assert calls == 1


class Forgetful:
    """A door whose first `times` links know the session no more when a tool is called."""

    def __init__(self, times: int) -> None:
        self.door = Door()
        self.times = times

    @property
    def opener(self) -> Opener:
        @asynccontextmanager
        async def open_link() -> AsyncGenerator[Link]:
            await load_sdk()
            from mcp.shared.message import SessionMessage

            async with self.door.opener() as inner, anyio.create_task_group() as tasks:
                link = Link("an in-process server")
                departures, arrivals = link.other_end()

                async def up() -> None:
                    async for message in departures:
                        body = message.message
                        if (
                            self.times
                            and isinstance(body, types.JSONRPCRequest)
                            and body.method == "tools/call"
                        ):
                            self.times -= 1
                            link.forgotten = True
                            error = types.ErrorData(
                                code=-32000, message="gone", data={"unsent": True, "status": 404}
                            )
                            lost = types.JSONRPCError(jsonrpc="2.0", id=body.id, error=error)
                            await arrivals.send(SessionMessage(lost))
                            link.end()
                            return
                        await inner.outgoing.send(message)

                async def down() -> None:
                    async for message in inner.incoming:
                        await link.deliver(message)  # type: ignore[arg-type]

                tasks.start_soon(up)
                tasks.start_soon(down)
                try:
                    yield link
                finally:
                    tasks.cancel_scope.cancel()
                    link.close()

        return open_link


async def test_a_forgotten_session_is_made_anew_without_a_word(house: House) -> None:
    forgetful = Forgetful(1)
    servers = {"s": REMOTE}
    async with house.supervisor(
        servers, openers={"s": forgetful.opener}, pace=Pace()
    ) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        with anyio.fail_after(5):
            outcome = await tools.call(echo, {"text": "still me"})
        assert "still me" in str(outcome.parts)
        assert forgetful.door.opened == 2
        assert house.notices == [FOUND]


async def test_the_call_that_met_a_forgotten_session_is_repeated_once_only(house: House) -> None:
    forgetful = Forgetful(100)
    servers = {"s": REMOTE}
    pace = Pace(restart=(0.01,))
    async with house.supervisor(servers, openers={"s": forgetful.opener}, pace=pace) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        with anyio.fail_after(5), pytest.raises(McpFault, match="did not run echo"):
            await tools.call(echo, {"text": "x"})
        assert forgetful.times == 98


#
@posix
async def test_a_server_that_does_not_answer_a_ping_is_started_again(house: House) -> None:
    pace = Pace(restart=(0.02,), ping_every=0.3, ping_wait=0.3)
    async with house.supervisor({"s": house.odd("deaf")}, pace=pace) as supervisor:
        await supervisor.connect("s")
        pid = house.pid("s")
        await until(lambda: house.pid("s") != pid and supervisor.connected("s"), 60)
        assert not alive(pid)
        assert ("s", "warning", "s MCP disconnected. Reconnecting...") in house.notices
        texts = [text for _, _, text, _ in house.events]
        assert any("did not answer a ping within 0.3 s" in text for text in texts)


#
@posix
async def test_health(house: House) -> None:
    servers = {"s": house.odd("fine"), "dead": house.odd("deaf")}
    pace = Pace(restart=(3600.0,), ping_wait=0.5)
    async with house.supervisor(servers, pace=pace) as supervisor:
        assert not await supervisor.health("s")
        for server in servers:
            await supervisor.connect(server)
        assert await supervisor.health("s")
        assert not await supervisor.health("dead")
        await until(lambda: house.states("dead")[-1] == "reconnecting")
        assert not await supervisor.health("nobody")


@posix
async def test_a_server_at_work_is_not_asked(house: House) -> None:
    pace = Pace(ping_every=0.05, ping_wait=0.05)
    async with house.supervisor({"s": house.odd("hang")}, pace=pace) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        with anyio.move_on_after(0.8) as scope:
            await tools.call(echo, {})
        assert scope.cancelled_caught
        assert await supervisor.health("s")
        assert house.states("s") == ["starting", "connected"]


# A-36 A-45 A-16
@posix
async def test_an_idle_server_rests_and_wakes_on_a_call(house: House) -> None:
    settings = house.odd("starts", idle_timeout=0.4)
    async with house.supervisor({"s": settings}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        pid = house.pid("s")
        await until(lambda: state(house) == "idle", 30)
        assert not alive(pid)
        assert supervisor.status()[0].state == "idle"
        assert supervisor.status()[0].last_used == ""
        await tools.call(echo, {})
        assert house.starts() == 2
        assert supervisor.status()[0].last_used
        assert [level for _, level, _ in house.notices] == ["success"]  # not again for a wake


async def test_a_call_keeps_a_server_awake(house: House) -> None:
    door = Door()
    settings = ServerSettings(command="unused", idle_timeout=0.2)
    async with supervised(house, door, settings) as supervisor:
        tools = Toolset(supervisor)
        hang = await tool_of(tools, "s.hang")
        with anyio.move_on_after(0.7):
            await tools.call(hang, {})
        assert state(house) == "connected"
        await until(lambda: state(house) == "idle")


#
async def test_cleanup_of_idle_servers(house: House) -> None:
    doors = {"a": Door(), "b": Door()}
    servers = {
        "a": ServerSettings(command="unused", idle_timeout=0.0),
        "b": ServerSettings(command="unused", idle_timeout=3600.0),
    }
    openers = {name: door.opener for name, door in doors.items()}
    async with house.supervisor(servers, openers=openers) as supervisor:
        for name in servers:
            await supervisor.connect(name)
        assert await supervisor.cleanup_idle() == ()
        settings = ServerSettings(command="unused", idle_timeout=1e-9)
        await supervisor.reconfigure(servers | {"b": settings})
        await until(lambda: house.states("b")[-1] == "idle")
        assert supervisor.connected("a")
        assert supervisor.active_count() == 1


#
async def test_few_start_at_once_and_remote_ones_are_not_held_up(house: House) -> None:
    gate = anyio.Event()
    starting = 0
    most = 0

    def gated() -> Opener:
        door = Door()

        @asynccontextmanager
        async def open_link() -> AsyncGenerator[Link]:
            nonlocal starting, most
            starting += 1
            most = max(most, starting)
            try:
                await gate.wait()
            finally:
                starting -= 1
            async with door.opener() as link:
                yield link

        return open_link

    servers = {f"s{number}": LOCAL for number in range(7)}
    openers: dict[str, Opener] = {name: gated() for name in servers}
    servers["remote"] = REMOTE
    openers["remote"] = Door().opener
    async with house.supervisor(servers, openers=openers) as supervisor:
        supervisor.start_background()
        await until(lambda: supervisor.connected("remote"))
        assert (starting, supervisor.active_count()) == (3, 1)
        gate.set()
        await until(lambda: supervisor.active_count() == 8)
        assert most == 3


# C-12 A-37
@posix
async def test_leaving_ends_everything_at_the_same_time(house: House) -> None:
    servers = {f"s{number}": house.odd("stubborn") for number in range(4)}
    servers |= {"dead": house.odd("fine"), "never": house.odd("silent")}
    async with house.supervisor(servers, pace=Pace(restart=(3600.0,))) as supervisor:
        supervisor.start_background()
        await until(lambda: supervisor.active_count() == 5, 60)
        os.kill(house.pid("dead"), signal.SIGKILL)
        await until(lambda: house.states("dead")[-1] == "reconnecting", 60)
        pids = [house.pid(server) for server in servers]
        started = anyio.current_time()
    assert anyio.current_time() - started < 10
    assert not any(map(alive, pids))


async def test_stopping_ends_the_tries(house: House) -> None:
    door = Door()
    async with supervised(house, door, pace=Pace(restart=(3600.0,))) as supervisor:
        await supervisor.connect("s")
        door.die()
        await until(lambda: state(house) == "reconnecting")
        waiting = anyio.Event()

        async def connect() -> None:
            waiting.set()
            with pytest.raises(McpFault):
                await supervisor.connect("s")

        door.gate = anyio.Event()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connect)
                await waiting.wait()
                await until(lambda: door.opened == 2)
                await supervisor.stop("s")
        assert state(house) == "idle"
        assert door.open_now == 0
        door.gate = None
        await supervisor.connect("s")
        assert door.most_open == 1


async def test_a_way_that_never_opens_is_bounded(house: House) -> None:
    door = Door()
    door.gate = anyio.Event()
    async with supervised(house, door, connect_wait=0.1) as supervisor:
        with anyio.fail_after(8), pytest.raises(McpFault, match=r"no link to it within 0\.1 s"):
            await supervisor.connect("s")


async def test_groups_of_errors_are_told_by_their_cause(house: House) -> None:
    @asynccontextmanager
    async def open_link() -> AsyncGenerator[Link]:
        link = Link("never")
        link.close()
        if link.ended.is_set():
            raise ExceptionGroup("outer", [ExceptionGroup("inner", [OSError("the wire is cut")])])
        yield link

    async with house.supervisor({"s": LOCAL}, openers={"s": open_link}) as supervisor:
        with pytest.raises(McpFault, match=r"^Server s did not start: the wire is cut\.$"):
            await supervisor.connect("s")


async def test_calls_name_what_is_gone(house: House) -> None:
    door = Door()
    async with supervised(house, door) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        await supervisor.reconfigure({})
        with pytest.raises(McpFault, match="no MCP server named s"):
            await tools.call(echo, {"text": "x"})
        await supervisor.reconfigure({"s": LOCAL})
        assert found(tools, "s.echo") is echo
        await tools.call(echo, {"text": "x"})
