"""Tool calls. (A `mcp.py` here would hide the SDK of that name from every script of this folder.)
A call through Patina (supervisor, definition check, own transport, result as parts) stands beside
the SDK's own stdio client and session on a second process of the same server; calls of both take
turns, so that the machine's moods hit both.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
from bench.table import Row

from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.settings import ServerSettings

CALLS = 1_000
WARM_UP = 50
RATIO = 1.3
LISTED = 50
EVERYTHING = (
    Path(__file__).parent.parent
    / "tests/node/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
)
DEMO = ServerSettings(command=sys.executable, args=("-m", "patina.mcp.demo_server"))


class NoKeys:
    """No secrets."""

    def get(self, name: str) -> str | None:
        """Return nothing."""
        del name
        return None

    def resolve(self, reference: str) -> str | None:
        """Return nothing."""
        del reference
        return None

    def set(self, name: str, value: str) -> None:
        """Refuse."""
        raise NotImplementedError

    def remove(self, name: str) -> bool:
        """Refuse."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """Return nothing."""
        return []


def rows() -> list[Row]:
    """Measure everything and return it. Takes some seconds; server-everything if installed."""
    measured = [anyio.run(_call, "demo", DEMO, "echo", {"text": "hello"})]
    if EVERYTHING.exists():
        node = ServerSettings(command="node", args=(str(EVERYTHING), "stdio"))
        measured.append(anyio.run(_call, "server-everything", node, "echo", {"message": "hello"}))
    measured.append(anyio.run(_list))
    return measured


def _supervisor(home: Path, servers: Mapping[str, ServerSettings]) -> Supervisor:
    async def put_blob(content: bytes) -> str:
        raise NotImplementedError

    return Supervisor(
        servers,
        keys=NoKeys(),
        environ=dict(os.environ),
        data=home,
        state=home,
        cache=home,
        put_blob=put_blob,
        on_change=lambda *_: None,
        allow_start=frozenset(servers),
    )


async def _call(name: str, settings: ServerSettings, tool: str, arguments: dict[str, Any]) -> Row:
    from mcp import ClientSession, StdioServerParameters, stdio_client

    raw = StdioServerParameters(
        command=settings.command, args=list(settings.args), env=dict(os.environ)
    )
    ours: list[float] = []
    floor: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="patina-bench-") as folder,
        tempfile.TemporaryFile("w") as errlog,
    ):
        async with (
            _supervisor(Path(folder), {"s": settings}) as supervisor,
            stdio_client(raw, errlog) as (incoming, outgoing),
            ClientSession(incoming, outgoing) as session,
        ):
            await session.initialize()
            await session.list_tools()
            tools = Toolset(supervisor)
            await tools.list(None)
            info = tools.find(f"s.{tool}")
            assert info is not None
            for number in range(CALLS + WARM_UP):
                begun = time.perf_counter()
                await tools.call(info, arguments)
                middle = time.perf_counter()
                await session.call_tool(tool, arguments)
                ended = time.perf_counter()
                if number >= WARM_UP:
                    ours.append(middle - begun)
                    floor.append(ended - middle)
    figure, least = (statistics.median(times) * 1000 for times in (ours, floor))
    return Row(f"tool call, {name}", figure, "ms", least, "raw SDK call", times=RATIO)


async def _list() -> Row:
    """List many servers from the cache, against reading the same files."""
    servers = {f"s{number}": DEMO for number in range(LISTED)}
    with tempfile.TemporaryDirectory(prefix="patina-bench-") as folder:
        home = Path(folder)
        async with _supervisor(home, {"s0": DEMO}) as supervisor:
            await Toolset(supervisor).list(None)
        kept = (home / "mcp/s0.json").read_bytes()
        paths = [home / f"mcp/{server}.json" for server in servers]
        for path in paths:
            path.write_bytes(kept)
        async with _supervisor(home, servers) as supervisor:
            begun = time.perf_counter()
            listed = await Toolset(supervisor).list(None)
            value = time.perf_counter() - begun
        assert len(listed) == 4 * LISTED
        begun = time.perf_counter()
        for path in paths:
            path.read_bytes()
        floor = time.perf_counter() - begun
    name = f"list {LISTED} servers from the cache"
    return Row(name, value * 1000, "ms", floor * 1000, "read the files")
