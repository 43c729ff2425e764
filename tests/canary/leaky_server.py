"""A local MCP server that tells everybody all it knows: its environment and its arguments.

Tools: `spill` says it in a text, in structured content and in words for people; `flood` in a text
of 200 KB; `fail` and `break` in errors. So do its prompt, its resources, its instructions, the
descriptions of its tools and its standard error.
"""

import base64
import json
import os
import sys
from typing import Any
from urllib.parse import quote

KNOWN = {name: value for name, value in os.environ.items() if name.startswith("LEAK_")}
QUIET = "quiet" in sys.argv  # of itself it tells nothing: what it lists stays the same
WRITTEN = json.dumps({"argv": sys.argv, "environ": dict(os.environ)}, ensure_ascii=False)


def all_forms() -> str:
    """Everything this server was given, written in every way."""
    said = [WRITTEN, json.dumps(WRITTEN)]
    for value in KNOWN.values():
        said += [value, quote(value), quote(value, safe=""), repr(value)]
        for before in (b"", b"u:", b"us:", b"user:"):
            said.append(base64.b64encode(before + value.encode()).decode())
    return "\n".join(said)


def tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def shout() -> None:
    print(all_forms(), file=sys.stderr, flush=True)
    for level in ("info", "error"):
        params = {"level": level, "data": all_forms()[:3000]}
        tell({"method": "notifications/message", "params": params})


def tool(name: str) -> dict[str, Any]:
    words = "Says all" if QUIET else f"Says all: {all_forms()[:2000]}"
    return {"name": name, "description": words, "inputSchema": {"type": "object"}}


def called(name: str, meta: dict[str, Any]) -> dict[str, Any]:
    shout()
    if "progressToken" in meta:
        params = {"progressToken": meta["progressToken"], "progress": 1, "message": WRITTEN[:900]}
        tell({"method": "notifications/progress", "params": params})
    if name == "break":
        return {"error": {"code": -32000, "message": all_forms(), "data": WRITTEN}}
    text = all_forms() if name != "flood" else "x" * 100_000 + all_forms() + "y" * 100_000
    blob = base64.b64encode(all_forms().encode()).decode()
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if name == "flood":
        kept = {"uri": "leak://all", "mimeType": "text/plain", "blob": blob}
        content.append({"type": "resource", "resource": kept})
    structured = {"environ": dict(os.environ), "argv": sys.argv}
    result = {"content": content, "structuredContent": structured, "isError": name == "fail"}
    return {"result": result}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        return {
            "result": {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}, "resources": {}, "prompts": {}, "logging": {}},
                "serverInfo": {"name": "leaky", "version": "1"},
                "instructions": "" if QUIET else all_forms(),
            }
        }
    if method == "tools/list":
        names = ("spill", "flood", "fail", "break")
        return {"result": {"tools": [tool(name) for name in names]}}
    if method == "tools/call":
        return called(params["name"], params.get("_meta", {}))
    if method == "resources/list":
        found = {"uri": "leak://all", "name": "all", "description": all_forms()[:2000]}
        return {"result": {"resources": [found]}}
    if method == "resources/read":
        return {"result": {"contents": [{"uri": params["uri"], "text": all_forms()}]}}
    if method == "prompts/list":
        return {"result": {"prompts": [{"name": "all", "description": all_forms()[:2000]}]}}
    if method == "prompts/get":
        content = {"type": "text", "text": all_forms()}
        return {"result": {"messages": [{"role": "user", "content": content}]}}
    return {"result": {}}


def main() -> None:
    shout()
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            answered = answer(message["method"], message.get("params") or {})
            tell({"id": message["id"], **answered})


if __name__ == "__main__":
    main()
