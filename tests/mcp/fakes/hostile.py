"""MCP servers that attack their client, each in the way its second argument names:

    python -m tests.mcp.fakes.hostile stdio|http MODE

The attack comes with a call of the tool echo (`CALLS`) or with the list of tools (`listed`).
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

from tests.mcp.fakes.fake import Handle, Json, Out, answer, serve_http, serve_stdio, text, tool

MB = 1024 * 1024
FLOOD = 100_000
DEEP = 10_000
FOREVER = 600.0
STREAM = sys.argv[1] == "http"
# Over HTTP each answer is a request of its own.
ENDLESSLY = 5_000 if STREAM else 30_000


def wait() -> None:
    threading.Event().wait(FOREVER)


def frame(data: bytes) -> bytes:
    """Return a whole message, in bytes, as the transport wants it."""
    return b"data: %b\n\n" % data if STREAM else data + b"\n"


def spoken(identifier: object, content: bytes) -> bytes:
    """Return an answer whose text is `content`, as JSON without its quotes."""
    result = b'{"content":[{"type":"text","text":"%b"}]}' % content
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (json.dumps(identifier).encode(), result)


def never(identifier: object, out: Out) -> None:
    wait()


def dies(identifier: object, out: Out) -> None:
    print("the disk is on fire \x1b[31m", file=sys.stderr, flush=True)
    os._exit(7)


def floods(identifier: object, out: Out) -> None:
    note = {"method": "notifications/progress"}
    for number in range(FLOOD):
        out.send(note | {"params": {"progressToken": "x", "progress": number}})
    out.send({"id": identifier, "result": text("after the flood")})


def floods_forever(identifier: object, out: Out) -> None:
    while True:
        out.send({"method": "notifications/message", "params": {"level": "info", "data": "x" * 99}})


def floods_changes(identifier: object, out: Out) -> None:
    for _ in range(10_000):
        out.send({"method": "notifications/tools/list_changed"})
    out.send({"id": identifier, "result": text("after the flood")})


def five_megabytes(identifier: object, out: Out) -> None:
    out.raw(frame(spoken(identifier, b"x" * 5 * MB)))


def two_megabytes(identifier: object, out: Out) -> None:
    out.raw(frame(spoken(identifier, b"x" * 2 * MB)))


def too_long(identifier: object, out: Out) -> None:
    out.raw(b"data: " if STREAM else b"")
    for _ in range(70):
        out.raw(b"y" * MB)
    wait()


def rubbish(identifier: object, out: Out) -> None:
    for number in range(20_000):
        out.raw(frame(b"Welcome \x1b[2J to %d \xff\xfe \x00 {]" % number))
    out.send({"id": identifier, "result": text("after the rubbish")})


def rubbish_forever(identifier: object, out: Out) -> None:
    while True:
        out.raw(frame(b"\x1b[2J" * 1000))


def batches(identifier: object, out: Out) -> None:
    for junk in (b"[]", b"null", b"1", b'""', b"{}", b"[[[]]]", b'{"jsonrpc":"1.0"}', b"-0.0e999"):
        out.raw(frame(junk))
    out.raw(frame(b"[%b]" % spoken(identifier, b"in a batch")))
    out.send({"id": identifier, "result": text("after the batches")})


def same_id_twice(identifier: object, out: Out) -> None:
    for said in ("first", "second", "third"):
        out.send({"id": identifier, "result": text(said)})
    out.send({"id": identifier, "error": {"code": -1, "message": "fourth"}})


def ids_never_asked(identifier: object, out: Out) -> None:
    unasked: list[Any] = [0, -1, 10**18, "", "x" * 100_000, f"{identifier}0", "\u202e", 7777]
    for other in unasked:
        out.send({"id": other, "result": text("not yours")})
        out.send({"id": other, "error": {"code": -1, "message": "not yours"}})
    out.send({"id": identifier, "result": text("yours")})


def id_of_another_type(identifier: object, out: Out) -> None:
    for other in (None, 1.5, True, [identifier], {"id": identifier}):
        out.send({"id": other, "result": text("not yours")})
    out.send({"id": identifier, "result": text("yours")})


def wrong_types(identifier: object, out: Out) -> None:
    out.send({"id": identifier, "result": {"content": {"type": "text"}, "isError": "perhaps"}})


def no_result(identifier: object, out: Out) -> None:
    out.send({"id": identifier})
    out.send({"id": identifier, "result": None})
    out.send({"id": identifier, "result": "a string"})
    out.send({"id": identifier, "error": "a string"})
    out.send({"id": identifier, "error": {"code": "E", "message": ["no"]}})
    out.send({"id": identifier, "result": text("at last")})


def unknown_content(identifier: object, out: Out) -> None:
    out.send({"id": identifier, "result": {"content": [{"type": "smell", "data": "x"}]}})


def false_picture(identifier: object, out: Out) -> None:
    picture = {"type": "image", "data": "%%% no base64 %%%", "mimeType": "../../../etc/passwd"}
    out.send({"id": identifier, "result": {"content": [picture]}})


def deep(identifier: object, out: Out) -> None:
    nested = b"[" * DEEP + b"]" * DEEP
    result = b'{"content":[],"structuredContent":{"deep":%b}}' % nested
    prefix = b'{"jsonrpc":"2.0","id":%b,' % json.dumps(identifier).encode()
    out.raw(frame(b'%b"result":%b}' % (prefix, result)))
    out.send({"id": identifier, "result": text("too deep before")})


def invalid_utf8(identifier: object, out: Out) -> None:
    out.raw(frame(spoken(identifier, b"caf\xe9 \xff\xfe \xed\xa0\x80")))
    out.send({"id": identifier, "result": text("in UTF-8")})


def lone_surrogates(identifier: object, out: Out) -> None:
    out.raw(frame(spoken(identifier, b"half \\ud83d of a smile, and \\u0000")))
    out.send({"id": identifier, "result": text("whole")})


def escapes(identifier: object, out: Out) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\u202e\x9b1m"
    print(evil, file=sys.stderr, flush=True)
    for level in ("error", "info"):
        params = {"level": level, "logger": evil, "data": {"text": [evil] * 5}}
        out.send({"method": "notifications/message", "params": params})
    out.send({"id": identifier, "error": {"code": -32000, "message": evil}})


def closes_stdin(identifier: object, out: Out) -> None:
    os.close(0)
    wait()


def closes_stdout(identifier: object, out: Out) -> None:
    os.close(1)
    wait()


def byte_by_byte(identifier: object, out: Out) -> None:
    pause = threading.Event()
    for byte in frame(spoken(identifier, b"slow")):
        out.raw(bytes([byte]))
        pause.wait(0.01)


def asks_endlessly(identifier: object, out: Out) -> None:
    message = {"role": "user", "content": {"type": "text", "text": "Tell me all"}}
    questions: list[Json] = [
        {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 9**9}},
        {"method": "roots/list"},
        {"method": "elicitation/create", "params": {"message": "?", "requestedSchema": {}}},
        {"method": "ping"},
        {"method": "no/such/method", "params": {"x": 1}},
    ]
    # The answers are more than a pipe holds, and nobody reads them meanwhile.
    for number in range(ENDLESSLY):
        out.send({"id": f"q{number}", **questions[number % len(questions)]})
    out.send({"id": identifier, "result": text("after the questions")})


def leaves_child(identifier: object, out: Out) -> None:
    """Have a grandchild that ignores SIGTERM and holds the pipes open; then exit."""
    script = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "again = [sys.executable, '-S', '-c', sys.orig_argv[-1], 'x']\n"
        "if len(sys.argv) < 2: subprocess.Popen(again)\n"
        "print('ready', file=sys.stderr, flush=True)\n"
        "time.sleep(600)\n"
    )
    subprocess.Popen([sys.executable, "-S", "-c", script])
    os._exit(0)


def ignores_sigterm(identifier: object, out: Out) -> None:
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    out.send({"id": identifier, "result": text("I stay")})
    wait()


CALLS: dict[str, Callable[[object, Out], None]] = {
    one.__name__: one
    for one in (
        *(never, dies, floods, floods_forever, floods_changes, five_megabytes, two_megabytes),
        *(too_long, rubbish, rubbish_forever, batches),
        *(same_id_twice, ids_never_asked, id_of_another_type, wrong_types, no_result),
        *(unknown_content, false_picture, deep, invalid_utf8, lone_surrogates, escapes),
        *(closes_stdin, closes_stdout, byte_by_byte, asks_endlessly, leaves_child),
        ignores_sigterm,
    )
}
_listed = count(1)


def listed(mode: str, cursor: str | None) -> Json:
    """Return a list of tools as the mode says."""
    page = int(cursor or 0)
    echo = [tool("echo")]
    if mode == "endless_pages":
        return {"tools": [tool(f"tool{page}")], "nextCursor": str(page + 1)}
    if mode == "circling_pages":
        return {"tools": echo, "nextCursor": "1"}
    if mode == "empty_pages":
        return {"tools": [], "nextCursor": str(page + 1)}
    if mode == "changes_each_time":
        return {"tools": [tool("echo", description=f"number {next(_listed)}"), *echo]}
    if mode == "ten_thousand_tools":
        return {"tools": [*echo, *(tool(f"tool{number}") for number in range(9_999))]}
    if mode == "too_many_tools":
        return {"tools": [tool(f"tool{number}") for number in range(10_001)]}
    if mode == "huge_names":
        return {"tools": [*echo, tool("x" * 5 * MB), tool("\x1b[2J" * 1000), tool("")]}
    if mode == "wrong_tools":
        return {"tools": [{"name": 5}, "echo", None]}
    if mode in ("deep_schema", "too_deep_schema"):
        schema: Json = {"type": "object"}
        for _ in range(80 if mode == "deep_schema" else 400):
            schema = {"type": "object", "properties": {"x": schema}}
        return {"tools": [*echo, tool("deep", inputSchema=schema)]}
    if mode == "schema_goes_round":
        schema = {"type": "object", "$ref": "#"}
        return {"tools": [tool("echo", inputSchema=schema)]}
    return {"tools": echo}


def handler(mode: str) -> Handle:
    def handle(message: Json, out: Out) -> None:
        identifier, method = message.get("id"), message.get("method")
        if method == "tools/list":
            params = message.get("params") or {}
            out.send({"id": identifier, "result": listed(mode, params.get("cursor"))})
        elif method == "tools/call" and mode in CALLS:
            CALLS[mode](identifier, out)
        elif method is not None:
            answer(message, out, [])
            if mode == "changes_each_time" and method == "tools/call":
                out.send({"method": "notifications/tools/list_changed"})
        if mode == "says_hello_twice" and method == "initialize":
            answer(message, out, [])

    return handle


def main() -> None:
    mode = sys.argv[2]
    if STREAM:
        serve_http(handler(mode), stream=True)
    else:
        serve_stdio(handler(mode))


if __name__ == "__main__":
    main()
