"""Calls on real processes: together, cancelled, cut off; and nothing left when all is over."""

import os
import signal
from pathlib import Path

import anyio
import pytest
from tests.mcp.house import House, alive, found, tool_of, until

from patina.mcp.toolset import Toolset
from patina.mcp.transports import inprocess
from patina.model.faults import McpFault, PermissionFault
from patina.model.parts import Image, Text, text_of
from patina.model.settings import ServerSettings

DESCRIPTORS = Path("/proc/self/fd")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="the misbehaving servers are POSIX scripts"),
]


async def test_server_everything(house: House) -> None:
    async with house.supervisor({"everything": house.everything()}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "everything.echo")
        assert len(await tools.list(None)) >= 13
        assert echo.display_name == "everything"
        said = await tools.call(echo, {"message": "hällo \u2028 🙂"})
        assert said.parts == (Text("Echo: hällo \u2028 🙂"),)
        total = await tools.call(await tool_of(tools, "everything.get-sum"), {"a": 2, "b": 40})
        assert "42" in text_of(total.parts)
        picture = await tools.call(await tool_of(tools, "everything.get-tiny-image"), {})
        image = next(part for part in picture.parts if isinstance(part, Image))
        assert image.media_type == "image/png"
        assert house.blobs[0].startswith(b"\x89PNG")
        assert image.blob == f"{1:064x}"
        # A wrong argument, sent all the same, is the tool's own error.
        wrong = await tools.call(echo, {"message": 5})
        assert wrong.is_error
        links = await tools.call(await tool_of(tools, "everything.get-resource-links"), {})
        assert "resource link" in text_of(links.parts)
        log = house.log("everything")
    assert "started as process" in log
    assert "Starting default (STDIO) server" in log


async def test_cancelling_a_long_tool_leaves_the_connection_usable(house: House) -> None:
    async with house.supervisor({"everything": house.everything()}) as supervisor:
        tools = Toolset(supervisor)
        long = await tool_of(tools, "everything.trigger-long-running-operation")
        echo = found(tools, "everything.echo")
        started = anyio.current_time()
        with anyio.move_on_after(0.3) as scope:
            await tools.call(long, {"duration": 30, "steps": 3})
        assert scope.cancelled_caught
        said = await tools.call(echo, {"message": "still here"})
        assert said.parts == (Text("Echo: still here"),)
        assert anyio.current_time() - started < 5


async def test_cancelling_tells_the_server(house: House) -> None:
    async with house.supervisor({"s": house.odd("hang")}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tools.call, echo, {})
            await until((house.root / "called").exists, 60)
            tasks.cancel_scope.cancel()
        await until((house.root / "cancelled").exists)
        assert supervisor.connected("s")


async def test_a_server_that_does_not_listen_holds_up_nobody_for_long(house: House) -> None:
    async with house.supervisor({"s": house.odd("deaf")}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        started = anyio.current_time()
        with anyio.move_on_after(0.3) as scope:
            await tools.call(echo, {"text": "x" * 1_000_000})
        assert scope.cancelled_caught
        assert anyio.current_time() - started < 8
        pid = house.pid("s")
    assert not alive(pid)


async def test_calls_at_once_on_one_connection(house: House) -> None:
    async with house.supervisor({"s": house.odd("fine")}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        answers: dict[int, str] = {}

        async def call(number: int) -> None:
            outcome = await tools.call(echo, {"n": number})
            answers[number] = text_of(outcome.parts)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(call, number)
    assert all(f'"n": {number}}}' in answers[number] for number in range(200))


async def test_a_big_answer_arrives_whole(house: House) -> None:
    async with house.supervisor({"s": house.odd("big")}) as supervisor:
        tools = Toolset(supervisor)
        outcome = await tools.call(await tool_of(tools, "s.echo"), {})
    assert outcome.parts == (Text("x" * 5_000_000),)


async def test_json_rpc_error_is_a_fault_with_its_number(house: House) -> None:
    async with house.supervisor({"s": house.odd("error")}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        with pytest.raises(McpFault) as caught:
            await tools.call(echo, {})
        assert supervisor.connected("s")
    assert caught.value.failure.code == "-32050"
    assert "no \\x1b[31mtoday" in caught.value.failure.message


async def test_answer_against_the_protocol(house: House) -> None:
    async with house.supervisor({"s": house.odd("nonsense")}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        with pytest.raises(McpFault, match="not as the protocol demands"):
            await tools.call(echo, {})
        assert supervisor.connected("s")


async def test_death_in_mid_call_says_how_and_the_next_call_starts_it_again(house: House) -> None:
    async with house.supervisor({"s": house.odd("dies")}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        for _ in range(2):
            started = anyio.current_time()
            with pytest.raises(McpFault) as caught:
                await tools.call(echo, {})
            assert anyio.current_time() - started < 5
            message = caught.value.failure.message
            assert "stopped while echo ran" in message
            assert "exited with code 7" in message
            assert "the disk is on fire \\x1b[31m" in message
        assert house.states("s").count("connected") == 2
        assert "reconnecting" in house.states("s")


async def test_all_pending_calls_fail_when_the_server_is_killed(house: House) -> None:
    async with house.supervisor({"s": house.odd("hang")}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        pid = house.pid("s")
        failed: list[str] = []

        async def call() -> None:
            with pytest.raises(McpFault) as caught:
                await tools.call(echo, {})
            failed.append(caught.value.failure.message)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(call)
                await anyio.wait_all_tasks_blocked()
                os.kill(pid, signal.SIGKILL)
        assert len(failed) == 3
        assert all("was killed by SIGKILL" in message for message in failed)
        assert "reconnecting" in house.states("s")


async def test_stop_fails_what_is_pending_and_a_later_call_starts_again(house: House) -> None:
    async with house.supervisor({"s": house.odd("hang"), "t": house.odd("fine")}) as supervisor:
        tools = Toolset(supervisor)
        hang = await tool_of(tools, "s.echo")
        fine = found(tools, "t.echo")

        async def call() -> None:
            with pytest.raises(McpFault, match="was stopped while echo ran"):
                await tools.call(hang, {})

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await anyio.wait_all_tasks_blocked()
                await supervisor.stop("s")
        assert house.states("s")[-1] == "idle"
        await supervisor.stop("t")
        outcome = await tools.call(fine, {})
        assert "echo" in text_of(outcome.parts)


async def test_ignoring_sigterm_does_not_help(house: House) -> None:
    async with house.supervisor({"s": house.odd("stubborn")}) as supervisor:
        await supervisor.connect("s")
        pid = house.pid("s")
        started = anyio.current_time()
    assert anyio.current_time() - started < 8
    assert not alive(pid)


async def test_children_end_with_their_server(house: House) -> None:
    async with house.supervisor({"s": house.odd("children")}) as supervisor:
        await supervisor.connect("s")
        child = int((house.root / "child").read_text())
        assert alive(child)
        await supervisor.stop("s")
        assert not alive(child)
        assert not alive(house.pid("s"))


async def test_children_of_a_server_that_exits_by_itself(house: House) -> None:
    started = anyio.current_time()
    async with house.supervisor({"s": house.odd("leaves_children")}) as supervisor:
        with pytest.raises(McpFault, match="exited with code 0"):
            await supervisor.connect("s")
    # The child held the pipes open all the while.
    assert anyio.current_time() - started < 15
    assert not alive(int((house.root / "child").read_text()))


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_a_child_in_a_session_of_its_own_ends_with_its_server(house: House, how: str) -> None:
    started = anyio.current_time()
    async with house.supervisor({"s": house.odd("far_child")}) as supervisor:
        await supervisor.connect("s")
        child = int((house.root / "child").read_text())
        assert alive(child)
        if how == "crash":
            os.kill(house.pid("s"), signal.SIGKILL)
            await until(lambda: not alive(child))
        else:
            await supervisor.stop("s")
            assert not alive(child)
    assert anyio.current_time() - started < 10


async def test_cancelling_everything_leaves_nothing(house: House) -> None:
    servers = {"a": house.odd("fine"), "b": house.odd("silent"), "c": house.odd("hang")}
    with anyio.CancelScope() as everything:
        async with house.supervisor(servers) as supervisor:
            supervisor.start_background()
            await until(lambda: all(map(house.was_started, servers)), 60)
            everything.cancel()
            await anyio.sleep_forever()
    for server in servers:
        assert not alive(house.pid(server))


def open_descriptors() -> int:
    return len(list(DESCRIPTORS.iterdir()))


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="the system does not list descriptors")
async def test_many_restarts_leave_no_file_descriptors(house: House) -> None:
    async with house.supervisor({"s": house.odd("fine")}) as supervisor:
        await supervisor.connect("s")
        await supervisor.stop("s")
        before = open_descriptors()
        for _ in range(5):
            await supervisor.connect("s")
            await supervisor.stop("s")
        assert open_descriptors() <= before


async def test_simultaneous_connects_start_one_process(house: House) -> None:
    async with (
        house.supervisor({"s": house.odd("starts")}) as supervisor,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(10):
            tasks.start_soon(supervisor.connect, "s")
    assert house.starts() == 1


async def test_a_server_that_hangs_up_fails_what_is_pending(house: House) -> None:
    script = inprocess.Script(inprocess.example_tools())
    servers = {"s": ServerSettings(command="unused")}
    async with house.supervisor(servers, openers={"s": inprocess.opener(script)}) as supervisor:
        tools = Toolset(supervisor)
        hang = await tool_of(tools, "s.hang")

        async def call() -> None:
            with pytest.raises(McpFault, match="stopped while hang ran: it ended"):
                await tools.call(hang, {})

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await anyio.wait_all_tasks_blocked()
                script.end.set()
        assert "reconnecting" in house.states("s")
        with anyio.move_on_after(1):
            await tools.call(hang, {})
        await until(lambda: script.cancelled > 0)
        assert supervisor.connected("s")


async def test_untrusted_server_is_not_started_by_a_call(house: House) -> None:
    servers = {"s": house.odd("starts")}
    async with house.supervisor(servers) as supervisor:
        echo = await tool_of(Toolset(supervisor), "s.echo")
    async with house.supervisor(servers, allow_start=frozenset()) as supervisor:
        with pytest.raises(McpFault, match="not yet allowed to start"):
            await Toolset(supervisor).call(echo, {})
        with pytest.raises(PermissionFault):
            await supervisor.connect("s")
    assert house.starts() == 1
