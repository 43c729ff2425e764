"""A local stand-in for an OpenAI endpoint that costs as little as possible, for measurements.

    python bench/mock_server.py [--deltas N] [--tool NAME] [--seconds S]

It prints its port and serves until it is ended. Every POST gets a streamed chat completion of N
deltas, one HTTP chunk per event, written in blocks of 32 KB, or, with --seconds, one write per
delta spread over S seconds. With --tool the first request of a conversation is answered by a call
of that tool, and the request that carries its result by the deltas. `GET /stats` returns the
monotonic times at which requests arrived (`CLOCK_MONOTONIC`, the same for all processes).
"""

import argparse
import json
import socketserver
import sys
import time
from typing import Any

BLOCK = 32 * 1024
_BASE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5.2"}
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _data(json.dumps({**_BASE, "choices": [choice]}))


def _data(text: str) -> bytes:
    body = f"data: {text}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(body), body)


def _end(reason: str, tokens: int) -> list[bytes]:
    usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
    return [
        _event({}, reason),
        _data(json.dumps({**_BASE, "choices": [], "usage": usage})),
        _data("[DONE]"),
        b"0\r\n\r\n",
    ]


def deltas(count: int) -> list[bytes]:
    """Return an answer of `count` text deltas as HTTP chunks."""
    first = _event({"role": "assistant", "content": ""})
    return [first, *(_event({"content": f"word{n} "}) for n in range(count)), *_end("stop", count)]


def tool_call(name: str) -> list[bytes]:
    """Return an answer that calls `name` without arguments, as HTTP chunks."""
    function = {"name": name, "arguments": ""}
    begin = {"index": 0, "id": "call_1", "type": "function", "function": function}
    rest = {"index": 0, "function": {"arguments": "{}"}}
    return [
        _event({"role": "assistant", "content": None, "tool_calls": [begin]}),
        _event({"tool_calls": [rest]}),
        *_end("tool_calls", 8),
    ]


class Server(socketserver.ThreadingTCPServer):
    """Holds the prepared answers and the times of arrival."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, count: int, tool: str, seconds: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.text = deltas(count)
        self.call = tool_call(tool) if tool else None
        self.seconds = seconds
        self.blocks = self._blocks(self.text)
        self.arrivals: list[float] = []

    @staticmethod
    def _blocks(chunks: list[bytes]) -> list[bytes]:
        whole = _HEAD + b"".join(chunks)
        return [whole[start : start + BLOCK] for start in range(0, len(whole), BLOCK)]


class Handler(socketserver.StreamRequestHandler):
    """Answers one connection, keep-alive included."""

    server: Server
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer requests until the client closes."""
        while True:
            line = self.rfile.readline()
            if not line:
                return
            self.server.arrivals.append(time.monotonic())
            length = 0
            while (header := self.rfile.readline()).strip():
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            body = self.rfile.read(length)
            try:
                self._answer(line, body)
            except (BrokenPipeError, ConnectionResetError):
                return

    def _answer(self, line: bytes, body: bytes) -> None:
        server = self.server
        if line.startswith(b"GET /stats"):
            server.arrivals.pop()
            self._json({"arrivals": server.arrivals})
        elif line.startswith(b"GET"):
            self._json({"object": "list", "data": [{"id": "gpt-5.2", "object": "model"}]})
        elif server.call and b'"role":"tool"' not in body.replace(b'": "', b'":"'):
            self.wfile.write(_HEAD + b"".join(server.call))
        elif server.seconds:
            self.wfile.write(_HEAD)
            for chunk in server.text:
                self.wfile.write(chunk)
                time.sleep(server.seconds / len(server.text))
        else:
            for block in server.blocks:
                self.wfile.write(block)

    def _json(self, data: object) -> None:
        body = json.dumps(data).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        self.wfile.write(f"{head}\r\n\r\n".encode() + body)


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--deltas", type=int, default=200)
    parser.add_argument("--tool", default="")
    parser.add_argument("--seconds", type=float, default=0.0)
    options = parser.parse_args()
    with Server(options.deltas, options.tool, options.seconds) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
