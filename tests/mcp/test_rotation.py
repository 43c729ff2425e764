"""Secrets that are replaced while Patina runs (M-24)."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from tests.mcp.house import House, tool_of, until
from tests.mcp.servers.http_raw import OldServer, Request, Wire, serving, text_result

from patina.assembly.reload import ConfigurationFollower
from patina.assembly.rules import Rules
from patina.config.paths import Paths
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.faults import ConfigFault, McpFault
from patina.model.parts import text_of
from patina.model.settings import Configured, PermissionSettings, ServerSettings, Settings
from patina.permission.gate import PolicyGate
from patina.secrets.environment import Resolver

pytestmark = pytest.mark.anyio
LEAKY = Path(__file__).parent.parent / "canary" / "leaky_server.py"


def local(**env: str) -> ServerSettings:
    return ServerSettings(command=sys.executable, args=(str(LEAKY), "quiet"), env=env)


def paths_of(house: House) -> Paths:
    return Paths(house.root, house.root / "data", house.root / "state", house.root / "cache")


def replace(house: House, **secrets: str) -> None:
    """Replace secrets as another process does: the file is another one then."""
    house.keys.secrets |= {name.replace("__", "/"): value for name, value in secrets.items()}
    file = paths_of(house).secrets_file
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(repr(secrets) + (file.read_text() if file.exists() else ""))
    new.replace(file)


@asynccontextmanager
async def following(
    house: House, servers: dict[str, ServerSettings], **more: object
) -> AsyncIterator[Supervisor]:
    paths = paths_of(house)
    async with house.supervisor(servers, **more) as supervisor:
        keys = Resolver(house.environ, house.keys, house.seen.append)
        follower = ConfigurationFollower(
            paths,
            lambda: Configured(Settings(mcp_servers=servers)),
            supervisor,
            print,
            Rules(paths, PolicyGate(PermissionSettings())),
            keys=keys,
            every=0.05,
        )
        async with follower:
            yield supervisor


async def said(tools: Toolset, name: str) -> str:
    outcome = await tools.call(await tool_of(tools, name), {})
    return text_of(outcome.parts)


async def pause(seconds: float = 0.3) -> None:
    """Let the follower look several times."""
    with anyio.move_on_after(seconds):
        await anyio.Event().wait()


# M-24
async def test_a_server_is_restarted_with_its_new_secret_and_others_go_on(house: House) -> None:
    replace(house, a__TOKEN="first-value-0001", b__TOKEN="other-value-0001")
    servers = {"a": local(LEAK="secret:a/TOKEN"), "b": local(LEAK="secret:b/TOKEN"), "c": local()}
    async with following(house, servers) as supervisor:
        tools = Toolset(supervisor)
        for name in servers:
            await supervisor.connect(name)
        pids = {name: house.pid(name) for name in servers}
        assert "first-value-0001" in await said(tools, "a.spill")
        await pause()
        replace(house, a__TOKEN="second-value-0002")
        await until(lambda: house.pid("a") != pids["a"] and supervisor.connected("a"))
        assert "second-value-0002" in await said(tools, "a.spill")
        await pause()
        assert {name: house.pid(name) for name in ("b", "c")} == {"b": pids["b"], "c": pids["c"]}


async def test_a_change_of_other_secrets_restarts_nothing(house: House) -> None:
    replace(house, a__TOKEN="first-value-0001")
    async with following(house, {"a": local(LEAK="secret:a/TOKEN")}) as supervisor:
        await supervisor.connect("a")
        pid = house.pid("a")
        await pause()
        replace(house, openai="a-key-of-something-else")
        await pause()
        assert house.pid("a") == pid


# M-24 A-11
async def test_a_server_that_missed_its_secret_is_tried_again(house: House) -> None:
    async with following(house, {"a": local(LEAK="secret:a/TOKEN")}) as supervisor:
        with pytest.raises(McpFault, match="there is no secret a/TOKEN"):
            await supervisor.connect("a")
        await pause()
        replace(house, a__TOKEN="a-value-at-last")
        await until(lambda: supervisor.connected("a"))


# M-24 A-07
async def test_a_key_file_that_is_replaced_is_read_again(house: House) -> None:
    file = house.root / "a.key"
    file.write_text("first-value-0001")
    async with following(house, {"a": local(LEAK=f"keyfile:{file}")}) as supervisor:
        await supervisor.connect("a")
        pid = house.pid("a")
        await pause()
        file.write_text("second-value-0002\n")
        await until(lambda: house.pid("a") != pid and supervisor.connected("a"))
        assert "second-value-0002" in await said(Toolset(supervisor), "a.spill")


class Looking:
    """Counts how often sign-ins were read again."""

    def __init__(self) -> None:
        self.looks = 0

    async def look_again(self) -> None:
        self.looks += 1
        await anyio.lowlevel.checkpoint()
        raise ConfigFault("The secrets cannot be read.")


async def test_sign_ins_of_other_processes_are_read_again(house: House) -> None:
    looking = Looking()
    async with following(house, {}, sign_ins=looking):
        await pause()
        assert looking.looks == 0
        replace(house, anything="changed-0123456789")
        await until(lambda: looking.looks == 1)
        replace(house, anything="changed-again-0123456789")
        await until(lambda: looking.looks == 2)  # what went wrong once is no end


# M-24
async def test_a_request_with_an_old_key_is_sent_again_with_the_new_one(house: House) -> None:
    valid = "old-key-of-a-server"

    class Guarded(OldServer):
        async def __call__(self, request: Request, wire: Wire) -> None:
            if request.headers.get("authorization") != f"Bearer {valid}":
                await wire.status("401 Unauthorized", b"no")
                return
            await super().__call__(request, wire)

        async def echo(self, request: Request, wire: Wire) -> None:
            await self.reply(request, wire, text_result(json.dumps(request.headers)))

    house.keys.secrets["web/TOKEN"] = valid
    async with serving(Guarded()) as raw:
        headers = {"Authorization": "Bearer secret:web/TOKEN"}
        web = ServerSettings(transport="streamable-http", url=raw.url, headers=headers)
        async with house.supervisor({"web": web}) as supervisor:
            tools = Toolset(supervisor)
            assert valid in await said(tools, "web.do")
            valid = house.keys.secrets["web/TOKEN"] = "new-key-of-a-server"
            calls = len(raw.asked("tools/call"))
            assert valid in await said(tools, "web.do")
            assert len(raw.asked("tools/call")) == calls + 2  # refused once, and then taken
            assert len(raw.asked("initialize")) == 1
            # One that stays wrong is refused once and not asked again for ever.
            valid = "nobody-knows-this-key"
            calls = len(raw.asked("tools/call"))
            with pytest.raises(McpFault):
                await said(tools, "web.do")
            assert len(raw.asked("tools/call")) <= calls + 2
