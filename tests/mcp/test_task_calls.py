"""Tools that run as tasks, called as any other: over restarts of the server, and of Patina."""

import json
import sys
from typing import Any

import anyio
import pytest
from tests.mcp.house import House, tool_of, until
from tests.mcp.task_desk import ERAS, OLDER, SCRIPT, Listener

from patina.mcp.toolset import Toolset
from patina.model.faults import McpFault
from patina.model.parts import text_of
from patina.model.settings import ServerSettings

pytestmark = pytest.mark.anyio


def tasks_server(house: House, era: str) -> ServerSettings:
    return ServerSettings(command=sys.executable, args=(str(SCRIPT), era, str(house.root)))


def kept(house: House) -> dict[str, Any]:
    """The first task, as the server keeps it."""
    path = house.root / "tasks.json"
    found: dict[str, Any] = json.loads(path.read_text()).get("t-1", {}) if path.exists() else {}
    return found


@ERAS
async def test_a_call_becomes_a_task(house: House, era: str) -> None:
    listener = Listener()
    async with house.supervisor({"s": tasks_server(house, era)}) as supervisor:
        tools = Toolset(supervisor)
        works = await tool_of(tools, "s.works")
        # Of the newer era a server decides with each call.
        assert works.task == ("required" if era == OLDER else "forbidden")
        said = await tools.call(works, {"polls": 3}, listener)
        fails = await tool_of(tools, "s.fails")
        with pytest.raises(McpFault, match=r"Server s did not finish the task: .*out of paper"):
            await tools.call(fails, {})
    assert text_of(said.parts) == "done after 3 polls"
    assert [state.status for state in listener.states] == [*3 * ["working"], "completed"]


@ERAS
async def test_a_restart_of_patina(house: House, era: str) -> None:
    listener = Listener()
    listener.keeps = True
    async with house.supervisor({"s": tasks_server(house, era)}) as supervisor:
        tools = Toolset(supervisor)
        works = await tool_of(tools, "s.works")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tools.call, works, {"polls": 6}, listener)
            await until(lambda: kept(house).get("polled", 0) >= 2)
            tasks.cancel_scope.cancel()
    async with house.supervisor({"s": tasks_server(house, era)}) as supervisor:
        tools = Toolset(supervisor)
        works = await tool_of(tools, "s.works")
        said = await tools.resume(works, listener.states[-1].task_id, Listener())
        with pytest.raises(McpFault, match="knows nothing any more of the task"):
            await tools.resume(works, "t-9", Listener())
    assert text_of(said.parts) == "done after 6 polls"


@ERAS
async def test_a_restart_of_the_server(house: House, era: str) -> None:
    async with house.supervisor({"s": tasks_server(house, era)}) as supervisor:
        tools = Toolset(supervisor)
        said = await tools.call(await tool_of(tools, "s.dies"), {"polls": 3}, Listener())
    assert text_of(said.parts) == "done after 3 polls"
    assert kept(house)["died"]


@ERAS
async def test_cancelling(house: House, era: str) -> None:
    async with house.supervisor({"s": tasks_server(house, era)}) as supervisor:
        tools = Toolset(supervisor)
        waits = await tool_of(tools, "s.waits")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tools.call, waits, {}, Listener())
            await until(lambda: kept(house).get("polled", 0) >= 1)
            tasks.cancel_scope.cancel()
        await until(lambda: kept(house)["status"] == "cancelled")
        assert supervisor.connected("s")
