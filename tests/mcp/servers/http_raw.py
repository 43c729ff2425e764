"""A stand-in for servers over HTTP that writes every byte itself, within the test's own loop."""

import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio.abc import ByteStream, TaskGroup
from anyio.streams.tls import TLSListener
from msgspec import Struct

GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class Request(Struct):
    """What was asked. Header names are lower case; `arrived` by the loop's clock."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    arrived: float

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.body) if self.body else {}
        return message

    @property
    def rpc(self) -> str:
        """The JSON-RPC method, "" where there is none."""
        return str(self.message.get("method", ""))


class Wire:
    """Answers one request. Leaving the connection open is the default, `hang_up` ends it."""

    def __init__(self, stream: ByteStream, request: Request, server: "Raw") -> None:
        self._stream = stream
        self._request = request
        self._server = server
        self.is_open = True

    async def raw(self, data: bytes) -> None:
        with suppress(*GONE):
            await self._stream.send(data)

    async def status(
        self, status: str, body: bytes = b"", kind: str = "text/plain", **headers: str
    ) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode() + body)

    async def json(self, value: Any, status: str = "200 OK", **headers: str) -> None:
        await self.status(status, json.dumps(value).encode(), "application/json", **headers)

    async def result(self, result: dict[str, Any], **headers: str) -> None:
        await self.json(answer(self._request, result), **headers)

    async def events(self, **headers: str) -> None:
        """Begin an event stream, which ends with the connection."""
        lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw("\r\n".join([*lines, "", ""]).encode())

    async def event(self, value: Any = None, event_id: str = "", retry: int = -1) -> None:
        text = f"id: {event_id}\n" if event_id else ""
        text += f"retry: {retry}\n" if retry >= 0 else ""
        data = "" if value is None else json.dumps(value, ensure_ascii=False)
        await self.raw(f"{text}data: {data}\n\n".encode())

    async def hang_up(self) -> None:
        self.is_open = False
        await self._stream.aclose()

    async def hang(self) -> None:
        """Wait until the client hangs up."""
        with suppress(*GONE):
            await self._stream.receive()
        self.is_open = False
        self._server.let_go.append(self._request)


Handler = Callable[[Request, Wire], Awaitable[None]]


class Raw:
    """What a running stand-in saw: all requests, and those that the client hung up on."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[Request] = []
        self.let_go: list[Request] = []
        self.port = 0
        self.connections = 0
        self.scheme = "http"
        self.tasks: TaskGroup
        self.stopped = anyio.Event()

    async def stop(self) -> None:
        """Be gone, with every connection."""
        self.tasks.cancel_scope.cancel()
        await self.stopped.wait()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/mcp"

    def asked(self, method: str) -> list[Request]:
        """The requests of an HTTP method, or of a JSON-RPC one."""
        return [r for r in self.requests if method in (r.method, r.rpc)]

    async def serve(self, stream: ByteStream) -> None:
        self.connections += 1
        async with stream:
            with suppress(*GONE):
                buffer = b""
                while True:
                    request, buffer = await _read(stream, buffer)
                    self.requests.append(request)
                    wire = Wire(stream, request, self)
                    await self.handler(request, wire)
                    if not wire.is_open:
                        return


async def _read(stream: ByteStream, buffer: bytes) -> tuple[Request, bytes]:
    while b"\r\n\r\n" not in buffer:
        buffer += await stream.receive()
    head, _, buffer = buffer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    size = int(headers.get("content-length", 0))
    while len(buffer) < size:
        buffer += await stream.receive()
    request = Request(method, path, headers, buffer[:size], anyio.current_time())
    return request, buffer[size:]


@asynccontextmanager
async def serving(
    handler: Handler, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncGenerator[Raw]:
    """Serve on a port of this machine."""
    raw = Raw(handler)
    listener: Any = await anyio.create_tcp_listener(
        local_host="127.0.0.1", local_port=port, reuse_port=False
    )
    raw.port = listener.extra(anyio.abc.SocketAttribute.local_port)
    if tls is not None:
        raw.scheme = "https"
        listener = TLSListener(listener, tls, standard_compatible=False)

    started = anyio.Event()

    async def serve() -> None:
        async with listener, anyio.create_task_group() as raw.tasks:
            started.set()
            await listener.serve(raw.serve)
        raw.stopped.set()

    async with anyio.create_task_group() as outer:
        outer.start_soon(serve)
        await started.wait()
        try:
            yield raw
        finally:
            outer.cancel_scope.cancel()


def answer(request: Request, result: dict[str, Any]) -> dict[str, Any]:
    """The answer to `request`."""
    return {"jsonrpc": "2.0", "id": request.message["id"], "result": result}


def text_result(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


class OldServer:
    """A handler like a server of the handshake era. `call` is what a tool does.

    `stream`: answers as event streams; `session`: the id that it gives.
    """

    def __init__(
        self, call: Handler | None = None, *, stream: bool = False, session: str = ""
    ) -> None:
        self.call = call or self.echo
        self.stream = stream
        self.session = session
        self.get: Handler = self.no_get
        self.capabilities: dict[str, Any] = {"tools": {}}

    async def __call__(self, request: Request, wire: Wire) -> None:
        if request.method == "GET":
            await self.get(request, wire)
        elif request.method == "DELETE":
            await wire.status("200 OK")
        elif request.rpc == "server/discover":
            await wire.status("400 Bad Request", b"Unknown method")
        elif request.rpc == "initialize":
            await self._initialize(request, wire)
        elif request.rpc == "tools/list":
            tool = {"name": "do", "inputSchema": {"type": "object"}}
            await self.reply(request, wire, {"tools": [tool]})
        elif request.rpc == "tools/call":
            await self.call(request, wire)
        elif request.rpc == "ping":
            await self.reply(request, wire, {})
        else:
            await wire.status("202 Accepted")

    async def _initialize(self, request: Request, wire: Wire) -> None:
        result = {
            "protocolVersion": "2025-11-25",
            "capabilities": self.capabilities,
            "serverInfo": {"name": "old", "version": "1"},
        }
        headers = {"Mcp_Session_Id": self.session} if self.session else {}
        await self.reply(request, wire, result, **headers)

    async def reply(
        self, request: Request, wire: Wire, result: dict[str, Any], **headers: str
    ) -> None:
        if not self.stream:
            await wire.result(result, **headers)
            return
        await wire.events(**headers)
        await wire.event(answer(request, result))
        await wire.hang_up()

    async def no_get(self, _: Request, wire: Wire) -> None:
        await wire.status("405 Method Not Allowed")

    async def echo(self, request: Request, wire: Wire) -> None:
        await self.reply(request, wire, text_result("done"))
