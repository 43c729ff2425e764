"""An MCP server and a model provider on this machine that repeat what they are sent.

/mcp      answers each request of MCP with its headers in the result
/broken   ... in JSON-RPC errors
/denied   ... in the body of a 401, for every request
/v1/…     chat completions: the model calls the tool that the last message names, then repeats
          what it was told, and the key it was asked with
/no/v1/…  refuses with a 401 that holds the key
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Web(ThreadingHTTPServer):
    """`asked` has the request line and the body of each request, `carried` its headers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[bytes] = []
        self.bodies: list[bytes] = []
        self.carried: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def leaky_web() -> Iterator[Web]:
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._note(b"")
        if "/models" in self.path:
            self._json(200, {"object": "list", "data": [{"id": "m"}]})
        else:
            self._json(405, {"said": self._said()})

    def do_DELETE(self) -> None:
        self._note(b"")
        self._json(200, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._note(body)
        if self.path.startswith("/no/"):
            message = f"Wrong key: {self._said()}"
            self._json(401, {"error": {"message": message, "type": "invalid_api_key"}})
        elif "/chat/completions" in self.path:
            self._chat(json.loads(body))
        elif self.path.startswith("/denied"):
            self._json(401, {"error": self._said()})
        else:
            self._mcp(json.loads(body))

    def _note(self, body: bytes) -> None:
        self.server.asked.append(self.requestline.encode())
        self.server.bodies.append(body)
        self.server.carried.append((self.path, dict(self.headers.items())))

    def _said(self) -> str:
        return json.dumps(dict(self.headers.items()))

    def _json(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _mcp(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        method, params = message["method"], message.get("params") or {}
        result: dict[str, Any] = {}
        if method == "initialize":
            result = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "leaky", "version": "1"},
            }
        elif method == "server/discover":
            self._json(200, {"jsonrpc": "2.0", "id": message["id"], "error": _unknown})
            return
        elif method == "tools/list":
            tool = {"name": "echo", "description": self._said(), "inputSchema": {"type": "object"}}
            result = {"tools": [tool]}
        elif method == "tools/call":
            result = {"content": [{"type": "text", "text": self._said()}]}
            if self.path.startswith("/broken"):
                error = {"code": -32000, "message": self._said(), "data": self._said()}
                self._json(200, {"jsonrpc": "2.0", "id": message["id"], "error": error})
                return
        self._json(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def _chat(self, body: dict[str, Any]) -> None:
        last = body["messages"][-1]
        asked = [one for one in body["messages"] if one["role"] == "user"][-1]["content"]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        names = [name for name in str(asked).split() if "__" in name]
        if last["role"] == "user" and names:
            calls = [
                {
                    "index": number,
                    "id": f"call_{number}",
                    "type": "function",
                    "function": {"name": name, "arguments": "{}"},
                }
                for number, name in enumerate(names)
            ]
            self._chunk({"tool_calls": calls})
            self._chunk({}, "tool_calls")
        else:
            self._chunk({"content": f"I was told: {last['content']}"})
            self._chunk({"content": f"And asked with {self.headers.get('Authorization')}"})
            self._chunk({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        data = json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice]})
        self.wfile.write(f"data: {data}\n\n".encode())


_unknown = {"code": -32601, "message": "Method not found"}
