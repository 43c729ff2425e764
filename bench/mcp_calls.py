"""Measures MCP: `python bench/mcp_calls.py`. (A `mcp.py` here would hide the SDK of that name from
every script of this folder.) A tool call through Patina (supervisor, definition check, own
transport, result as parts) stands beside the SDK's own stdio client and session on a second
process of the same server; calls of both take turns, so that the machine's moods hit both.
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

from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.settings import ServerSettings

# Name, value, unit, floor, goal (None: no goal of its own).
Row = tuple[str, float, str, float, float | None]

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
    least = statistics.median(floor) * 1000
    return (f"tool call, {name}", statistics.median(ours) * 1000, "ms", least, least * RATIO)


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
    return (f"list {LISTED} servers from the cache", value * 1000, "ms", floor * 1000, None)


def main() -> None:
    """Print the table."""
    print(f"{'':36}{'measured':>12}{'floor':>12}{'goal':>14}")
    for name, value, unit, floor, goal in rows():
        wanted = f"≤ {goal:.3f} {unit}" if goal is not None else ""
        print(f"{name:36}{value:9.3f} {unit}{floor:9.3f} {unit}{wanted:>14}")


if __name__ == "__main__":
    main()
