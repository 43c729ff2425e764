"""The older HTTP transport, asked for and found out."""

import json
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types import CONNECTION_CLOSED
from tests.mcp.house import EVERYTHING
from tests.mcp.servers.http_raw import Request, Wire, answer, serving, text_result
from tests.mcp.servers.http_sdk import older, running
from tests.mcp.servers.http_session import Open, client

from mcp import MCPError
from patina.mcp.transports.http import open_http
from patina.mcp.transports.legacy_sse import open_sse

pytestmark = pytest.mark.anyio
BOTH_WAYS = pytest.mark.parametrize("open_link", [open_sse, open_http])
NODE = EVERYTHING.parents[4] / "node_modules/.bin/node"


class OlderServer:
    """A handler like a server of the older transport; its POSTs are answered with `post`."""

    def __init__(self, endpoint: str = "/messages?id=1") -> None:
        self.endpoint = endpoint
        self.post = "202 Accepted"
        self.stream: Wire | None = None
        self.hung_up = anyio.Event()

    async def __call__(self, request: Request, wire: Wire) -> None:
        if request.method == "GET":
            self.stream = wire
            await wire.events()
            await wire.raw(f"event: endpoint\r\ndata: {self.endpoint}\r\n\r\n".encode())
            await self.hung_up.wait()
            await wire.hang_up()
        elif not request.path.startswith("/messages"):
            await wire.status("405 Method Not Allowed")
        elif request.rpc == "tools/call" and self.post != "202 Accepted":
            await wire.status(self.post, b"Could not find session")
        else:
            await wire.status("202 Accepted")
            await self._answer(request)

    async def _answer(self, request: Request) -> None:
        results: dict[str, dict[str, Any]] = {
            "initialize": {
                "protocolVersion": "2024-11-05",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "older", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "do", "inputSchema": {"type": "object"}}]},
            "tools/call": text_result("\u2028done"),
        }
        if request.rpc in results:
            assert self.stream is not None
            data = json.dumps(answer(request, results[request.rpc]), ensure_ascii=False)
            await self.stream.raw(f"event: message\r\ndata: {data}\r\n\r\n".encode())


@BOTH_WAYS
async def test_server_of_the_sdk(tmp_path: Path, open_link: Open) -> None:
    # M-06: also where it was configured as streamable-http
    with running(older()) as origin:
        async with client(f"{origin}/sse", tmp_path, open_link) as it:
            assert await it.connect() == ["echo"]
            assert await it.call("echo", text="hello") == "hello"


@BOTH_WAYS
async def test_stand_in(tmp_path: Path, open_link: Open) -> None:
    # C-02
    headers = {"X-Own": "yes"}
    async with (
        serving(OlderServer()) as raw,
        client(raw.url, tmp_path, open_link, headers=headers) as it,
    ):
        assert await it.connect() == ["do"]
        assert await it.call() == "\u2028done"
        assert it.session.protocol_version == "2024-11-05"
    assert {request.headers["x-own"] for request in raw.requests} == {"yes"}
    assert raw.asked("tools/call")[0].path == "/messages?id=1"


@BOTH_WAYS
async def test_the_end_of_the_stream_is_the_end_of_the_link(
    tmp_path: Path, open_link: Open
) -> None:
    server = OlderServer()
    async with serving(server) as raw, client(raw.url, tmp_path, open_link) as it:
        await it.connect()
        server.hung_up.set()
        assert await it.ended() == "closed the stream"


@pytest.mark.parametrize(
    "endpoint", ["http://other.invalid/messages", "//other.invalid/x", "http://[", "file:///x"]
)
async def test_endpoint_of_another_origin(tmp_path: Path, endpoint: str) -> None:
    headers = {"Authorization": "Bearer secret"}
    async with serving(OlderServer(endpoint)) as raw:
        async with client(raw.url, tmp_path, open_sse, headers=headers) as it:
            with pytest.raises(MCPError, match="an endpoint that is not its own"):
                await it.connect()
        assert raw.asked("POST") == []


async def test_no_endpoint_is_bounded(tmp_path: Path) -> None:
    async def silent(_: Request, wire: Wire) -> None:
        await wire.events()
        await wire.hang()

    async with serving(silent) as raw, client(raw.url, tmp_path, open_sse, wait=0.5) as it:
        with pytest.raises(MCPError, match=r"named no endpoint within 0\.5 s"):
            await it.connect()


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ("401 Unauthorized", "text/plain", "answered 401 Unauthorized: no"),
        ("200 OK", "text/html", "answered with text/html, not with an event stream"),
    ],
)
async def test_refused_stream(tmp_path: Path, status: str, kind: str, words: str) -> None:
    async def refuse(_: Request, wire: Wire) -> None:
        await wire.status(status, b"no", kind, WWW_Authenticate="Bearer")

    async with serving(refuse) as raw, client(raw.url, tmp_path, open_sse) as it:
        with pytest.raises(MCPError, match=words) as caught:
            await it.connect()
        assert caught.value.error.code == CONNECTION_CLOSED
        if status.startswith("401"):
            assert caught.value.error.data == {"status": 401, "www_authenticate": "Bearer"}
        assert not it.link.away


async def test_refused_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with client(f"http://127.0.0.1:{port}/sse", tmp_path, open_sse) as it:
        with pytest.raises(MCPError, match="Connection refused"):
            await it.connect()
        assert await it.ended() == "could not be reached: Connection refused"
        assert it.link.away


async def test_lost_session(tmp_path: Path) -> None:
    server = OlderServer()
    async with serving(server) as raw, client(raw.url, tmp_path, open_sse) as it:
        await it.connect()
        server.post = "404 Not Found"
        with pytest.raises(MCPError):
            await it.call()
        await it.ended()
        assert it.link.forgotten


async def test_refused_message_fails_that_call_only(tmp_path: Path) -> None:
    server = OlderServer()
    async with serving(server) as raw, client(raw.url, tmp_path, open_sse) as it:
        await it.connect()
        server.post = "503 Service Unavailable"
        with pytest.raises(MCPError, match="answered 503 Service Unavailable"):
            await it.call()
        server.post = "202 Accepted"
        assert await it.call() == "\u2028done"


@pytest.mark.skipif(not NODE.exists(), reason="Node.js and the real servers are not installed")
@pytest.mark.parametrize(
    ("mode", "path", "open_link"),
    [
        ("streamableHttp", "/mcp", open_http),
        ("sse", "/sse", open_sse),
        ("sse", "/sse", open_http),
    ],
)
async def test_server_everything(tmp_path: Path, mode: str, path: str, open_link: Open) -> None:
    async with everything(mode) as origin, client(origin + path, tmp_path, open_link) as it:
        assert "echo" in await it.connect()
        assert await it.call("echo", message="hello") == "Echo: hello"


@asynccontextmanager
async def everything(mode: str) -> AsyncGenerator[str]:
    """The reference server, over HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {**os.environ, "PORT": str(port)}
    command = [str(NODE), str(EVERYTHING), mode]
    async with await anyio.open_process(command, env=environment) as process:
        try:
            await _listens(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


async def _listens(port: int) -> None:
    """Wait until the port is taken: another process has no event for it."""
    with anyio.fail_after(60):
        while True:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            except OSError:
                with anyio.move_on_after(0.1):
                    await anyio.Event().wait()
            else:
                return
