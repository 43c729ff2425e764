"""Servers that start, and servers that do not: the right sentence, in time, with nothing left."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.mcp.house import House, MemoryKeys, tool_of, until
from tests.unreadable import unreadable_file

from patina.mcp.environment import own
from patina.mcp.supervisor import ServerStatus
from patina.mcp.toolset import Toolset
from patina.model.faults import Failure, McpFault, UsageFault
from patina.model.parts import text_of
from patina.model.settings import ServerSettings
from patina.secrets.environment import Resolver

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="the misbehaving servers are POSIX scripts"),
]


async def failure_of(
    house: House, server: str, settings: ServerSettings, **more: Any
) -> tuple[Failure, ServerStatus]:
    more = {"connect_wait": 2.0} | more
    async with house.supervisor({server: settings}, **more) as supervisor:
        with anyio.fail_after(30), pytest.raises(McpFault) as caught:
            await supervisor.connect(server)
        status = supervisor.status()[0]
    return caught.value.failure, status


async def test_missing_program_names_the_path_and_what_to_install(house: House) -> None:
    # The PATH of this test has no npx in it, whatever the machine has.
    house.environ["PATH"] = str(house.root)
    failure, _ = await failure_of(
        house, "github", ServerSettings(command="npx", args=("-y", "@github/mcp-server"))
    )
    assert "no program npx in any folder of the PATH" in failure.message
    assert "npx -y @github/mcp-server" in failure.message
    assert "Install Node.js" in failure.hint
    assert str(house.root) in failure.hint


@pytest.mark.parametrize(
    ("settings", "words", "hint"),
    [
        (ServerSettings(command="/no/such/program"), "no program at /no/such/program", "path"),
        (ServerSettings(command="nonsense-42"), "no program nonsense-42", "Install nonsense-42"),
        (ServerSettings(command=""), "no command", "patina mcp edit"),
    ],
)
async def test_missing_program(
    house: House, settings: ServerSettings, words: str, hint: str
) -> None:
    failure, _ = await failure_of(house, "s", settings)
    assert words in failure.message
    assert hint in failure.hint


async def test_missing_folder(house: House) -> None:
    settings = house.odd("fine", cwd=str(house.root / "gone"))
    failure, _ = await failure_of(house, "s", settings)
    assert "there is no folder" in failure.message
    assert "gone" in failure.message
    assert "cwd" in failure.hint


async def test_script_without_interpreter(house: House) -> None:
    script = house.root / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    failure, _ = await failure_of(house, "s", ServerSettings(command=str(script)))
    assert "interpreter in its first line" in failure.message


async def test_not_executable_is_no_program(house: House) -> None:
    script = house.root / "script"
    script.write_text("#!/bin/sh\n")
    failure, _ = await failure_of(house, "s", ServerSettings(command=str(script)))
    assert "no program at" in failure.message
    assert "executable" in failure.hint


async def test_null_byte_in_an_argument(house: House) -> None:
    failure, _ = await failure_of(
        house, "s", ServerSettings(command=sys.executable, args=("a\x00b",))
    )
    assert "did not start" in failure.message
    assert "a\\x00b" in failure.message


async def test_exit_code_and_last_lines(house: House) -> None:
    failure, status = await failure_of(house, "s", house.odd("exits"))
    assert "exited with code 3" in failure.message
    assert "no configuration found" in failure.message
    assert "odd.py exits" in failure.message  # the whole argv
    assert "patina mcp logs s" in failure.hint
    assert status.state == "error"
    assert "no configuration found" in status.text


async def test_no_answer_to_the_handshake_is_bounded(house: House) -> None:
    started = anyio.current_time()
    failure, _ = await failure_of(house, "s", house.odd("silent"), connect_wait=1.0)
    assert "did not answer within 1 s" in failure.message
    assert anyio.current_time() - started < 8


async def test_rubbish_instead_of_messages_is_named(house: House) -> None:
    failure, _ = await failure_of(house, "s", house.odd("rubbish_only"), connect_wait=1.0)
    assert "Welcome to my server!\\x1b[2J" in failure.message
    assert "no MCP message" in failure.message


async def test_rubbish_among_messages_does_no_harm(house: House) -> None:
    async with house.supervisor({"s": house.odd("rubbish")}) as supervisor:
        tools = Toolset(supervisor)
        echo = await tool_of(tools, "s.echo")
        outcome = await tools.call(echo, {"a": 1})
    assert '"a": 1' in text_of(outcome.parts)
    assert "not a message: Welcome" in house.log("s")


async def test_server_that_dies_at_the_question_of_the_newer_era_is_started_again(
    house: House,
) -> None:
    async with house.supervisor({"s": house.odd("old")}) as supervisor:
        await supervisor.connect("s")
        assert supervisor.connected("s")


async def test_the_version_spoken_last_is_remembered(house: House) -> None:
    for _ in range(2):
        async with house.supervisor({"s": house.odd("old")}) as supervisor:
            await supervisor.connect("s")
    # Twice for the first connection (gap above), once for the second.
    assert house.log("s").count("started as process") == 3


async def test_pages_are_followed(house: House) -> None:
    async with house.supervisor({"s": house.odd("pages")}) as supervisor:
        listed = await Toolset(supervisor).list(None)
    assert [info.name for info in listed] == ["s.tool0", "s.tool1", "s.tool2"]


@pytest.mark.parametrize(
    ("mode", "words"), [("circle", "round in circles"), ("endless", "more than 500 pages")]
)
async def test_paging_without_an_end(house: House, mode: str, words: str) -> None:
    failure, _ = await failure_of(house, "s", house.odd(mode), connect_wait=20.0)
    assert words in failure.message


async def test_flood_of_notifications(house: House) -> None:
    async with house.supervisor({"s": house.odd("flood")}) as supervisor:
        tools = Toolset(supervisor)
        outcome = await tools.call(await tool_of(tools, "s.echo"), {})
    assert "echo" in text_of(outcome.parts)
    assert "the rest is dropped" in house.log("s")


async def test_package_runners_are_shown_as_installing(house: House) -> None:
    runner = house.root / "npx"
    runner.write_text(f"#!/bin/sh\nexec {sys.executable} -m patina.mcp.demo_server\n")
    runner.chmod(0o755)
    settings = ServerSettings(command=str(runner), args=("-y", "demo"))
    async with house.supervisor({"s": settings}) as supervisor:
        await supervisor.connect("s")
    assert house.events[0] == ("s", "starting", "Installing…", 0)
    assert house.events[1][:2] == ("s", "connected")


async def test_remote_servers_need_no_consent_and_say_why_they_are_not_there(
    house: House,
) -> None:
    # Nobody listens at the discard port of this machine.
    settings = ServerSettings(transport="streamable-http", url="http://127.0.0.1:9/mcp")
    failure, status = await failure_of(house, "s", settings, allow_start=frozenset())
    assert "Connection refused" in failure.message
    assert (status.state, status.text) == ("error", failure.message)
    assert house.events[0] == ("s", "starting", "Connecting…", 0)


async def test_unknown_and_disabled_servers(house: House) -> None:
    servers = {"s": house.odd("fine"), "off": house.odd("fine", enabled=False)}
    async with house.supervisor(servers) as supervisor:
        with pytest.raises(UsageFault, match="no MCP server named nope"):
            await Toolset(supervisor).list(("nope",))
        with pytest.raises(UsageFault, match="off is disabled"):
            await Toolset(supervisor).list(("off",))
        assert [status.state for status in supervisor.status()] == ["idle", "disabled"]


async def test_a_fault_of_the_body_is_not_wrapped(house: House) -> None:
    async def body() -> None:
        async with house.supervisor({"s": house.odd("fine")}) as supervisor:
            await supervisor.connect("s")
            raise UsageFault("mine")

    with pytest.raises(UsageFault, match="mine"):
        await body()


# P-10 C-07
async def test_background_start_is_bounded_and_independent(house: House) -> None:
    servers = {f"s{number}": house.odd("fine") for number in range(5)}
    servers |= {
        "bad": house.odd("exits"),
        "slow": house.odd("silent"),
        "lazy": house.odd("fine", connect="lazy"),
        "manual": house.odd("fine", connect="manual"),
        "off": house.odd("fine", enabled=False),
    }
    async with house.supervisor(servers, connect_wait=3.0) as supervisor:
        started = anyio.current_time()
        supervisor.start_background()
        assert anyio.current_time() - started < 0.1

        def settled() -> bool:
            return all(house.states(name)[-1:] == ["connected"] for name in list(servers)[:5])

        await until(settled, 30)
        await until(lambda: house.states("bad")[-1:] == ["error"], 30)
        await until(lambda: house.states("slow")[-1:] == ["error"], 30)
        running = at_once = 0
        starting: set[str] = set()
        for name, state, _, _ in house.events:
            (starting.add if state == "starting" else starting.discard)(name)
            at_once = max(at_once, len(starting))
            running += state == "connected"
        assert running == 5
        assert at_once <= 3
        assert not house.states("lazy") + house.states("manual") + house.states("off")


#
async def test_environment_of_a_server(house: House) -> None:
    key_file = house.root / "token"
    key_file.write_text("from-a-file\n")
    house.keys.secrets["s/GITHUB_TOKEN"] = "from-the-keys"
    house.environ |= {
        "OPENAI_API_KEY": "parent",
        "HF_TOKEN": "parent",
        "my_secret_thing": "parent",
        "DB_PASSWORD": "parent",
        "PATINA_HOME": "parent",
        "VISIBLE": "parent",
        "OVERRIDDEN": "parent",
        "SOURCE_KEY": "by-reference",
    }
    env = {
        "GITHUB_TOKEN": "secret:s/GITHUB_TOKEN",
        "FILE_TOKEN": f"keyfile:{key_file}",
        "REFERRED": "env:SOURCE_KEY",
        "OVERRIDDEN": "child",
        "URL": "http://localhost:1/",
    }
    settings = house.odd("env", env=env, cwd=str(house.root))
    async with house.supervisor({"s": settings}) as supervisor:
        tools = Toolset(supervisor)
        outcome = await tools.call(await tool_of(tools, "s.echo"), {})
    seen = json.loads(text_of(outcome.parts))
    assert seen["VISIBLE"] == "parent"
    assert seen["OVERRIDDEN"] == "child"
    assert seen["GITHUB_TOKEN"] == "from-the-keys"
    assert seen["FILE_TOKEN"] == "from-a-file"
    assert seen["REFERRED"] == "by-reference"
    assert seen["URL"] == "http://localhost:1/"
    assert Path(seen["cwd"]) == house.root.resolve()
    withheld = {"OPENAI_API_KEY", "HF_TOKEN", "my_secret_thing", "DB_PASSWORD", "PATINA_HOME"}
    assert not withheld & set(seen)
    assert "SOURCE_KEY" not in seen


#
async def test_own_path_wins_also_for_the_lookup(house: House) -> None:
    program = house.root / "my-server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    path = f"{house.root}{os.pathsep}{house.environ['PATH']}"
    odd = house.odd("env")
    settings = ServerSettings(command="my-server", args=odd.args, env={"PATH": path})
    async with house.supervisor({"s": settings}) as supervisor:
        tools = Toolset(supervisor)
        outcome = await tools.call(await tool_of(tools, "s.echo"), {})
    assert path in text_of(outcome.parts)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"env": {"A": "secret:gone"}}, "no secret gone for A"),
        ({"env": {"A": "env:GONE"}}, "the environment has no GONE for A"),
        ({"env": {"A": "env:EMPTY"}}, "the environment has no EMPTY for A"),
        ({"required": ("TOKEN",)}, "needs a value for TOKEN"),
        ({"required": ("TOKEN",), "env": {"TOKEN": ""}}, "needs a value for TOKEN"),
    ],
)
async def test_environment_that_cannot_be_made(
    house: House, more: dict[str, Any], words: str
) -> None:
    house.environ["EMPTY"] = ""
    failure, _ = await failure_of(house, "s", house.odd("fine", **more))
    assert words in failure.message
    assert failure.hint


#
@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, "KeyfileNotFound", "KeyfileNotFound: there is no key file "),
        (b" \n", "", " for A is empty."),
        (b"\xff", "", " does not hold text."),
        (b"x" * 200_000, "", " is too large to be a key."),
    ],
)
async def test_a_key_file_that_gives_no_key(
    house: House, content: bytes | None, code: str, words: str
) -> None:
    file = house.root / "key"
    if content is not None:
        file.write_bytes(content)
    failure, _ = await failure_of(house, "s", house.odd("fine", env={"A": f"keyfile:{file}"}))
    assert failure.code == code
    assert failure.message.startswith("Server s")
    assert words in failure.message
    assert failure.hint


#
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
async def test_a_key_file_that_may_not_be_read() -> None:
    keys = Resolver({}, MemoryKeys(), seen=lambda _: None)
    with unreadable_file() as file, pytest.raises(McpFault) as caught:
        own("s", ServerSettings(env={"A": f"keyfile:{file}"}), keys)
    assert caught.value.failure.code == "PermissionDenied"
    assert "PermissionDenied: the key file " in caught.value.failure.message


#
async def test_a_reference_sees_the_env_file_and_the_process_does_not(house: House) -> None:
    house.env_file = {"FROM_FILE": "canary-of-the-file", "UNASKED": "canary-unasked"}
    settings = house.odd("env", env={"MINE": "env:FROM_FILE"})
    async with house.supervisor({"s": settings}) as supervisor:
        tools = Toolset(supervisor)
        outcome = await tools.call(await tool_of(tools, "s.echo"), {})
    seen = json.loads(text_of(outcome.parts))
    assert seen["MINE"] == "canary-of-the-file"
    assert not {"FROM_FILE", "UNASKED"} & set(seen)
    assert house.seen == ["canary-of-the-file"]  # masked from now on


async def test_log_is_bounded_and_holds_no_secrets(house: House) -> None:
    house.keys.secrets["k"] = "hunter2-hunter2"
    settings = house.odd("talks", env={"API_KEY": "secret:k"})
    async with house.supervisor({"s": settings}) as supervisor:
        await supervisor.connect("s")
    log = house.root / "state/logs/mcp/s.log"
    old = log.with_name("s.log.1")
    text = house.log("s")
    assert "the secret is [redacted]" in text
    assert "hunter2" not in text + (old.read_text() if old.exists() else "")
    assert log.stat().st_size <= 1_100_000
    assert log.stat().st_mode & 0o077 == 0


def test_nothing_heavy_is_imported_to_list_from_the_cache(tmp_path: Path) -> None:
    script = """
import sys, os, anyio
from pathlib import Path
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.settings import ServerSettings
HEAVY = {"mcp", "mcp_types", "pydantic", "jsonschema", "referencing", "shutil", "subprocess"}
root = Path(sys.argv[1])
class Keys:
    def get(self, name): return None
async def put(content): return ""
async def main():
    settings = ServerSettings(command=sys.executable, args=("-m", "patina.mcp.demo_server"))
    before = set(sys.modules)
    async with Supervisor({"demo": settings}, keys=Keys(), environ=dict(os.environ), data=root,
                          state=root, cache=root, put_blob=put, on_change=lambda *a: None) as sup:
        sup.trust.trust("demo")
        listed = await Toolset(sup).list(None)
        assert len(listed) == 4, listed
    print(",".join(sorted({name.partition(".")[0] for name in set(sys.modules)} & HEAVY)))
anyio.run(main)
"""
    runs = [
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert "mcp" in runs[0].split(",")
    assert {"mcp", "mcp_types", "pydantic", "jsonschema", "referencing"} & set(
        runs[1].split(",")
    ) == set()
