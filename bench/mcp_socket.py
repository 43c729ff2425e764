"""The smallest MCP server over WebSocket, for `mcp_calls.py`: the answers of the tests' fake.

    python -m bench.mcp_socket

It prints its URL and serves until it is ended.
"""

import json

import anyio
from tests.mcp.fakes.fake import Json, answer, tool
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol


class Said:
    """What the fake answers to one message."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def send(self, message: Json) -> None:
        """Keep a message."""
        self.lines.append(json.dumps({"jsonrpc": "2.0", **message}))

    def raw(self, data: bytes) -> None:
        """Keep bytes as they are."""
        self.lines.append(data.decode())


async def converse(connection: ServerConnection) -> None:
    """Answer one client until it leaves."""
    async for message in connection:
        said = Said()
        answer(json.loads(message), said, [tool("echo")])
        for line in said.lines:
            await connection.send(line)


async def main() -> None:
    """Serve."""
    mcp = [Subprotocol("mcp")]
    async with serve(converse, "127.0.0.1", 0, subprotocols=mcp, compression=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main)
