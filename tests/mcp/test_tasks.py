"""Calls that servers carry out as tasks, in both eras: one script of real processes, and npm's."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.mcp.house import until
from tests.mcp.servers import task_http
from tests.mcp.servers.http_sdk import running
from tests.mcp.task_desk import (
    ERAS,
    NEWER,
    OLDER,
    Desk,
    Listener,
    desk,
    over_stdio,
    speaking,
    text_of,
)
from tests.stand_ins import everything, node_script

from mcp import MCPError
from patina.mcp.task_session import TaskSession
from patina.mcp.tasks import Parted, run_task
from patina.mcp.transports.http import open_http
from patina.mcp.transports.link import Notes
from patina.mcp.transports.remote import Remote
from patina.model.faults import McpFault
from patina.model.questions import TaskState

pytestmark = pytest.mark.anyio


@ERAS
async def test_a_task_of_twenty_polls(era: str, tmp_path: Path) -> None:
    listener = Listener()
    async with desk(era, tmp_path) as server:
        began = anyio.current_time()
        said = await server.call("works", listener, polls=20)
        assert said == "done after 20 polls"
        # It wishes to be polled each millisecond, and is not.
        assert anyio.current_time() - began > 3.5
        assert server.session.followed == {}
    assert listener.states[0] == TaskState(task_id="t-1", status="working", text="polled 0")
    assert listener.states[-1] == TaskState(task_id="t-1", status="completed", text="polled 20")
    assert listener.statuses() == ["working", "completed"]
    assert [state.text for state in listener.states[1:]] == [f"polled {n + 1}" for n in range(20)]


@ERAS
async def test_nobody_need_listen(era: str, tmp_path: Path) -> None:
    async with desk(era, tmp_path) as server:
        assert await server.call("works") == "done after 1 polls"
        assert await server.call("plain") == "at once"


async def test_the_server_is_asked_to_keep_the_task_for_a_day(tmp_path: Path) -> None:
    async with desk(OLDER, tmp_path) as server:
        await server.call("works")
        assert server.kept()["asked"] == 24 * 60 * 60 * 1000


async def test_progress_goes_on_after_the_call_was_answered(tmp_path: Path) -> None:
    listener = Listener()
    async with desk(OLDER, tmp_path) as server:
        await server.call("works", listener, polls=3)
        await until(lambda: 2 in listener.steps)
    assert listener.steps[:2] == [1, 2]


@ERAS
async def test_a_question_in_the_middle(era: str, tmp_path: Path) -> None:
    listener = Listener()
    listener.may_answer = anyio.Event()
    async with desk(era, tmp_path) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_after_polls, server, listener, 4)
            said = await server.call("asks", listener)
        assert said == "accept red"
    assert listener.asked == ["Which one?"]  # once, however often it was polled meanwhile
    assert listener.statuses() == ["working", "input_required", "working", "completed"]


async def answer_after_polls(server: Desk, listener: Listener, polls: int) -> None:
    await until(lambda: bool(listener.asked) and server.polled() >= polls, 30)
    listener.may_answer.set()


async def test_a_server_that_forgets_what_it_has_given(tmp_path: Path) -> None:
    listener = Listener()
    async with desk(OLDER, tmp_path) as server:
        assert await server.call("purges", listener) == "accept red"
    assert listener.statuses() == ["working", "input_required", "working", "completed"]


async def test_a_question_is_withdrawn_when_the_server_needs_no_answer(tmp_path: Path) -> None:
    listener = Listener()
    listener.may_answer = anyio.Event()
    async with desk(NEWER, tmp_path) as server:
        assert await server.call("withdraws", listener) == "done after 4 polls"
    assert (len(listener.asked), listener.withdrawn) == (1, 1)


async def test_what_cannot_be_answered_ends_the_task(tmp_path: Path) -> None:
    async with desk(NEWER, tmp_path) as server:
        with pytest.raises(McpFault, match=r"Server s asked, for a task, .*: nobody is there"):
            await server.call("asks")
        assert server.kept()["status"] == "cancelled"


@ERAS
async def test_a_failure(era: str, tmp_path: Path) -> None:
    listener = Listener()
    async with desk(era, tmp_path) as server:
        with pytest.raises(McpFault) as caught:
            await server.call("fails", listener)
        assert await server.call("errs") == "error: done after 1 polls"
    failure = caught.value.failure
    assert failure.message == (
        "Server s did not finish the task: polled 1: out of paper (error -32050)."
    )
    assert failure.code == "-32050"
    assert listener.statuses() == ["working", "failed"]


@ERAS
async def test_the_server_cancels(era: str, tmp_path: Path) -> None:
    listener = Listener()
    async with desk(era, tmp_path) as server:
        with pytest.raises(McpFault, match=r"Server s cancelled the task: polled 1\."):
            await server.call("stops", listener)
    assert listener.statuses() == ["working", "cancelled"]


@ERAS
async def test_the_server_forgets(era: str, tmp_path: Path) -> None:
    async with desk(era, tmp_path) as server:
        with pytest.raises(McpFault) as caught:
            await server.call("forgets", polls=2)
        with pytest.raises(McpFault, match="knows nothing any more"):
            await server.resume("t-77", Listener())
    failure = caught.value.failure
    assert "knows nothing any more of the task that the call became" in failure.message
    assert "\\x1b[31mTask has expired" in failure.message
    assert "Its result is lost." in failure.hint


@ERAS
async def test_a_poll_that_fails_is_made_again(era: str, tmp_path: Path) -> None:
    async with desk(era, tmp_path) as server:
        assert await server.call("busy") == "done after 1 polls"
        assert server.kept()["refused"] == 2


async def test_an_error_with_the_number_of_a_lost_link_is_an_error(tmp_path: Path) -> None:
    async with desk(NEWER, tmp_path) as server:
        with pytest.raises(MCPError, match="quota exceeded"):
            await server.call("minus")
        assert server.kept()["status"] == "cancelled"


@ERAS
async def test_cancelling_the_call_cancels_the_task(era: str, tmp_path: Path) -> None:
    listener = Listener()
    async with desk(era, tmp_path) as server:
        await cancel_after_polls(server, "waits", listener)
        await until(lambda: server.kept()["status"] == "cancelled")
        assert await server.call("works") == "done after 1 polls"
    assert listener.statuses() == ["working", "cancelled"]


async def cancel_after_polls(server: Desk, tool: str, listener: Listener) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.call, tool, listener)
        await until(lambda: server.polled() >= 2)
        tasks.cancel_scope.cancel()


@ERAS
async def test_a_restart_finds_the_task_again(era: str, tmp_path: Path) -> None:
    listener = Listener()
    listener.keeps = True
    async with desk(era, tmp_path) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: server.call("works", listener, polls=6))
            await until(lambda: server.polled() >= 2)
            tasks.cancel_scope.cancel()
        assert server.kept()["status"] == "working"
    assert listener.statuses() == ["working"]
    later = Listener()
    async with desk(era, tmp_path) as server:
        assert await server.resume(listener.states[-1].task_id, later) == "done after 6 polls"
    assert later.statuses() == ["working", "completed"]


@ERAS
async def test_a_restart_finds_the_question_again(era: str, tmp_path: Path) -> None:
    listener = Listener()
    listener.may_answer = anyio.Event()
    listener.keeps = True
    async with desk(era, tmp_path) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(server.call, "asks", listener)
        await until(lambda: bool(listener.asked))
        tasks.cancel_scope.cancel()
    later = Listener("green")
    async with desk(era, tmp_path) as server:
        assert await server.resume("t-1", later) == "accept green"
    assert later.asked == ["Which one?"]


@ERAS
async def test_a_task_that_has_ended_meanwhile(era: str, tmp_path: Path) -> None:
    async with desk(era, tmp_path) as server:
        await server.call("works")
    listener = Listener()
    async with desk(era, tmp_path) as server:
        assert await server.resume("t-1", listener) == "done after 2 polls"
    assert listener.statuses() == ["completed"]


@ERAS
async def test_a_dead_server_ends_the_wait(era: str, tmp_path: Path) -> None:
    listener = Listener()
    async with desk(era, tmp_path) as server:
        with pytest.raises(Parted, match="Server s was lost while it worked on a task") as caught:
            await server.call("dies", listener, polls=2)
    assert caught.value.task_id == "t-1"
    assert listener.statuses() == ["working"]  # the task may live on: it is not said to be over


async def test_a_server_that_has_news_is_polled_at_once(tmp_path: Path) -> None:
    async with desk(OLDER, tmp_path) as server:
        began = anyio.current_time()
        # It wishes to be polled once in eleven days, and is at least each half minute.
        assert await server.call("tells", every=10**9) == "done after 1 polls"
        assert anyio.current_time() - began < 10


@ERAS
async def test_a_wish_that_is_no_time_is_none(era: str, tmp_path: Path) -> None:
    async with desk(era, tmp_path) as server:
        assert await server.call("works", every=-5) == "done after 1 polls"
        with pytest.raises(ValueError, match=r"poll_?[iI]nterval"):
            await server.call("works", every="soon")


@asynccontextmanager
async def everything_over(transport: str, folder: Path) -> AsyncGenerator[TaskSession]:
    if transport == "stdio":
        argv = ("node", node_script("@modelcontextprotocol/server-everything"), "stdio")
        async with speaking(over_stdio(argv, folder), OLDER) as session:
            yield session
        return
    with everything("streamable-http") as url:
        remote = Remote(url, {}, Notes("s", folder / "server.log"), wait=10.0)
        async with speaking(open_http(remote), OLDER) as session:
            yield session


@pytest.mark.parametrize("transport", ["stdio", "streamable-http"])
async def test_server_everything(transport: str, tmp_path: Path) -> None:
    tool, plain, ambiguous = "simulate-research-query", Listener(), Listener()
    said: dict[str, str] = {}

    async def research(topic: str, listener: Listener, **more: Any) -> None:
        arguments = {"topic": topic, **more}
        said[topic] = text_of(await run_task(session, tool, arguments, listener, server="s"))

    async with everything_over(transport, tmp_path) as session:
        assert session.takes_tasks
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(research, "patina", plain)
            tasks.start_soon(lambda: research("python", ambiguous, ambiguous=True))
    assert "Research Report: patina" in said["patina"]
    assert "Synthesizing findings..." in [state.text for state in plain.states]
    assert plain.statuses() == ["working", "completed"]
    assert "User accepted without selection" in said["python"]
    assert len(ambiguous.asked) == 1
    assert ambiguous.statuses() == ["working", "input_required", "working", "completed"]


async def test_a_server_of_the_sdk_over_http(tmp_path: Path) -> None:
    listener = Listener()
    with running(task_http.app()) as origin:
        remote = Remote(f"{origin}/mcp", {}, Notes("s", tmp_path / "server.log"), wait=10.0)
        async with speaking(open_http(remote), NEWER) as session:
            server = Desk(session, tmp_path)
            assert await server.call("greet", listener) == "Hello, red!"
            assert await server.call("echo", listener, text="at once") == "at once"
    assert listener.asked == ["What is your name?"]
    assert listener.statuses() == ["working", "input_required", "completed"]
    # Each request about a task names it in a header, for those on the way (SEP-2663).
    assert set(task_http.names) == {"greeting"}
