"""A well-behaved MCP server (handshake era, standard library), small enough for fifty at once.

    python -S -E -I fake.py stdio|http [TOOLS]

It has the tools echo and add, and as many more as are asked for. Over HTTP it prints its URL and
lives until its stdin ends, so that nothing outlives a test that was killed. The ways to speak,
`serve_stdio` and `serve_http`, are also those of `hostile.py`.
"""

import json
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

Json = dict[str, Any]
VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")


class Out(Protocol):
    """Where a server's messages go: a line each on stdout, or the answer to one POST."""

    def send(self, message: Json) -> None: ...

    def raw(self, data: bytes) -> None:
        """Write bytes as they are, where a message is to begin."""


Handle = Callable[[Json, Out], None]
# Answers what is no POST, given its method.
Other = Callable[[bytes, socket.socket], None]


class Lines:
    """stdout, a message a line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def send(self, message: Json) -> None:
        self.raw(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        with self._lock:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


class Body:
    """The answer to a POST as one JSON object."""

    def __init__(self, connection: socket.socket, session: str) -> None:
        self._connection = connection
        self._head = f"mcp-session-id: {session}\r\n" if session else ""
        self._body = b""

    def send(self, message: Json) -> None:
        self._body = json.dumps({"jsonrpc": "2.0", **message}).encode()

    def raw(self, data: bytes) -> None:
        self._body = data

    def feed(self, data: bytes) -> None:
        """Answer with these bytes, be they HTTP or not. Raises `OSError` for who has left."""
        self._connection.sendall(data)

    def bare(self, data: bytes) -> None:
        """Answer with these bytes alone, and end the connection."""
        self.feed(data)
        raise ConnectionAbortedError

    def end(self) -> None:
        """Send it, or 202 where there is nothing to say."""
        status = "200 OK" if self._body else "202 Accepted"
        head = f"HTTP/1.1 {status}\r\ncontent-length: {len(self._body)}\r\n{self._head}"
        if self._body:
            head += "content-type: application/json\r\n"
        self._connection.sendall(f"{head}\r\n".encode() + self._body)


class Events(Body):
    """The answer to a POST as a stream of events, each a chunk."""

    _open = False

    def send(self, message: Json) -> None:
        text = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.raw(b"event: message\ndata: %b\n\n" % text)

    def raw(self, data: bytes) -> None:
        head = b""
        if not self._open:
            self._open = True
            head = (
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                f"transfer-encoding: chunked\r\n{self._head}\r\n"
            ).encode()
        self._connection.sendall(head + b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        if self._open:
            self._connection.sendall(b"0\r\n\r\n")
        else:
            super().end()


def serve_stdio(handle: Handle) -> None:
    """Read messages from stdin until it ends."""
    out = Lines()
    for line in sys.stdin.buffer:
        handle(json.loads(line), out)


def no_stream(method: bytes, connection: socket.socket) -> None:
    """Take a DELETE, and have no stream for a GET."""
    status = b"405 Method Not Allowed" if method == b"GET" else b"200 OK"
    connection.sendall(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % status)


def serve_http(handle: Handle, *, stream: bool = False, other: Other = no_stream) -> None:
    """Serve on a free port of this machine, which is printed as a URL, until stdin ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    threading.Thread(target=_accept, args=(listener, handle, stream, other), daemon=True).start()
    sys.stdin.buffer.read()


def _accept(listener: socket.socket, handle: Handle, stream: bool, other: Other) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        given = (connection, handle, stream, other)
        threading.Thread(target=_converse, args=given, daemon=True).start()


def _converse(connection: socket.socket, handle: Handle, stream: bool, other: Other) -> None:
    """Answer the requests of one connection: POSTs as `handle` says, the rest as `other` does."""
    with connection, connection.makefile("rb") as incoming:
        try:
            while words := incoming.readline().split():
                length = 0
                while (line := incoming.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                body = incoming.read(length)
                if len(body) < length:
                    return
                if words[0] != b"POST":
                    other(words[0], connection)
                    continue
                message = json.loads(body)
                session = "fake-session" if message.get("method") == "initialize" else ""
                out = (Events if stream else Body)(connection, session)
                if "method" in message:
                    handle(message, out)
                out.end()
        except OSError:
            return  # the client has left


def tool(name: str, **more: object) -> Json:
    """Return the definition of a tool that takes anything."""
    return {"name": name, "description": f"Do {name}", "inputSchema": {"type": "object"}, **more}


def hello(message: Json) -> Json:
    """Return the result of `initialize`."""
    asked = message["params"]["protocolVersion"]
    return {
        "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {"listChanged": True}, "logging": {}},
        "serverInfo": {"name": "fake", "version": "1"},
    }


def text(said: str, **more: object) -> Json:
    """Return the result of a call that says something."""
    return {"content": [{"type": "text", "text": said}], **more}


def answer(message: Json, out: Out, tools: list[Json]) -> None:
    """Answer as a good server does."""
    identifier, method = message.get("id"), message["method"]
    if identifier is None:
        return
    if method == "initialize":
        out.send({"id": identifier, "result": hello(message)})
    elif method == "ping":
        out.send({"id": identifier, "result": {}})
    elif method == "tools/list":
        out.send({"id": identifier, "result": {"tools": tools}})
    elif method == "tools/call":
        arguments = message["params"].get("arguments") or {}
        added = message["params"]["name"] == "add"
        said = str(arguments["a"] + arguments["b"]) if added else str(arguments.get("text", ""))
        out.send({"id": identifier, "result": text(said)})
    else:
        out.send({"id": identifier, "error": {"code": -32601, "message": "unknown method"}})


def main() -> None:
    more = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    tools = [tool("echo"), tool("add"), *(tool(f"tool{number}") for number in range(more))]

    def handle(message: Json, out: Out) -> None:
        answer(message, out, tools)

    if sys.argv[1] == "http":
        serve_http(handle)
    else:
        serve_stdio(handle)


if __name__ == "__main__":
    main()
