"""A model server for tests: OpenAI chat completions that do what the last message says.

    say TEXT          answers TEXT as it is
    slow N            answers with N words, 20 ms apart
    lines N           answers with N lines, 20 ms apart
    call NAME JSON    calls the tool with this alias, then answers with its result
    calls N NAME JSON calls it N times at once, with the number of each in place of "#"
    end REASON TEXT   answers TEXT and ends with this finish reason
    status N          refuses with this HTTP status
    evil              answers with what would steer a terminal

Anything else is answered with "Hello from the endpoint."
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HELLO = "Hello from the endpoint."
EVIL = "\x1b]0;owned\x07\u202e\x1b[2Jshown"
PAUSE = 0.02


class ModelServer(ThreadingHTTPServer):
    """What it was asked is in `requests`: the path, and the body of a question."""

    daemon_threads = True

    def __init__(self, port: int, models: tuple[str, ...]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.models = models
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.stopping = threading.Event()
        self.titles_stall = False
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def model_server(port: int = 0, models: tuple[str, ...] = ("one", "two")) -> Iterator[ModelServer]:
    """Serve on `port` of this machine, a free one unless given."""
    with ModelServer(port, models) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, {}))
        self._json(200, {"object": "list", "data": [{"id": name} for name in self.server.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body))
        asked = [m for m in body["messages"] if m["role"] == "user"][-1]["content"]
        word, _, rest = str(asked).partition(" ")
        if word == "status":
            self._json(int(rest), {"error": {"message": "no"}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self._stream(word, rest, body["messages"][-1])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _stream(self, word: str, rest: str, last: dict[str, Any]) -> None:
        reason = "stop"
        if word == "User:" and self.server.titles_stall:
            self.server.stopping.wait()
        elif word == "slow":
            for number in range(int(rest)):
                self._delta({"content": f"word{number} "})
                if self.server.stopping.wait(PAUSE):
                    return
        elif word == "lines":
            for number in range(int(rest)):
                self._delta({"content": f"line{number}\n"})
                if self.server.stopping.wait(PAUSE):
                    return
        elif word == "call" and last["role"] != "tool":
            name, _, arguments = rest.partition(" ")
            call = {"index": 0, "id": "call_1", "type": "function"}
            self._delta(
                {"tool_calls": [{**call, "function": {"name": name, "arguments": arguments}}]}
            )
            reason = "tool_calls"
        elif word == "calls" and last["role"] != "tool":
            many, name, arguments = rest.split(" ", 2)
            for index in range(int(many)):
                text = arguments.replace("#", str(index + 1))
                call = {"index": index, "id": f"call_{index + 1}", "type": "function"}
                function = {"name": name, "arguments": text}
                self._delta({"tool_calls": [{**call, "function": function}]})
            reason = "tool_calls"
        elif word in ("call", "calls"):
            self._delta({"content": f"The tool said: {last['content']}"})
        elif word == "end":
            reason, _, text = rest.partition(" ")
            self._delta({"content": text})
        else:
            answers = {"say": rest, "evil": EVIL}
            self._delta({"content": answers.get(word, HELLO)})
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        self.wfile.write(b"data: [DONE]\n\n")

    def _delta(self, delta: dict[str, Any]) -> None:
        self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    def _event(self, data: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def _json(self, status: int, data: dict[str, Any]) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""
