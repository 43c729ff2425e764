"""Tool calls. (A `mcp.py` here would hide the SDK of that name from every script of this folder.)
A call through Patina (supervisor, definition check, own transport, result as parts) stands beside
the SDK's own client and session on the same server, over stdio on a second process of it; calls of
both take turns, so that the machine's moods hit both. For WebSocket there is a bare loop only.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from bench.mcp_fleet import fake
from bench.processes import NotMeasuredError
from bench.table import Row

from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.settings import ServerSettings

if TYPE_CHECKING:
    from mcp import ClientSession

Given = dict[str, Any]
Call = Callable[[], Awaitable[object]]
Bare = Callable[[ServerSettings, str, Given], AbstractAsyncContextManager[Call]]
ROOT = Path(__file__).resolve().parent.parent
TOOL = "echo"
CALLS = 1_000
WARM_UP = 50
RATIO = 1.2
LISTED = 50
EVERYTHING = ROOT / (
    "tests/node/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
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
    measured = [anyio.run(_call, "demo", DEMO, {"text": "hello"}, _stdio)]
    if EVERYTHING.exists():
        node = ServerSettings(command="node", args=(str(EVERYTHING), "stdio"))
        measured.append(anyio.run(_call, "server-everything", node, {"message": "hello"}, _stdio))
    with served(fake("http")) as url:
        remote = ServerSettings(transport="streamable-http", url=url)
        measured.append(anyio.run(_call, "HTTP", remote, {"text": "hello"}, _http))
    with served((sys.executable, "-m", "bench.mcp_socket")) as url:
        remote = ServerSettings(transport="websocket", url=url)
        call = partial(_call, goal=False)
        measured.append(anyio.run(call, "WebSocket", remote, {"text": "hello"}, _socket))
    measured.append(anyio.run(_list))
    return measured


@contextmanager
def served(command: Sequence[str]) -> Iterator[str]:
    """Run a server that prints its URL; give that."""
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


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


@asynccontextmanager
async def _stdio(settings: ServerSettings, tool: str, arguments: Given) -> AsyncIterator[Call]:
    """The SDK's client on a second process of the same server."""
    from mcp import StdioServerParameters, stdio_client

    raw = StdioServerParameters(
        command=settings.command, args=list(settings.args), env=dict(os.environ)
    )
    with tempfile.TemporaryFile("w") as errlog:
        async with stdio_client(raw, errlog) as streams, _session(streams) as session:
            yield lambda: session.call_tool(tool, arguments)


@asynccontextmanager
async def _http(settings: ServerSettings, tool: str, arguments: Given) -> AsyncIterator[Call]:
    """The SDK's client on the same server."""
    from mcp.client.streamable_http import streamable_http_client

    async with streamable_http_client(settings.url) as streams, _session(streams) as session:
        yield lambda: session.call_tool(tool, arguments)


@asynccontextmanager
async def _socket(settings: ServerSettings, tool: str, arguments: Given) -> AsyncIterator[Call]:
    """No protocol at all, for the SDK has no WebSocket client: JSON there, JSON back."""
    from websockets.asyncio.client import connect
    from websockets.typing import Subprotocol

    params = {"name": tool, "arguments": arguments}
    question = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

    async with connect(
        settings.url, subprotocols=[Subprotocol("mcp")], compression=None, proxy=None
    ) as connection:

        async def call() -> None:
            await connection.send(json.dumps(question))
            json.loads(await connection.recv())

        yield call


@asynccontextmanager
async def _session(streams: tuple[Any, ...]) -> AsyncIterator["ClientSession"]:
    from mcp import ClientSession

    async with ClientSession(streams[0], streams[1]) as session:
        await session.initialize()
        await session.list_tools()
        yield session


async def _call(
    name: str, settings: ServerSettings, arguments: Given, bare: Bare, *, goal: bool = True
) -> Row:
    ours: list[float] = []
    floor: list[float] = []
    with tempfile.TemporaryDirectory(prefix="patina-bench-") as folder:
        async with (
            _supervisor(Path(folder), {"s": settings}) as supervisor,
            bare(settings, TOOL, arguments) as raw,
        ):
            tools = Toolset(supervisor)
            await tools.list(None)
            info = tools.find(f"s.{TOOL}")
            if info is None:
                raise NotMeasuredError(f"{name}: {supervisor.status()[0].text}")
            for number in range(CALLS + WARM_UP):
                begun = time.perf_counter()
                await tools.call(info, arguments)
                middle = time.perf_counter()
                await raw()
                ended = time.perf_counter()
                if number >= WARM_UP:
                    ours.append(middle - begun)
                    floor.append(ended - middle)
    figure, least = (statistics.median(times) * 1000 for times in (ours, floor))
    floor_is = "raw SDK call" if goal else "bare websockets"
    return Row(f"tool call, {name}", figure, "ms", least, floor_is, times=RATIO if goal else None)


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
