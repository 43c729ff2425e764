"""Changes of the configuration while servers run, and of what servers list."""

import os
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.mcp.doors import Door
from tests.mcp.house import House, alive, tool_of, until

from patina.assembly.reload import ConfigurationFollower
from patina.assembly.rules import Rules
from patina.config.paths import Paths
from patina.mcp.keeper import Pace
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.events import ServerNotice
from patina.model.faults import ConfigFault, McpFault, UsageFault
from patina.model.settings import Configured, PermissionSettings, ServerSettings, Settings
from patina.permission.gate import PolicyGate

THEIRS = ("die", "away", "back", "break", "mend")
STEPS = (*THEIRS, "call", "stop", "restart", "change", "off", "settle")
pytestmark = pytest.mark.anyio
posix = pytest.mark.skipif(os.name == "nt", reason="the misbehaving servers are POSIX scripts")


def changed(base: ServerSettings, **fields: Any) -> ServerSettings:
    return msgspec.structs.replace(base, **fields)


#
@posix
async def test_disabling_and_deleting_stop_a_server(house: House) -> None:
    servers = {"s": house.odd("fine"), "t": house.odd("fine"), "u": house.odd("fine")}
    async with house.supervisor(servers) as supervisor:
        for server in servers:
            await supervisor.connect(server)
        pids = {server: house.pid(server) for server in servers}
        left = {"s": changed(servers["s"], enabled=False), "u": servers["u"]}
        await supervisor.reconfigure(left)
        assert not alive(pids["s"])
        assert not alive(pids["t"])
        assert alive(pids["u"])
        assert [(one.server, one.state) for one in supervisor.status()] == [
            ("s", "disabled"),
            ("u", "connected"),
        ]
        assert house.states("s")[-1] == house.states("t")[-1] == "disabled"
        with pytest.raises(UsageFault, match="s is disabled"):
            await supervisor.connect("s")
        with pytest.raises(UsageFault, match="no MCP server named t"):
            await supervisor.connect("t")
        assert [info.name for info in await Toolset(supervisor).list(None)] == ["u.echo"]
        await supervisor.reconfigure(servers)
        assert supervisor.status()[0].state == "idle"
        await supervisor.connect("s")


@posix
async def test_a_changed_start_is_a_new_start_and_nothing_else_is(house: House) -> None:
    base = house.odd("starts", connect="lazy")
    async with house.supervisor({"s": base}) as supervisor:
        tools = Toolset(supervisor)
        await tools.list(None)
        pid = house.pid("s")
        kept = changed(
            base, tool_timeout=5.0, allowed_tools=("ec*",), display_name="S", idle_timeout=60.0
        )
        await supervisor.reconfigure({"s": kept})
        assert house.pid("s") == pid
        assert supervisor.connected("s")
        (info,) = await tools.list(None)
        assert (info.timeout, info.display_name) == (5.0, "S")
        await tools.call(info, {})

        await supervisor.reconfigure({"s": changed(kept, env={"MORE": "1"})})
        assert not alive(pid)
        await until(lambda: supervisor.connected("s"), 60)
        assert house.starts() == 2

        await supervisor.reconfigure({"s": changed(kept, env={"MORE": "1"}, allowed_tools=())})
        assert await tools.list(None) == ()
        with pytest.raises(McpFault, match="not among the allowed_tools"):
            await tools.call(info, {})
        assert house.starts() == 2


@posix
async def test_a_changed_command_needs_consent_again(house: House) -> None:
    base = house.odd("starts")
    async with house.supervisor({"s": base}, allow_start=frozenset()) as supervisor:
        supervisor.trust.trust("s")
        supervisor.start_background()
        await until(lambda: supervisor.connected("s"), 60)
        await supervisor.reconfigure({"s": changed(base, args=(*base.args, "more"))})
        await until(lambda: house.states("s")[-1] == "error")
        assert supervisor.status()[0].text == "not yet allowed to start: patina mcp trust s"
        assert house.starts() == 1
        await supervisor.reconfigure({"s": base})
        await until(lambda: supervisor.connected("s"), 60)


async def test_new_servers_are_connected_once_the_background_is(house: House) -> None:
    doors = {name: Door() for name in ("auto", "lazy", "auto2")}
    servers = {
        "auto": ServerSettings(command="unused"),
        "lazy": ServerSettings(command="unused", connect="lazy"),
        "auto2": ServerSettings(command="unused", enabled=False),
    }
    openers = {name: door.opener for name, door in doors.items()}
    async with house.supervisor({}, openers=openers) as supervisor:
        await supervisor.reconfigure({"auto": servers["auto"]})
        await anyio.wait_all_tasks_blocked()
        assert doors["auto"].opened == 0
        supervisor.start_background()
        await until(lambda: supervisor.connected("auto"))
        await supervisor.reconfigure(servers)
        await supervisor.reconfigure(servers | {"auto2": ServerSettings(command="unused")})
        await until(lambda: supervisor.connected("auto2"))
        assert [door.opened for door in doors.values()] == [1, 0, 1]


async def test_a_changed_configuration_starts_a_failed_server_afresh(house: House) -> None:
    door = Door()
    base = ServerSettings(command="unused", restarts=0)
    async with house.supervisor({"s": base}, openers={"s": door.opener}) as supervisor:
        await supervisor.connect("s")
        door.die()
        await until(lambda: supervisor.status()[0].permanent)
        await supervisor.reconfigure({"s": base})
        with pytest.raises(McpFault, match="is not started again"):
            await supervisor.connect("s")
        await supervisor.reconfigure({"s": changed(base, display_name="New")})
        await until(lambda: supervisor.connected("s"))
        assert not supervisor.status()[0].permanent


async def test_who_wants_a_server_that_is_being_changed_waits_for_its_end(house: House) -> None:
    door = Door()
    base = ServerSettings(command="unused")
    async with house.supervisor({"s": base}, openers={"s": door.opener}) as supervisor:
        await supervisor.connect("s")
        door.closing = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(supervisor.reconfigure, {"s": changed(base, args=("new",))})
            await until(lambda: not supervisor.connected("s"))
            for _ in range(5):
                tasks.start_soon(supervisor.connect, "s")
            await anyio.wait_all_tasks_blocked()
            assert door.opened == 1
            door.closing.set()
        assert supervisor.connected("s")
        assert (door.opened, door.most_open) == (2, 1)


async def test_a_package_says_what_is_run(house: House) -> None:
    package = {"type": "npm", "identifier": "@example/nothing"}
    broken = {"type": "floppy", "identifier": "x"}
    servers = {"s": ServerSettings(package=package), "bad": ServerSettings(package=broken)}
    async with house.supervisor(servers) as supervisor:
        assert supervisor.servers["s"].args == ("-y", "@example/nothing")
        assert "@example/nothing" in supervisor.trust.describe("s").command
        with pytest.raises(McpFault, match="Server bad cannot be started"):
            await supervisor.connect("bad")


# A test of the model: whatever happens in whatever order, the server ends in a state that is so.
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.sampled_from(STEPS),
        max_size=14,
    )
)
def test_any_course_of_things_ends_well(tmp_path_factory: Any, steps: list[str]) -> None:
    async def main() -> None:
        house, door = House(tmp_path_factory.mktemp("course")), Door()
        pace = Pace(restart=(0.001, 0.002), network_most=0.004)
        base = ServerSettings(command="unused", connect="lazy")
        async with house.supervisor(
            {"s": base}, openers={"s": door.opener}, pace=pace, connect_wait=5.0
        ) as supervisor:
            now = base
            for number, step in enumerate(steps):
                now = await take(supervisor, door, step, now, number)
                (status,) = supervisor.status()
                assert (status.state == "disabled") == (not now.enabled)
                assert door.open_now <= 1
            # In the end it can be had, unless it failed for good.
            door.away = door.broken = False
            await supervisor.reconfigure({"s": changed(now, enabled=True, args=("last",))})
            with anyio.fail_after(5):
                await supervisor.connect("s")
            assert supervisor.status()[0].state == "connected"
            assert not supervisor.status()[0].permanent
            await supervisor.use("s", lambda its: its.call("echo", {"text": "x"}))
            assert door.most_open == 1
            assert house.events[-1][1] == "connected"
        assert door.open_now == 0

    anyio.run(main)


async def take(
    supervisor: Supervisor, door: Door, step: str, now: ServerSettings, number: int
) -> ServerSettings:
    """Do one thing to the server, and return how it is configured then."""
    if step in ("die", "away") and door.link is not None:
        door.die(away=step == "away")
    if step in ("away", "back"):
        door.away = step == "away"
    if step in ("break", "mend"):
        door.broken = step == "break"
    if step in ("change", "off"):
        now = changed(now, args=(str(number),), enabled=step == "change")
        await supervisor.reconfigure({"s": now})
    if step == "settle":
        await anyio.wait_all_tasks_blocked()
    with anyio.fail_after(5):
        if step == "stop":
            await supervisor.stop("s")
        try:
            if step == "call":
                await supervisor.connect("s")
                await supervisor.use("s", lambda its: its.call("echo", {"text": "x"}))
            if step == "restart":
                await supervisor.restart("s")
        except (McpFault, UsageFault):
            pass
    return now


class File:
    """A configuration file whose content decides what is loaded."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root, root / "data", root / "state", root / "cache")
        self.servers: dict[str, ServerSettings] = {}
        self.wrong = False
        self.loads = 0

    def write(self, **servers: ServerSettings) -> None:
        self.servers = servers
        self.touch()

    def touch(self) -> None:
        self.paths.config_toml.write_text("#" * (self.loads + 1) + repr(self.servers))

    def load(self) -> Configured:
        self.loads += 1
        if self.wrong:
            raise ConfigFault("config.toml line 3 is wrong.", hint="Correct it.")
        return Configured(Settings(mcp_servers=self.servers))


def rules(file: "File") -> Rules:
    return Rules(file.paths, PolicyGate(PermissionSettings()))


async def test_the_file_is_followed(house: House) -> None:
    doors = {"a": Door(), "b": Door()}
    file, notices = File(house.root), list[ServerNotice]()
    one = ServerSettings(command="unused")
    file.write(a=one)
    openers = {name: door.opener for name, door in doors.items()}
    async with house.supervisor({"a": one}, openers=openers) as supervisor:
        supervisor.start_background()
        await until(lambda: supervisor.connected("a"))
        follower = ConfigurationFollower(
            file.paths, file.load, supervisor, notices.append, rules(file), every=0.02
        )
        async with follower:
            with anyio.move_on_after(0.2):
                await anyio.sleep_forever()
            assert file.loads == 0  # nothing changed: nothing is read
            file.write(a=one, b=one)
            await until(lambda: supervisor.connected("b"))

            file.wrong = True
            file.touch()
            await until(lambda: bool(notices))
            with anyio.move_on_after(0.2):
                await anyio.sleep_forever()
            assert [notice.level for notice in notices] == ["warning"]
            assert notices[0].text == (
                "config.toml line 3 is wrong. What was configured before stays in use. Correct it."
            )
            assert supervisor.active_count() == 2

            file.wrong = False
            file.write(b=one)
            await until(lambda: not supervisor.connected("a"))
            assert list(supervisor.servers) == ["b"]
            assert doors["b"].opened == 1


async def test_a_fault_beside_the_follower_is_not_wrapped(house: House) -> None:
    file = File(house.root)
    async with house.supervisor({}) as supervisor:
        with pytest.raises(UsageFault, match="mine"):
            async with ConfigurationFollower(file.paths, file.load, supervisor, print, rules(file)):
                raise UsageFault("mine")


# The stateless era tells of changes only over a stream that is asked for.
async def test_list_changed_in_the_stateless_era(house: House) -> None:
    from tests.mcp.listed import Listed

    served = Listed()
    servers = {"s": ServerSettings(command="unused")}
    async with house.supervisor(servers, openers={"s": served.opener}) as supervisor:
        tools = Toolset(supervisor)
        await tool_of(tools, "s.one")
        assert supervisor.status()[0].protocol == "2026-07-28"
        await until(lambda: served.streams == 1)
        served.tools = ("one", "two")
        await served.tell()
        await until(lambda: house.events[-1] == ("s", "connected", "", 2))
        # What changed while no stream was there is asked for when there is one again.
        served.drop()
        served.tools = ("one", "two", "three")
        await until(lambda: house.events[-1] == ("s", "connected", "", 3), 20)
        assert served.streams == 2
        assert [info.tool for info in await tools.list(None)] == ["one", "three", "two"]
