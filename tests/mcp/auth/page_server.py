"""An MCP server over stdio that asks a person to open pages: those of the JSON list in argv[1].

tool   pages: `from` and `count` say which; its result is what each was answered.
"""

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def send(**message: object) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def ask(url: str) -> str:
    params = {"mode": "url", "message": "Sign in", "url": url, "elicitationId": "e"}
    send(id="asked", method="elicitation/create", params=params)
    while True:
        message = json.loads(sys.stdin.readline())
        if message.get("id") == "asked":
            return str((message.get("result") or {}).get("action", "error"))


def result(method: str, params: Json) -> Json:
    if method == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "pages", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [{"name": "pages", "inputSchema": {"type": "object"}}]}
    if method == "tools/call":
        given = params["arguments"]
        first, count = int(given["from"]), int(given["count"])
        urls = json.loads(Path(sys.argv[1]).read_text("utf-8"))
        actions = [ask(url) for url in urls[first : first + count]]
        return {"content": [{"type": "text", "text": " ".join(["done", *actions, "."])}]}
    return {}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request and "method" in request:
        send(id=request["id"], result=result(request["method"], request.get("params") or {}))
