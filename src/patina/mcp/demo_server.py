"""The demo MCP server: `python -m patina.mcp.demo_server` (`patina smoke`, the demo, the tests).

Standard library only, so that it answers about 30 ms after it was started. It speaks the
handshake era of MCP over stdio, and does nothing that could harm.
"""

import json
import sys
from collections.abc import Callable
from typing import Any, Final

_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_INVALID_REQUEST: Final = -32600
_UNKNOWN_METHOD: Final = -32601
_INVALID_PARAMS: Final = -32602
_PARSE_ERROR: Final = -32700
Json = dict[str, Any]


def _now(arguments: Json) -> str:
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    zone = arguments.get("timezone")
    return datetime.now(ZoneInfo(zone) if zone else UTC).isoformat(timespec="seconds")


def _add(arguments: Json) -> str:
    return json.dumps(arguments["a"] + arguments["b"])


def _echo(arguments: Json) -> str:
    return str(arguments["text"])


def _word_count(arguments: Json) -> str:
    return str(len(arguments["text"].split()))


def _tool(name: str, description: str, required: Json, optional: Json | None = None) -> Json:
    return {
        "name": name,
        "description": description,
        "inputSchema": {
            "type": "object",
            "properties": required | (optional or {}),
            "required": list(required),
            "additionalProperties": False,
        },
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    }


_TEXT: Final = {"text": {"type": "string"}}
_TOOLS: Final = [
    _tool(
        "now",
        "Tell the date and time, as ISO 8601",
        {},
        {"timezone": {"type": "string", "description": "Such as Europe/Zurich; UTC without it"}},
    ),
    _tool("add", "Add two numbers", {"a": {"type": "number"}, "b": {"type": "number"}}),
    _tool("echo", "Give a text back unchanged", _TEXT),
    _tool("word_count", "Count the words of a text", _TEXT),
]
_RUN: Final[dict[str, Callable[[Json], str]]] = {
    "now": _now,
    "add": _add,
    "echo": _echo,
    "word_count": _word_count,
}


def _initialize(params: Json) -> Json:
    asked = params.get("protocolVersion")
    return {
        "protocolVersion": asked if asked in _VERSIONS else _VERSIONS[0],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "patina-demo", "version": "1"},
    }


def _call(params: Json) -> Json:
    """Run a tool. Its own failure is a result; `LookupError` is a tool that does not exist."""
    run = _RUN[params["name"]]
    try:
        text, failed = run(params.get("arguments") or {}), False
    except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        text, failed = f"{params['name']} failed: {error}", True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def _answer(message: Json) -> Json | None:
    """Return the answer to one message, None where it needs none."""
    identifier, method = message.get("id"), message.get("method")
    params = message.get("params") or {}
    if identifier is None:
        return None
    if not isinstance(method, str) or not isinstance(params, dict):
        return _error(identifier, _INVALID_REQUEST, "Invalid request")
    if method == "initialize":
        result = _initialize(params)
    elif method == "ping":
        result = {}
    elif method == "tools/list":
        result = {"tools": _TOOLS}
    elif method == "tools/call":
        if params.get("name") not in _RUN:
            return _error(identifier, _INVALID_PARAMS, f"Unknown tool: {params.get('name')}")
        result = _call(params)
    else:
        return _error(identifier, _UNKNOWN_METHOD, f"Method not found: {method}")
    return {"jsonrpc": "2.0", "id": identifier, "result": result}


def _error(identifier: object, code: int, message: str) -> Json:
    return {"jsonrpc": "2.0", "id": identifier, "error": {"code": code, "message": message}}


def main() -> None:
    """Answer line by line until stdin ends."""
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            answer: Json | None = _error(None, _PARSE_ERROR, "Parse error")
        else:
            invalid = _error(None, _INVALID_REQUEST, "Invalid request")
            answer = _answer(message) if isinstance(message, dict) else invalid
        if answer is not None:
            sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
