"""An MCP server (stdio, handshake era, standard library) that misbehaves as its argument says."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

Json = dict[str, Any]
MODE = sys.argv[1]
PLACE = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()
TOOL = {"name": "echo", "description": "Echo", "inputSchema": {"type": "object"}}


def send(message: Json) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tool(name: str, **more: object) -> Json:
    return {**TOOL, "name": name, **more}


def tools(params: Json) -> Json:
    cursor = params.get("cursor")
    if MODE == "pages":
        number = int(cursor or 0)
        more = {"nextCursor": str(number + 1)} if number < 2 else {}
        return {"tools": [tool(f"tool{number}")], **more}
    if MODE == "circle":
        return {"tools": [tool("echo")], "nextCursor": "again"}
    if MODE == "endless":
        return {"tools": [tool(f"tool{cursor}")], "nextCursor": str(int(cursor or 0) + 1)}
    if MODE == "changing":
        listed: Json = json.loads((PLACE / "tools.json").read_text())
        return listed
    if MODE == "hostile_names":
        names = ["a b", "a/b", "a_b", "x" * 100, "ünï\u202ecode", "esc\x1b[2J", "a.b.c"]
        return {"tools": [tool(name) for name in names]}
    return {"tools": [TOOL]}


def call(identifier: object, params: Json) -> None:
    arguments = params.get("arguments") or {}
    if MODE == "dies":
        print("the disk is on fire \x1b[31m", file=sys.stderr, flush=True)
        os._exit(7)
    if MODE == "env":
        result = dict(os.environ) | {"cwd": str(Path.cwd())}
        text = json.dumps(result)
    elif MODE == "big":
        text = "x" * 5_000_000
    elif MODE == "needle":
        hay = "\n".join(f"line {number} of hay" for number in range(130_000))
        text = f"{hay}\n{(PLACE / 'needle').read_text()}\n{hay}"
    elif MODE == "error":
        send({"id": identifier, "error": {"code": -32050, "message": "no \x1b[31mtoday"}})
        return
    elif MODE == "nonsense":
        send({"id": identifier, "result": {"content": "not a list"}})
        return
    elif MODE in ("hang", "stubborn_hang"):
        (PLACE / "called").touch()
        return
    elif MODE == "changing":
        send({"method": "notifications/tools/list_changed"})
        text = json.dumps(params["name"])
    else:
        text = json.dumps({"tool": params["name"], **arguments})
    send({"id": identifier, "result": {"content": [{"type": "text", "text": text}]}})


def before() -> None:
    if MODE == "exits":
        print("no configuration found", file=sys.stderr)
        sys.exit(3)
    if MODE == "silent":
        threading.Event().wait(600)
    if MODE == "rubbish_only":
        print("Welcome to my server!\x1b[2J", flush=True)
        threading.Event().wait(600)
    if MODE == "rubbish":
        print("Welcome to my server!")
        sys.stdout.flush()
        sys.stdout.buffer.write(b"\xff\xfe not even text\n")
        sys.stdout.buffer.flush()
    if MODE in ("stubborn", "stubborn_hang"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if MODE in ("children", "leaves_children"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (PLACE / "child").write_text(str(child.pid))
    if MODE == "far_child":
        far = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
        )
        (PLACE / "child").write_text(str(far.pid))
    if MODE == "leaves_children":
        (PLACE / "parent").write_text(str(os.getpid()))
    if MODE == "talks":
        for number in range(200):
            print(f"line {number} " + "y" * 20_000, file=sys.stderr)
        print(f"the secret is {os.environ['API_KEY']}", file=sys.stderr, flush=True)
    if MODE in ("starts", "stubborn_hang"):
        with (PLACE / "starts").open("a") as file:
            file.write(f"{os.getpid()}\n")


def main() -> None:
    before()
    for line in sys.stdin:
        message = json.loads(line)
        identifier, method = message.get("id"), message.get("method")
        if method == "initialize":
            if MODE == "leaves_children":
                os._exit(0)
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "odd", "version": "1"},
            }
            send({"id": identifier, "result": result})
            if MODE == "flood":
                note = {"method": "notifications/progress"}
                for number in range(20_000):
                    send(note | {"params": {"progressToken": "x", "progress": number}})
        elif method == "tools/list":
            send({"id": identifier, "result": tools(message.get("params") or {})})
            if MODE == "deaf":
                threading.Event().wait(600)
        elif method == "tools/call":
            call(identifier, message["params"])
        elif method == "notifications/cancelled":
            (PLACE / "cancelled").write_text(str(message["params"]["requestId"]))
        elif MODE == "old" and method == "server/discover":
            print("expected initialize", file=sys.stderr)
            sys.exit(1)
        elif identifier is not None:
            send({"id": identifier, "error": {"code": -32601, "message": "unknown"}})
    if MODE in ("stubborn", "stubborn_hang"):
        threading.Event().wait(600)


main()
