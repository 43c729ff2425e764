"""The floor of `mcp_many.py`: the SDK's own transports and sessions, as many servers, nothing else.

    python -m bench.mcp_loop LOCAL URL,URL…

It prints one line of JSON. Times are seconds, memory is MB of 2^20 bytes.
"""

import gc
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO, cast

import anyio
import psutil

STARTING_AT_ONCE = 3
REACHING_AT_ONCE = 8
TOOLS = 10
FAKE = Path(__file__).resolve().parent.parent / "tests/mcp/fakes/fake.py"


def memory() -> float:
    """Return what this process holds now."""
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


async def main() -> None:
    """Connect all, three local ones and eight remote ones at a time, and say what it took."""
    before, begun = memory(), time.monotonic()
    from mcp.client.streamable_http import streamable_http_client

    from mcp import ClientSession, StdioServerParameters, stdio_client

    local, urls = int(sys.argv[1]), [url for url in sys.argv[2].split(",") if url]
    took: list[float] = []
    listed: list[int] = []
    starts, reaches = anyio.Semaphore(STARTING_AT_ONCE), anyio.Semaphore(REACHING_AT_ONCE)
    all_listed, leave = anyio.Event(), anyio.Event()

    async def hold(url: str, errlog: TextIO) -> None:
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-S", "-E", "-I", str(FAKE), "stdio", str(TOOLS)],
            env=dict(os.environ),
        )
        async with AsyncExitStack() as stack:
            async with reaches if url else starts:
                started = time.monotonic()
                way = streamable_http_client(url) if url else stdio_client(parameters, errlog)
                incoming, outgoing = await stack.enter_async_context(way)
                session = await stack.enter_async_context(ClientSession(incoming, outgoing))
                await session.initialize()
                listed.append(len((await session.list_tools()).tools))
                took.append(time.monotonic() - started)
            if len(took) == local + len(urls):
                all_listed.set()
            await leave.wait()

    with TemporaryFile("w") as file:
        async with anyio.create_task_group() as tasks:
            for url in [*([""] * local), *urls]:
                tasks.start_soon(hold, url, cast("TextIO", file))
            await all_listed.wait()
            done = time.monotonic()
            await anyio.sleep(0.2)
            held = memory() - before
            leave.set()
    slowest = max(took)
    print(
        json.dumps({"all": done - begun, "slowest": slowest, "memory": held, "tools": sum(listed)})
    )


if __name__ == "__main__":
    anyio.run(main)
