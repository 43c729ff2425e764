"""Servers as people run them, from the registries of npm and PyPI, through Patina's own code."""

import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal

import anyio
import psutil
import pytest
from tests.mcp.house import House, alive
from tests.stand_ins import everything, node_script

from patina.mcp.supervisor import ServerStatus, Supervisor
from patina.mcp.toolset import Toolset
from patina.model.chat import ToolOutcome
from patina.model.parts import Image, text_of
from patina.model.settings import ServerSettings

pytestmark = pytest.mark.anyio

SERVER: Final = "real"
SECONDS: Final = 60.0
HANDSHAKE: Final = "2025-11-25"
STATELESS: Final = "2026-07-28"
PAGE: Final = (
    "<html><head><title>Bronze</title></head><body><main><h1>Bronze</h1>"
    "<p>Copper carbonate is what makes an old roof green.</p></main></body></html>"
)


class Visit:
    """A connected server."""

    def __init__(self, house: House, supervisor: Supervisor) -> None:
        self._house = house
        self._supervisor = supervisor
        self._tools = Toolset(supervisor)

    async def count(self) -> int:
        return len(await self._tools.list((SERVER,)))

    def status(self) -> ServerStatus:
        return self._supervisor.status()[0]

    async def outcome(self, name: str, **arguments: Any) -> ToolOutcome:
        await self._tools.list((SERVER,))
        tool = self._tools.find(f"{SERVER}.{name}")
        assert tool is not None
        return await self._tools.call(tool, arguments)

    async def call(self, name: str, **arguments: Any) -> str:
        outcome = await self.outcome(name, **arguments)
        assert not outcome.is_error, outcome.parts
        return text_of(outcome.parts)

    async def stop(self) -> None:
        """Stop it; of a local one, nothing may be left."""
        if not self._house.was_started(SERVER):
            await self._supervisor.stop(SERVER)
            return
        first = psutil.Process(self._house.pid(SERVER))
        started = [first.pid, *(one.pid for one in first.children(recursive=True))]
        await self._supervisor.stop(SERVER)
        assert [pid for pid in started if alive(pid)] == []


@asynccontextmanager
async def visiting(house: House, settings: ServerSettings) -> AsyncGenerator[Visit]:
    """Connect within the bound that every test here has, and leave nothing behind."""
    with anyio.fail_after(SECONDS):
        async with house.supervisor({SERVER: settings}) as supervisor:
            await supervisor.connect(SERVER)
            visit = Visit(house, supervisor)
            yield visit
            await visit.stop()


def node(package: str, *args: str, **more: Any) -> ServerSettings:
    script = node_script(f"@modelcontextprotocol/{package}")
    return ServerSettings(command="node", args=(script, *args), **more)


def python(module: str, *args: str, **more: Any) -> ServerSettings:
    return ServerSettings(command=sys.executable, args=("-P", "-m", module, *args), **more)


async def use_everything(visit: Visit) -> None:
    # Some it lists only once it knows that its client answers questions.
    with anyio.fail_after(10):
        while await visit.count() < 17:
            with anyio.move_on_after(0.05):
                await anyio.Event().wait()
    assert visit.status().protocol == HANDSHAKE
    assert await visit.call("echo", message="grüß dich") == "Echo: grüß dich"
    assert "5" in await visit.call("get-sum", a=2, b=3)
    pictures = [p for p in (await visit.outcome("get-tiny-image")).parts if isinstance(p, Image)]
    assert [picture.media_type for picture in pictures] == ["image/png"]
    assert "temperature" in await visit.call("get-structured-content", location="New York")
    assert "completed" in await visit.call("trigger-long-running-operation", duration=0.2, steps=2)


async def test_everything_over_stdio(house: House) -> None:  # P-04 M-06
    async with visiting(house, node("server-everything", "stdio")) as visit:
        await use_everything(visit)


@pytest.mark.parametrize("transport", ["sse", "streamable-http"])
async def test_everything_over_http(
    house: House, transport: Literal["sse", "streamable-http"]
) -> None:  # C-01 C-14
    with everything(transport) as url:
        settings = ServerSettings(transport=transport, url=url)
        async with visiting(house, settings) as visit:
            await use_everything(visit)
            assert bool(visit.status().session_id) == (transport == "streamable-http")


async def test_filesystem(house: House) -> None:
    shelf = house.root / "shelf"
    shelf.mkdir()
    note = shelf / "note.txt"
    async with visiting(house, node("server-filesystem", str(shelf))) as visit:
        assert await visit.count() == 14
        assert visit.status().protocol == HANDSHAKE
        await visit.call("write_file", path=str(note), content="one\ntwo")
        assert note.read_text() == "one\ntwo"
        assert await visit.call("read_text_file", path=str(note), tail=1) == "two"
        refused = await visit.outcome("read_text_file", path=str(house.root / "elsewhere"))
        assert refused.is_error


async def test_memory(house: House) -> None:
    kept = house.root / "memory.jsonl"
    settings = node("server-memory", env={"MEMORY_FILE_PATH": str(kept)})
    async with visiting(house, settings) as visit:
        assert await visit.count() == 9
        assert visit.status().protocol == HANDSHAKE
        ada = {"name": "Ada", "entityType": "person", "observations": ["wrote a program"]}
        await visit.call("create_entities", entities=[ada])
        assert "wrote a program" in await visit.call("read_graph")
    assert "Ada" in kept.read_text()
    async with visiting(house, settings) as visit:
        assert "wrote a program" in await visit.call("search_nodes", query="Ada")


async def test_time(house: House) -> None:
    async with visiting(house, python("mcp_server_time")) as visit:
        assert await visit.count() == 2
        assert visit.status().protocol == STATELESS
        assert '"UTC"' in await visit.call("get_current_time", timezone="UTC")


async def test_git(house: House) -> None:
    repository = house.root / "repository"
    commit(repository, "First words")
    async with visiting(house, python("mcp_server_git")) as visit:
        assert await visit.count() == 12
        assert visit.status().protocol == STATELESS
        assert "First words" in await visit.call("git_log", repo_path=str(repository))


def commit(repository: Path, message: str) -> None:
    git = shutil.which("git")
    assert git is not None, "git is missing: mcp-server-git runs it"
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    alone = ("-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null")
    subprocess.run([git, "init", "-q", str(repository)], check=True, timeout=SECONDS)
    subprocess.run(
        [
            git,
            "-C",
            str(repository),
            *author,
            *alone,
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            message,
        ],
        check=True,
        timeout=SECONDS,
    )


async def test_fetch(house: House) -> None:
    with website() as url:
        async with visiting(house, python("mcp_server_fetch", "--allow-private-ips")) as visit:
            assert await visit.count() == 1
            assert visit.status().protocol == STATELESS
            assert "Copper carbonate" in await visit.call("fetch", url=url)
        async with visiting(house, python("mcp_server_fetch")) as visit:
            refused = await visit.outcome("fetch", url=url)
            assert refused.is_error
            assert "--allow-private-ips" in text_of(refused.parts)


class Website(BaseHTTPRequestHandler):
    """One page, and no robots.txt, which allows all."""

    def do_GET(self) -> None:
        found = self.path == "/bronze"
        content = PAGE.encode() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as http.server has it
        """Say nothing."""


@contextmanager
def website() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Website) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/bronze"
        finally:
            server.shutdown()
            thread.join(SECONDS)
