"""A Patina that starts servers of `odd.py`, says so, and waits to be killed.

Arguments: a folder, then the mode of each server.
"""

import sys
from pathlib import Path

import anyio
from tests.mcp.house import House


async def main() -> None:
    house = House(Path(sys.argv[1]))
    servers = {mode: house.odd(mode) for mode in sys.argv[2:]}
    async with house.supervisor(servers) as supervisor:
        for server in servers:
            await supervisor.connect(server)
        print("ready", flush=True)
        await anyio.sleep_forever()


anyio.run(main)
