"""A small server that speaks "OpenAI chat completions": for `patina smoke` and tests.

It answers the first request of a conversation with a call of the first tool that is offered, and
the request that brings its result with words that repeat it; without tools it answers with words.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

MODEL: Final = "stand-in"
MAX_HEAD: Final = 64 * 1024
MAX_BODY: Final = 16 * 1024 * 1024


@asynccontextmanager
async def stand_in() -> AsyncIterator[str]:
    """Run the server on a free port of this machine and yield its base URL, /v1 included."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, _serve)
        port: int = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
        yield f"http://127.0.0.1:{port}/v1"
        tasks.cancel_scope.cancel()


async def _serve(stream: SocketStream) -> None:
    """Answer the requests of one connection until the client leaves."""
    received = BufferedByteReceiveStream(stream)
    async with stream:
        while True:
            try:
                head = await received.receive_until(b"\r\n\r\n", MAX_HEAD)
                length = _content_length(head)
                body = await received.receive_exactly(length) if length else b""
                await stream.send(_answer(head, body))
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                return
            except (anyio.DelimiterNotFound, ValueError):
                await stream.send(_plain(400, {"error": {"message": "Not understood."}}))
                return


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
            if not 0 <= length <= MAX_BODY:
                raise ValueError("too long")
            return length
    return 0


def _answer(head: bytes, body: bytes) -> bytes:
    if head.startswith(b"GET /v1/models "):
        return _plain(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
    if not head.startswith(b"POST /v1/chat/completions "):
        return _plain(404, {"error": {"message": "There is nothing here."}})
    return _stream(_chunks(json.loads(body)))


def _chunks(request: dict[str, Any]) -> list[dict[str, Any]]:
    messages, tools = request["messages"], request.get("tools") or []
    results = [message["content"] for message in messages if message["role"] == "tool"]
    if results:
        return [*_words(f"The tool said: {results[-1]}"), _end("stop")]
    if tools:
        function = tools[0]["function"]
        wanted = {"name": function["name"], "arguments": json.dumps(_example(function))}
        call = {"index": 0, "id": "call_1", "type": "function", "function": wanted}
        return [_delta({"role": "assistant", "tool_calls": [call]}), _end("tool_calls")]
    return [*_words("There are no tools here, so these are only words."), _end("stop")]


def _example(function: dict[str, Any]) -> dict[str, Any]:
    """Return arguments that fit the required properties of a simple schema."""
    schema = function.get("parameters", {})
    samples = {"string": "smoke", "number": 2, "integer": 2, "boolean": True, "array": []}
    properties = schema.get("properties", {})
    return {name: samples.get(properties[name].get("type")) for name in schema.get("required", [])}


def _words(text: str) -> list[dict[str, Any]]:
    return [_delta({"content": f"{word} "}) for word in text.split(" ")]


def _delta(delta: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def _end(reason: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}


def _stream(chunks: list[dict[str, Any]]) -> bytes:
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": MODEL}
    lines = [json.dumps({**common, **chunk}) for chunk in chunks]
    body = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()
    return _head(200, "text/event-stream", len(body)) + body


def _plain(status: int, value: dict[str, Any]) -> bytes:
    body = json.dumps(value).encode()
    return _head(status, "application/json", len(body)) + body


def _head(status: int, content_type: str, length: int) -> bytes:
    return (
        f"HTTP/1.1 {status} -\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()
