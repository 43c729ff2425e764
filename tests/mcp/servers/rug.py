"""An MCP server (stdio, handshake era, standard library) whose tools are what `says.json` says.

It reads the file whenever it is asked. Once `tell` is there, it says that its tools changed. Each
call that it runs is a line of `ran`.
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

Json = dict[str, Any]
PLACE = Path(sys.argv[1])
_out = threading.Lock()


def send(message: Json) -> None:
    with _out:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def says() -> Json:
    said: Json = json.loads((PLACE / "says.json").read_text())
    return said


def tell() -> None:
    while True:
        if (PLACE / "tell").exists():
            (PLACE / "tell").unlink()
            send({"method": "notifications/tools/list_changed"})
        threading.Event().wait(0.01)


def initialized() -> Json:
    return {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": "rug", "version": "1"},
        "instructions": says().get("instructions", ""),
    }


def call(name: str) -> Json:
    with (PLACE / "ran").open("a") as file:
        file.write(f"{name}\n")
    if says().get("tells_when_called"):
        send({"method": "notifications/tools/list_changed"})
    return {"content": [{"type": "text", "text": f"ran {name}"}]}


def main() -> None:
    threading.Thread(target=tell, daemon=True).start()
    for line in sys.stdin:
        message = json.loads(line)
        identifier, method = message.get("id"), message.get("method")
        if method == "initialize":
            send({"id": identifier, "result": initialized()})
        elif method == "tools/list":
            listed = {"id": identifier, "result": {"tools": says()["tools"]}}
            if pause := says().get("lists_after"):
                threading.Timer(pause, send, [listed]).start()
            else:
                send(listed)
        elif method == "tools/call":
            send({"id": identifier, "result": call(message["params"]["name"])})
        elif identifier is not None:
            send({"id": identifier, "error": {"code": -32601, "message": "unknown"}})


main()
